"""Volumes and regions of the scene to files, with 3D Slicer's own classes and the backend's own readers."""

import os

import numpy as np
import pytest
from logic_tools import FOLDER, add_volume, nodes

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
import vtk
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.Scene import Scene
from scene_tools import SHAPE, add_scan, ras_of, ras_of_node


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


# -- volumes


@pytest.mark.parametrize("kind", [np.int16, np.uint8, np.float32, np.float64, np.int32])
def test_a_volume_keeps_values_type_and_oblique_geometry(tool, scene, folder, kind):
    values = np.random.default_rng(0).integers(0, 200, SHAPE).astype(kind)
    node = add_volume(scene, "Scan", values)
    tool.exportVolume(node, str(folder / "v.nrrd"))
    image = sitk.ReadImage(str(folder / "v.nrrd"))
    assert sitk.GetArrayFromImage(image).dtype == kind
    assert np.array_equal(sitk.GetArrayFromImage(image), values)
    assert np.allclose(ras_of(image), ras_of_node(node), atol=1e-12)


def test_the_export_changes_neither_the_volume_nor_the_scene(tool, scene, scan, folder):
    scan.AddDefaultStorageNode()
    scan.GetStorageNode().SetFileName("/somewhere/mine.nrrd")
    before = nodes(scene), scan.GetModifiedSinceRead(), scan.GetStorageNode().GetFileName()
    tool.exportVolume(scan, str(folder / "v.nrrd"))
    assert (nodes(scene), scan.GetModifiedSinceRead(), scan.GetStorageNode().GetFileName()) == before


def test_an_export_replaces_a_file_and_leaves_nothing_else(tool, scan, folder):
    (folder / "v.nrrd").write_text("old")
    tool.exportVolume(scan, str(folder / "v.nrrd"))
    assert os.listdir(folder) == ["v.nrrd"]
    assert (folder / "v.nrrd").stat().st_size > 1000


def test_an_empty_volume_is_refused_with_its_name(tool, scene, folder):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Leer")
    with pytest.raises(Problem, match="Leer") as caught:
        tool.exportVolume(node, str(folder / "v.nrrd"))
    assert caught.value.hint


def test_a_folder_that_cannot_be_written_is_told(tool, scan, folder):
    (folder / "file").write_text("")
    with pytest.raises(Problem, match="cannot be written") as caught:
        tool.exportVolume(scan, str(folder / "file" / "v.nrrd"))
    assert caught.value.hint
    assert os.listdir(folder) == ["file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(tool, scan, folder):
    folder.chmod(0o555)
    with pytest.raises(Problem, match="cannot be written"):
        tool.exportVolume(scan, str(folder / "v.nrrd"))


# -- regions


def add_roi(scene, center, size, rotation=None):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    node.SetSize(*size)
    matrix = vtk.vtkTransform()
    matrix.Translate(*center)
    if rotation:
        matrix.RotateWXYZ(*rotation)
    node.SetAndObserveObjectToNodeMatrix(matrix.GetMatrix())
    return node


def test_a_straight_region_is_its_bounds_in_ras(tool, scene, scan):
    roi = add_roi(scene, (10, -20, 30), (4, 6, 8))
    (bounds,) = tool.regionsForVolume([roi], scan)
    assert np.allclose(bounds, (8, 12, -23, -17, 26, 34))


def test_an_oriented_region_stays_oriented(tool, scene, scan):
    roi = add_roi(scene, (0, 0, 0), (10, 10, 2), (45, 0, 0, 1))
    (region,) = tool.regionsForVolume([roi], scan)
    corner, *edges = np.reshape(region, (4, 3))
    half = 5 * np.sqrt(2)
    assert np.allclose(corner, (0, -half, -1))
    assert np.allclose(edges, ((half, half, 0), (-half, half, 0), (0, 0, 2)))


def test_an_oriented_region_below_a_deformation_becomes_the_box_around_it(tool, scene, scan):
    roi = add_roi(scene, (0, 0, 0), (10, 10, 2), (45, 0, 0, 1))
    transform = scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    scan.SetAndObserveTransformNodeID(transform.GetID())
    (bounds,) = tool.regionsForVolume([roi], scan)
    expected = np.zeros(6)
    roi.GetRASBounds(expected)
    assert np.allclose(bounds, expected)


def test_transforms_above_region_and_volume_are_taken_into_account(tool, scene, scan):
    def shift(node, x):
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        matrix = vtk.vtkMatrix4x4()
        matrix.SetElement(0, 3, x)
        transform.SetMatrixTransformToParent(matrix)
        node.SetAndObserveTransformNodeID(transform.GetID())

    roi = add_roi(scene, (0, 0, 0), (2, 2, 2))
    shift(scan, 100)
    assert np.allclose(tool.regionsForVolume([roi], scan)[0], (-101, -99, -1, 1, -1, 1))
    shift(roi, 10)
    assert np.allclose(tool.regionsForVolume([roi], scan)[0], (-91, -89, -1, 1, -1, 1))


def test_the_region_of_the_panel_is_the_region_of_the_backend(tool, scene, scan, folder):
    from mimseg.data.regions import box_from_ras
    from mimseg.data.volumes import read_volume

    tool.exportVolume(scan, str(folder / "v.nrrd"))
    volume = read_volume(folder / "v.nrrd")
    center = ras_of_node(scan) @ [8, 7, 6, 1]
    roi = add_roi(scene, center[:3], (3, 3, 3))
    found = box_from_ras(tool.regionsForVolume([roi], scan)[0], volume.grid)
    assert all(low <= index < high for low, index, high in zip(found.start, (8, 7, 6), found.stop, strict=True))
