"""Segmentations of the scene to label files and back: values, grids, transforms, overlaps, codes."""

import numpy as np
import pytest
from logic_tools import FOLDER, add_segmentation, add_volume, box, oblique, terminology

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
import slicer
import vtk
from MIMSegmentLib.Scene.Scene import Scene
from MIMSegmentLib.Scene.Segments import Voxels
from scene_tools import SHAPE, add_result, add_scan, ball, ras_of_node


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


@pytest.fixture
def result(tool, scan, folder):
    return add_result(tool, scan, folder)


def test_segments_are_written_by_the_values_asked_for_and_the_backend_reads_them(tool, scene, scan, folder):
    from mimseg.data.labels.labelmaps import read_labelmap
    from mimseg.data.volumes import read_volume

    masks = {"b": box(SHAPE, (1, 3), (1, 5), (2, 6)), "a": box(SHAPE, (5, 9), (1, 5), (2, 6))}
    node = add_segmentation(scene, scan, masks)
    ids = {segment["name"]: segment["id"] for segment in tool.segments(node)}
    for ending in (".nrrd", ".nii.gz"):
        voxels, _shared = tool.exportSegmentation(node, scan, str(folder / f"l{ending}"), {ids["a"]: 1, ids["b"]: 5})
        assert voxels == {ids["a"]: 64, ids["b"]: 32}
        tool.exportVolume(scan, str(folder / f"v{ending}"))
        grid = read_volume(folder / f"v{ending}").grid
        labels = read_labelmap(folder / f"l{ending}", like=grid).array.transpose(2, 1, 0)
        assert np.array_equal(labels, masks["a"] * 1 + masks["b"] * 5)


def test_a_segmentation_on_another_grid_is_brought_on_the_volumes_grid(tool, scene, scan):
    fine = add_volume(scene, "Fein", np.zeros((24, 28, 32), np.uint8), oblique((0.75, 0.4, 1.25)))
    # The first voxel's corner, not its centre, lies at the same place.
    shift = ras_of_node(fine)
    shift[:3, 3] -= (ras_of_node(scan) @ [0.25, 0.25, 0.25, 0])[:3]
    fine.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(shift))
    mask = box((24, 28, 32), (4, 12), (6, 16), (8, 18))
    node = add_segmentation(scene, fine, {"a": mask})
    (segment,) = tool.segments(node)
    array, _shared = tool.labelArray(node, {segment["id"]: 1}, scan)
    assert array.sum() == pytest.approx(mask.sum() / 8, rel=0.35)
    assert array[4, 6, 6] == 1


def test_transforms_between_segmentation_and_volume_are_taken_into_account(tool, scene, scan):
    node = add_segmentation(scene, scan, {"a": box(SHAPE, (2, 5), (3, 6), (4, 7))})
    (segment,) = tool.segments(node)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    step = (ras_of_node(scan) @ [2, 0, 0, 0])[:3]
    for row in range(3):
        matrix.SetElement(row, 3, step[row])
    transform.SetMatrixTransformToParent(matrix)
    node.SetAndObserveTransformNodeID(transform.GetID())
    array, _shared = tool.labelArray(node, {segment["id"]: 1}, scan)
    assert np.array_equal(array != 0, box(SHAPE, (2, 5), (3, 6), (6, 9)))
    scan.SetAndObserveTransformNodeID(transform.GetID())
    array, _shared = tool.labelArray(node, {segment["id"]: 1}, scan)
    assert np.array_equal(array != 0, box(SHAPE, (2, 5), (3, 6), (4, 7)))
    node.SetAndObserveTransformNodeID(None)
    array, _shared = tool.labelArray(node, {segment["id"]: 1}, scan)
    assert np.array_equal(array != 0, box(SHAPE, (2, 5), (3, 6), (2, 5)))


def test_overlapping_segments_are_counted_and_the_later_one_wins(tool, scene, scan):
    masks = {"a": box(SHAPE, (2, 6), (2, 6), (2, 6)), "b": box(SHAPE, (4, 8), (2, 6), (2, 6))}
    node = add_segmentation(scene, scan, masks)
    first, second = (segment["id"] for segment in tool.segments(node))
    array, shared = tool.labelArray(node, {first: 1, second: 2}, scan)
    assert shared == 32
    assert np.array_equal(array == 2, masks["b"])


def test_segments_drawn_as_surfaces_are_converted_in_a_copy(tool, scene, scan):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    node.SetSourceRepresentationToClosedSurface()
    surface = slicer.vtkSegment()
    surface.SetName("ball")
    surface.AddRepresentation("Closed surface", ball(scan, 4.0))
    node.GetSegmentation().AddSegment(surface)
    (segment,) = tool.segments(node)
    array, _shared = tool.labelArray(node, {segment["id"]: 1}, scan)
    assert array.sum() * 1.5 * 0.8 * 2.5 == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.15)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


def test_surfaces_are_converted_once_for_all_segments(tool, scene, scan, monkeypatch):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    node.SetReferenceImageGeometryParameterFromVolumeNode(scan)
    node.SetSourceRepresentationToClosedSurface()
    for number in range(5):
        node.AddSegmentFromClosedSurfaceRepresentation(ball(scan, 4.0, (5 + number, 7, 6)), f"ball {number}")
    copies, new = [], slicer.vtkMRMLSegmentationNode
    monkeypatch.setattr(slicer, "vtkMRMLSegmentationNode", lambda: copies.append(new()) or copies[-1])
    for _name, milliliters, _voxels in tool.volumes(node):
        assert milliliters == pytest.approx(4 / 3 * np.pi * 4**3 / 1000, rel=0.15)
    assert len(copies) == 1
    values = {segment["id"]: number for number, segment in enumerate(tool.segments(node), start=1)}
    array, _shared = tool.labelArray(node, values, scan)
    assert len(copies) == 2
    assert set(np.unique(array)) == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("layers", [1, 3])
def test_a_layer_is_read_once_for_all_of_its_segments(tool, scene, scan, monkeypatch, layers):
    masks = {name: box(SHAPE, (1, 4 + n), (1, 5), (2 + 4 * n, 6 + 4 * n)) for n, name in enumerate("abc")}
    # A part of "c" on the other side of "a", and what lies between them is no gap of it.
    masks["c"] |= box(SHAPE, (8, 10), (1, 5), (0, 1))
    node = add_segmentation(scene, scan, masks)
    if layers == 1:
        node.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert node.GetSegmentation().GetNumberOfLayers() == layers
    reads, read = [], Voxels.scalarsOf
    monkeypatch.setattr(Voxels, "scalarsOf", lambda image: reads.append(image) or read(image))
    assert [voxels for _name, _milliliters, voxels in tool.volumes(node)] == [mask.sum() for mask in masks.values()]
    assert len(reads) == layers
    values = {segment["id"]: number for number, segment in enumerate(tool.segments(node), start=7)}
    array, shared = tool.labelArray(node, values, scan)
    assert len(reads) == 2 * layers
    assert shared == 0
    assert all(np.array_equal(array == number, mask) for number, mask in enumerate(masks.values(), start=7))


def test_more_than_255_values_fit(tool, scene, scan, folder):
    node = add_segmentation(scene, scan, {"a": box(SHAPE, (2, 5), (3, 6), (4, 7))})
    (segment,) = tool.segments(node)
    tool.exportSegmentation(node, scan, str(folder / "l.nrrd"), {segment["id"]: 300})
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "l.nrrd"))).max() == 300


def test_codes_of_segments_are_read_with_their_side(tool, scene, scan):
    mask = box(SHAPE, (2, 5), (3, 6), (4, 7))
    node = add_segmentation(scene, scan, {"h": (mask, terminology("5366008", "Hippocampus", "Left"))})
    (segment,) = tool.segments(node)
    assert segment["type"]["value"] == "5366008"
    assert segment["modifier"] == {"scheme": "SCT", "value": "7771000", "meaning": "Left"}


def test_a_saved_segmentation_holds_the_whole_grid_names_and_codes(tool, scan, result, folder):
    from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names
    from mimseg.data.volumes import read_volume

    path, array = result
    node = tool.importSegmentation(path, scan)
    target = folder / "saved ä.seg.nrrd"
    tool.saveSegmentation(node, str(target))
    assert set(read_segment_names(target).values()) == {"Liver", "Größe"}
    labels = read_labelmap(target, like=read_volume(folder / "scan.nrrd").grid)
    assert np.array_equal(labels.array.transpose(2, 1, 0) != 0, array != 0)
    again = tool.importSegmentation(str(target), scan)
    assert [s["type"]["value"] for s in tool.segments(again)][:1] == ["10200004"]
    assert sitk.ReadImage(str(target)).GetSize() == SHAPE[::-1]
    assert node.GetStorageNode() is None


def test_a_labelmap_node_has_the_geometry_of_the_volume(tool, scan, result):
    path, array = result
    node = tool.importSegmentation(path, scan)
    labelmap = tool.addLabelmap(node, "Karte")
    assert np.allclose(ras_of_node(labelmap), ras_of_node(scan))
    assert np.array_equal(slicer.util.arrayFromVolume(labelmap) != 0, array != 0)
