"""Results of the backend become segmentations, tables and sequences of the scene."""

import numpy as np
import pytest
from logic_tools import FOLDER, add_segmentation, box, nodes

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
import slicer
import vtk
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.Scene import Scene
from scene_tools import SHAPE, add_result, add_scan, add_sequence


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


def test_a_result_has_the_backends_voxels_on_the_volumes_grid(tool, scan, result):
    path, array = result
    node = tool.importSegmentation(path, scan, "Ergebnis")
    values = {segment["id"]: segment["labelValue"] for segment in tool.segments(node)}
    assert sorted(values.values()) == [3, 7]
    for reference in (scan, None):
        found, shared = tool.labelArray(node, values, reference)
        assert np.array_equal(found, array)
        assert shared == 0
    reference = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    assert reference is scan


def test_a_result_has_names_colors_codes_and_surfaces(tool, scan, result):
    node = tool.importSegmentation(result[0], scan, "Ergebnis")
    liver, other = tool.segments(node)
    assert (liver["name"], liver["color"]) == ("Liver", [200, 0, 20])
    assert liver["type"] == {"scheme": "SCT", "value": "10200004", "meaning": "Liver"}
    assert liver["category"]["value"] == "123037004"
    assert other["name"] == "Größe"
    assert node.GetName() == "Ergebnis"
    segmentation = node.GetSegmentation()
    assert segmentation.ContainsRepresentation("Closed surface")
    assert segmentation.GetSourceRepresentationName() == "Binary labelmap"
    assert segmentation.GetSegment(liver["id"]).GetRepresentation("Closed surface").GetNumberOfPoints() > 0
    assert node.GetDisplayNode().GetVisibility3D()


def test_the_codes_are_what_slicers_own_dicom_export_reads(tool, scan, result):
    node = tool.importSegmentation(result[0], scan)
    text = vtk.reference("")
    segment = node.GetSegmentation().GetSegment("Segment_3")
    assert segment.GetTag("TerminologyEntry", text)
    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    assert logic.DeserializeTerminologyEntry(str(text), entry)
    assert entry.GetTypeObject().GetCodeValue() == "10200004"
    assert entry.GetCategoryObject().GetCodeValue() == "123037004"


def test_a_result_stands_in_the_study_of_its_volume_and_below_its_transform(tool, scene, scan, result):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    subject = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Patient")
    study = hierarchy.CreateStudyItem(subject, "Study")
    item = hierarchy.GetItemByDataNode(scan)
    if item:
        hierarchy.SetItemParent(item, study)
    else:
        hierarchy.CreateItem(study, scan)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    scan.SetAndObserveTransformNodeID(transform.GetID())
    node = tool.importSegmentation(result[0], scan)
    table = tool.tables.add(node)
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study
    assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(table)) == study
    assert node.GetTransformNodeID() == transform.GetID()


def test_each_result_is_a_node_of_its_own(tool, scan, result):
    first, second = (tool.importSegmentation(result[0], scan, "Ergebnis") for _ in range(2))
    assert first is not second
    assert first.GetName() != second.GetName()
    assert first.GetStorageNode() is None


def test_only_the_wanted_structures_are_kept(tool, scan, result):
    node = tool.importSegmentation(result[0], scan, labels=(" größe ",))
    assert [segment["name"] for segment in tool.segments(node)] == ["Größe"]


@pytest.mark.parametrize("content", [None, b"", b"NRRD0004\ntype: uint8\n", b"\x00" * 100])
def test_a_damaged_result_leaves_the_scene_as_it_was(tool, scene, scan, folder, content):
    path = folder / "bad.seg.nrrd"
    if content is not None:
        path.write_bytes(content)
    before = nodes(scene)
    with pytest.raises(Problem) as caught:
        tool.importSegmentation(str(path), scan)
    assert caught.value.hint
    assert nodes(scene) == before


def test_volumes_are_those_of_the_backend(tool, scan, result, folder):
    from mimseg.commands.segment.volume_table import measure
    from mimseg.data.volumes import read_volume

    path, array = result
    node = tool.importSegmentation(path, scan)
    from mimseg.data.labels.structures import Label

    grid = read_volume(folder / "scan.nrrd").grid
    table = (Label(3, "Liver", (0, 0, 0)), Label(7, "Größe", (0, 0, 0)))
    expected = [(row.label, row.ml, row.voxels) for row in measure(array.transpose(2, 1, 0), grid, table)]
    for found, wanted in zip(tool.volumes(node), expected, strict=True):
        assert found[0] == wanted[0]
        assert found[1] == pytest.approx(wanted[1])
        assert found[2] == wanted[2]


def test_the_table_shows_each_structure_in_milliliters(tool, scan, result):
    node = tool.importSegmentation(result[0], scan)
    table = tool.tables.add(node)
    assert [table.GetColumnName(column) for column in range(3)] == ["Structure", "Volume (mL)", "Voxels"]
    assert table.GetUseColumnTitleAsColumnHeader()
    assert table.GetColumnTitle("Volume (mL)") == "Volume (mL)"
    assert table.GetNumberOfRows() == 2
    assert table.GetCellText(0, 0) == "Liver"
    assert float(table.GetCellText(0, 1)) == pytest.approx(4 * 5 * 5 * 1.5 * 0.8 * 2.5 / 1000)
    assert table.GetCellText(0, 2) == "100"


def test_a_volume_knows_its_sequence(tool, scene, scan, folder):
    assert tool.sequenceOf(scan) is None
    _logic, browser, sequence = add_sequence(scene, scan)
    proxy = browser.GetProxyNode(sequence)
    assert tool.sequenceOf(proxy) == (browser, sequence)
    tool.exportVolume(sequence.GetNthDataNode(2), str(folder / "t.nrrd"))
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "t.nrrd"))).max() == 2


def test_results_of_time_points_become_a_sequence_of_the_same_browser(tool, scene, scan, result):
    _logic, browser, sequence = add_sequence(scene, scan)
    proxy = browser.GetProxyNode(sequence)
    found = [tool.importSegmentation(result[0], proxy), None, tool.importSegmentation(result[0], proxy)]
    created = tool.addSequence(browser, sequence, found, "Herz Segmente")
    tool.remove(found)
    assert created.GetNumberOfDataNodes() == 2
    assert [created.GetNthIndexValue(number) for number in range(2)] == [
        sequence.GetNthIndexValue(number) for number in (0, 2)
    ]
    assert (created.GetIndexName(), created.GetIndexUnit()) == ("time", "s")
    assert browser.IsSynchronizedSequenceNode(created)
    assert created.GetNthDataNode(1).GetSegmentation().GetNumberOfSegments() == 2


@pytest.mark.parametrize("steps", [(0, 1, 2), (2, 1, 0), (1, 0, 1)], ids=["forward", "backward", "from the gap"])
def test_a_time_point_without_result_stays_without(tool, scene, scan, steps):
    logic, browser, sequence = add_sequence(scene, scan)
    browser.SetSelectedItemNumber(steps[0])
    shown = browser.GetProxyNode(sequence)
    found = [add_segmentation(scene, shown, {"a": box(SHAPE, (2, 3 + n), (3, 6), (4, 7))}) for n in (0, 2)]
    created = tool.addSequence(browser, sequence, [found[0], None, found[1]], "Herz Segmente")
    tool.remove(found)
    table = tool.tables.add(created)
    for step in steps:
        browser.SetSelectedItemNumber(step)
        logic.UpdateAllProxyNodes()
        proxy = browser.GetProxyNode(created)
        assert [voxels for _name, _milliliters, voxels in tool.volumes(proxy)] == {0: [9], 1: [], 2: [27]}[step]
        if step == 1:
            # What is drawn where nothing is kept must not end up in the neighbour.
            tool.attach(proxy, shown)
            proxy.GetSegmentation().AddEmptySegment("drawn")
            proxy.Modified()
        assert created.GetNumberOfDataNodes() == 2
    tool.tables.update()
    assert table.GetNumberOfRows() == 2
    assert [tool.volumes(created.GetNthDataNode(number)) for number in range(2)] == [
        [("a", pytest.approx(0.027), 9)],
        [("a", pytest.approx(0.081), 27)],
    ]
    tool.tables.stop()
    logic.SetMRMLScene(None)
