"""Files of one export hold the same voxels at the same places, whatever lies above the nodes, however it was drawn."""

import numpy as np
import pytest
from logic_tools import FOLDER, add_segmentation, box
from scene_tools import SHAPE, add_scan, ras_of, ras_of_node

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
import slicer
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
