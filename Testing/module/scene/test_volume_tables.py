"""Volumes: left and right apart where a structure has sides; the table in the scene follows corrections."""

import gc
import weakref

import numpy as np
import pytest
from logic_tools import add_segmentation, add_volume, box, oblique, wait_until

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
from MIMSegmentLib.Panel.Segment.ResultSection import volumeText
from MIMSegmentLib.Scene.Scene import Scene
from MIMSegmentLib.Scene.Segments import Voxels
from MIMSegmentLib.Scene.VolumeTables import ROLE
from scene_tools import SHAPE as SEQUENCE_SHAPE
from scene_tools import add_sequence

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
    counts = {name: voxels for name, _milliliters, voxels in Voxels.volumesBySide(node)}
    # RAS: what has the smaller x lies on the left.
    low, high = ("left", "right") if spacing[0] > 0 else ("right", "left")
    assert counts == {f"Hippocampus, {low}": 96, f"Hippocampus, {high}": 160, "Stem": 1400}
    assert [voxels for _name, _milliliters, voxels in Scene(scene).volumes(node)] == [256, 1400]


def test_a_stray_voxel_is_no_side(scene, segmentation):
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    node = add_segmentation(scene, volume, {"A": ONE | box(SHAPE, (0, 1), (0, 1), (58, 59))}, "Stray")
    assert [name for name, *_rest in Voxels.volumesBySide(node)] == ["A"]


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


@pytest.fixture
def moving(scene):
    """A volume and a segmentation at three time points: a scene's Sequences logic, the browser, the second sequence."""
    logic, browser, sequence = add_sequence(scene, add_volume(scene, "Heart", np.zeros(SEQUENCE_SHAPE, np.int16)))
    tool, shown = Scene(scene), browser.GetProxyNode(sequence)
    masks = [box(SEQUENCE_SHAPE, (2, 4 + number), (2, 6), (2, 6)) for number in range(3)]
    last = {"b": box(SEQUENCE_SHAPE, (9, 11), (2, 6), (2, 6))}
    nodes = [add_segmentation(scene, shown, {"a": mask, **(last if mask is masks[2] else {})}) for mask in masks]
    created = tool.addSequence(browser, sequence, nodes, "Heart tiny")
    tool.remove(nodes)
    tool.tables.stop()
    browser.SetSelectedItemNumber(0)
    logic.UpdateAllProxyNodes()
    yield logic, browser, created
    logic.SetMRMLScene(None)


def milliliters(table):
    numbers = range(1, table.GetNumberOfColumns())
    return [[float(table.GetCellText(row, column)) for column in numbers] for row in range(table.GetNumberOfRows())]


def test_a_table_of_time_points_has_a_column_for_each_structure(scene, moving):
    tool, (_logic, _browser, sequence) = Scene(scene), moving
    table = tool.tables.add(sequence, "Heart tiny")
    assert table.GetName() == "Heart tiny volumes"
    assert table.GetLocked()
    assert [table.GetColumnTitle(table.GetColumnName(column)) for column in range(3)] == ["time", "a (mL)", "b (mL)"]
    assert milliliters(table) == [[0.096, 0.0], [0.144, 0.0], [0.192, 0.096]]
    tool.tables.stop()


@pytest.mark.parametrize("later", [False, True], ids=["same session", "scene of an earlier session"])
def test_the_table_of_time_points_follows_corrections_that_the_sequence_keeps(scene, moving, later):
    logic, browser, sequence = moving
    tool = Scene(scene)
    table = tool.tables.add(sequence, "Heart tiny")
    if later:
        tool.tables.stop()
        tool = Scene(scene)

    def show(number):
        browser.SetSelectedItemNumber(number)
        logic.UpdateAllProxyNodes()
        return browser.GetProxyNode(sequence).GetSegmentation()

    for number, expected in ((2, [0.192]), (1, [0.0]), (0, [0.0])):
        inside = show(number)
        if number == 2:
            inside.RemoveSegment(inside.GetNthSegmentID(1))
        else:
            image = inside.GetNthSegment(0).GetRepresentation("Binary labelmap")
            image.GetPointData().GetScalars().Fill(0)
            image.Modified()
            inside.GetNthSegment(0).Modified()
        assert wait_until(lambda number=number, expected=expected: milliliters(table)[number] == expected, 5)
    show(2)
    # Looking at another time point changes nothing.
    assert not wait_until(lambda: milliliters(table) != [[0.0], [0.0], [0.192]], 1)
    assert [tool.volumes(sequence.GetNthDataNode(number))[0][2] for number in range(3)] == [0, 0, 64]
    tool.tables.stop()


def test_a_scene_that_is_closed_is_released(scene, segmentation):
    tool = Scene(scene)
    tool.tables.add(segmentation)
    inside = weakref.ref(segmentation.GetSegmentation())
    segmentation.SetAndObserveSegmentation(None)
    scene.Clear(0)
    gc.collect()
    assert inside() is None
    tool.tables.stop()


@pytest.mark.parametrize("shown", [False, True], ids=["with table", "only shown"])
def test_a_segmentation_that_is_removed_is_released(scene, segmentation, shown):
    tool = Scene(scene)
    nodes = [segmentation]
    if shown:
        tool.tables.volumesOf(segmentation)
    else:
        nodes.append(tool.tables.add(segmentation))
    inside = weakref.ref(segmentation.GetSegmentation())
    segmentation.SetAndObserveSegmentation(None)
    tool.remove(nodes)
    gc.collect()
    assert inside() is None
    tool.tables.stop()


def test_a_sequence_that_is_removed_is_released_with_its_time_points(scene, moving):
    (_logic, browser, sequence), tool = moving, Scene(scene)
    table = tool.tables.add(sequence)
    inside = [weakref.ref(sequence.GetNthDataNode(number).GetSegmentation()) for number in (1, 2)]
    sequence.RemoveDataNodeAtValue(sequence.GetNthIndexValue(2))
    assert wait_until(lambda: table.GetNumberOfRows() == 2, 5)
    gc.collect()
    assert inside[1]() is None
    assert inside[0]() is not None
    tool.remove([table, browser.GetProxyNode(sequence), sequence])
    gc.collect()
    assert inside[0]() is None
    tool.tables.stop()


@pytest.mark.parametrize(("milliliters", "text"), [(4.645, "4.65"), (4.644, "4.64"), (0.0, "0.00"), (2.675, "2.68")])
def test_halves_are_rounded_up(milliliters, text):
    assert volumeText(milliliters) == text
