"""Files of one export hold the same voxels at the same places, whatever lies above the nodes, however it was drawn."""

import numpy as np
import pytest
from logic_tools import FOLDER, add_segmentation, box
from scene_tools import SHAPE, add_scan, ball, ras_of, ras_of_node

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
import slicer
import vtk
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.ResultFiles import ResultFiles
from MIMSegmentLib.Scene.Scene import Scene

FILES = (".nii.gz", ".nrrd", ".seg.nrrd")
MASK = box(SHAPE, (2, 5), (3, 6), (4, 7))


@pytest.fixture
def tool(scene):
    return Scene(scene)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / FOLDER
    path.mkdir()
    return path


@pytest.fixture
def scan(scene):
    return add_scan(scene)


def export(tool, node, folder):
    """`[(4x4 matrix from indices to RAS, labels (k, j, i))]` of the files, and the rows of the table of volumes."""
    *paths, table = ResultFiles(tool).write(node, str(folder), FILES)
    images = [sitk.ReadImage(path) for path in paths]
    with open(table, encoding="utf-8-sig") as stream:
        rows = [line.rstrip().split(",") for line in stream][1:]
    return [(ras_of(image), sitk.GetArrayFromImage(image)) for image in images], rows


def first_in_ras(matrix, array):
    """RAS of the first voxel with a label."""
    return (matrix @ [*np.argwhere(array)[0][::-1], 1])[:3]


def test_a_grid_that_does_not_begin_at_zero_keeps_its_place(tool, scene, scan, folder):
    node = add_segmentation(scene, scan, {"a": MASK})
    # As Slicer has it after a segmentation was cropped or padded.
    part = slicer.vtkOrientedImageData()
    part.SetExtent(2, 12, 3, 12, 1, 10)
    part.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(ras_of_node(scan)))
    geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(part)
    node.GetSegmentation().SetConversionParameter("Reference image geometry", geometry)
    expected = first_in_ras(ras_of_node(scan), MASK)
    scene.RemoveNode(scan)
    files, _rows = export(tool, node, folder)
    for matrix, array in files:
        assert np.allclose(first_in_ras(matrix, array), expected, atol=1e-4)


def put_below(scene, node, step):
    """Put a node below a translation by `step`, mm along RAS."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, 3] = step
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())


@pytest.mark.parametrize("together", [False, True], ids=["apart", "one layer"])
@pytest.mark.parametrize(("above_segmentation", "above_volume"), [(2, 0), (0, 2), (3, 1), (2, 2), (0, 0)])
def test_transforms_above_the_nodes_move_all_files_alike(
    tool, scene, scan, folder, above_segmentation, above_volume, together
):
    masks = {"a": MASK, "b": box(SHAPE, (6, 9), (3, 6), (4, 7))}
    node = add_segmentation(scene, scan, masks)
    if together:
        node.GetSegmentation().CollapseBinaryLabelmaps(False)
    step = (ras_of_node(scan) @ [1, 0, 0, 0])[:3]
    for each, steps in ((node, above_segmentation), (scan, above_volume)):
        put_below(scene, each, steps * step)
    before = ras_of_segments(node), tool.volumes(node)
    files, rows = export(tool, node, folder)
    moved = above_segmentation - above_volume
    for matrix, array in files:
        assert np.allclose(matrix, ras_of_node(scan), atol=1e-4)
        labels = array.reshape(*SHAPE, -1).any(axis=3)
        assert np.array_equal(labels, np.roll(masks["a"] | masks["b"], moved, axis=2))
    assert [row[4] for row in rows] == ["27", "27"]
    assert (ras_of_segments(node), tool.volumes(node)) == before


def ras_of_segments(node):
    """Where the labelmaps of the segments lie, and the grid that they were made on."""
    inside = node.GetSegmentation()
    images = [inside.GetNthSegment(number).GetRepresentation("Binary labelmap") for number in range(2)]
    return [(image.GetOrigin(), image.GetExtent()) for image in images], inside.GetConversionParameter(
        "Reference image geometry"
    )


def bend(scene, node):
    """Put a node below a deformation that moves everything by about 2 mm along x."""
    spline = vtk.vtkThinPlateSplineTransform()
    points, moved = vtk.vtkPoints(), vtk.vtkPoints()
    for x, y, z in ((0, 0, 0), (60, 0, 0), (0, 60, 0), (0, 0, 60), (30, 30, 30), (-30, -30, -30)):
        points.InsertNextPoint(x, y, z)
        moved.InsertNextPoint(x + 2.0 + 0.001 * x * y, y, z)
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(moved)
    spline.SetBasisToR()
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())


def test_a_deformed_segmentation_is_deformed_in_all_files(tool, scene, scan, folder):
    node = add_segmentation(scene, scan, {"a": MASK})
    bend(scene, node)
    (first, second, third), _rows = export(tool, node, folder)
    assert first[1].any()
    assert not np.array_equal(first[1], MASK)
    assert np.array_equal(first[1], second[1])
    assert np.array_equal(first[1] != 0, third[1] != 0)


def test_a_volume_below_a_deformation_is_refused_and_nothing_is_written(tool, scene, scan, folder):
    node = add_segmentation(scene, scan, {"a": MASK})
    bend(scene, scan)
    for formats in (FILES, (".seg.nrrd",)):
        with pytest.raises(Problem, match="lies below a deformation"):
            ResultFiles(tool).write(node, str(folder), formats)
        assert not list(folder.iterdir())


@pytest.fixture
def surfaces(scene, scan):
    """A ball and its core drawn as surfaces, and an empty segment."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    node.SetSourceRepresentationToClosedSurface()
    node.AddSegmentFromClosedSurfaceRepresentation(ball(scan, 4.0), "ball")
    node.AddSegmentFromClosedSurfaceRepresentation(ball(scan, 2.5), "core")
    node.GetSegmentation().AddEmptySegment("empty", "empty")
    return node


@pytest.mark.parametrize("moved", [False, True])
def test_what_was_drawn_as_surfaces_is_written_as_labelmaps_in_place(tool, scene, scan, surfaces, folder, moved):
    surfaces.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    step = (ras_of_node(scan) @ [2, 0, 0, 0])[:3] if moved else np.zeros(3)
    put_below(scene, surfaces, step)
    (first, _second, slicers), rows = export(tool, surfaces, folder)
    for matrix, array in (first, slicers):
        assert np.allclose(matrix, ras_of_node(scan), atol=1e-4)
        places = np.argwhere(array.reshape(*SHAPE, -1).any(axis=3))
        assert np.allclose(places.mean(axis=0)[::-1], [10 if moved else 8, 7, 6], atol=0.5)
        assert len(places) == int(rows[0][4])
    assert float(rows[0][3]) == pytest.approx(4 / 3 * np.pi * 4**3 / 1000, rel=0.15)
    assert [row[0] for row in rows] == ["ball", "core", "empty"]
    assert rows[2][4] == "0"
    assert surfaces.GetSegmentation().GetSourceRepresentationName() == "Closed surface"
    assert not surfaces.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_surfaces_without_a_grid_are_refused_with_a_remedy(tool, scene, surfaces, folder):
    with pytest.raises(Problem, match="not based on a volume") as caught:
        ResultFiles(tool).write(surfaces, str(folder), (".seg.nrrd",))
    assert "source geometry" in caught.value.hint
    assert not list(folder.iterdir())
