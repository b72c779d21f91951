"""Volumes: left and right apart where a structure has sides; the table in the scene follows corrections."""

import numpy as np
import pytest
from logic_tools import add_segmentation, add_volume, box, oblique, wait_until

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
from MIMSegmentLib.Panel.ResultSection import volumeText
from MIMSegmentLib.Scene.Scene import Scene
from MIMSegmentLib.Scene.VolumeTables import ROLE

SHAPE = (12, 14, 60)
BOTH = box(SHAPE, (2, 6), (2, 6), (2, 8)) | box(SHAPE, (2, 6), (2, 6), (40, 50))
ONE = box(SHAPE, (7, 11), (2, 12), (10, 45))


def rows(table):
    return [[table.GetCellText(row, column) for column in range(3)] for row in range(table.GetNumberOfRows())]


@pytest.fixture
def segmentation(scene):
    volume = add_volume(scene, "Head", np.zeros(SHAPE, np.float32), oblique((1.0, 1.0, 1.0), angle=0.0))
    return add_segmentation(scene, volume, {"Hippocampus": BOTH, "Stem": ONE})


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (-1.0, 1.0, 1.0)])
def test_a_structure_with_a_gap_between_its_sides_is_shown_by_side(scene, spacing):
    volume = add_volume(scene, "Head", np.zeros(SHAPE, np.float32), oblique(spacing, angle=0.0))
    node = add_segmentation(scene, volume, {"Hippocampus": BOTH, "Stem": ONE})
    counts = {name: voxels for name, _milliliters, voxels in Scene(scene).volumesBySide(node)}
    # RAS: what has the smaller x lies on the left.
    low, high = ("left", "right") if spacing[0] > 0 else ("right", "left")
    assert counts == {f"Hippocampus, {low}": 96, f"Hippocampus, {high}": 160, "Stem": 1400}
    assert [voxels for _name, _milliliters, voxels in Scene(scene).volumes(node)] == [256, 1400]


def test_a_stray_voxel_is_no_side(scene, segmentation):
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    node = add_segmentation(scene, volume, {"A": ONE | box(SHAPE, (0, 1), (0, 1), (58, 59))}, "Stray")
    assert [name for name, *_rest in Scene(scene).volumesBySide(node)] == ["A"]


def test_the_table_in_the_scene_follows_corrections(scene, segmentation):
    tool = Scene(scene)
    table = tool.tables.add(segmentation)
    assert [row[0] for row in rows(table)] == ["Hippocampus, left", "Hippocampus, right", "Stem"]
    assert table.GetLocked()
    inside = segmentation.GetSegmentation()
    inside.RemoveSegment(inside.GetNthSegmentID(1))
    assert wait_until(lambda: len(rows(table)) == 2, 5)
    inside.GetNthSegment(0).SetName("Corrected")
    assert wait_until(lambda: rows(table)[0][0] == "Corrected, left", 5)
    tool.tables.stop()


def test_tables_of_an_earlier_session_follow_too(scene, segmentation):
    first = Scene(scene)
    table = first.tables.add(segmentation)
    first.tables.stop()
    inside = segmentation.GetSegmentation()
    inside.RemoveSegment(inside.GetNthSegmentID(1))
    # As when the module is opened with a scene that was loaded before.
    second = Scene(scene)
    assert table.GetNodeReference(ROLE) is segmentation
    assert len(rows(table)) == 2
    second.tables.stop()


@pytest.mark.parametrize(("milliliters", "text"), [(4.645, "4.65"), (4.644, "4.64"), (0.0, "0.00"), (2.675, "2.68")])
def test_halves_are_rounded_up(milliliters, text):
    assert volumeText(milliliters) == text
