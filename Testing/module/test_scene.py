"""MRML nodes to files and back, with 3D Slicer's own classes and the backend's own readers."""

import os
from pathlib import Path

import numpy as np
import pytest
from logic_tools import FOLDER, add_segmentation, add_volume, box, nodes, oblique, terminology

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
import slicer
import vtk
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene import Scene

SHAPE = (12, 14, 16)


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
    values = np.random.default_rng(1).integers(-1000, 2000, SHAPE).astype(np.int16)
    return add_volume(scene, "Kopf ä", values)


def ras_of(image):
    """4x4 matrix from indices to RAS of a SimpleITK image."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ matrix


def ras_of_node(node):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def write_result(path, volume_path, masks):
    """A result as the backend writes it. `masks`: {(value, name, code or None): mask (k, j, i)}."""
    from mimseg.data.labelmaps import write_labelmap
    from mimseg.data.labels import Code, Label
    from mimseg.data.volumes import read_volume

    volume = read_volume(Path(volume_path))
    labels = np.zeros(volume.array.shape, np.uint8)
    table = []
    for number, ((value, name, code), mask) in enumerate(masks.items()):
        labels[mask.transpose(2, 1, 0)] = value
        kind = Code("SCT", code, name) if code else None
        table.append(Label(value, name, (200, 10 * number, 20), type=kind))
    write_labelmap(Path(path), labels, volume.grid, table)
    return labels.transpose(2, 1, 0)


@pytest.fixture
def result(tool, scan, folder):
    """`(path, array (k, j, i))` of a result on the scan."""
    tool.exportVolume(scan, str(folder / "scan.nrrd"))
    masks = {
        (3, "Liver", "10200004"): box(SHAPE, (2, 6), (3, 8), (4, 9)),
        (7, "Größe", None): box(SHAPE, (7, 9), (3, 8), (4, 9)),
    }
    return str(folder / "ä.seg.nrrd"), write_result(folder / "ä.seg.nrrd", folder / "scan.nrrd", masks)


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


def test_an_oriented_region_becomes_its_bounding_box(tool, scene, scan):
    roi = add_roi(scene, (0, 0, 0), (10, 10, 2), (45, 0, 0, 1))
    (bounds,) = tool.regionsForVolume([roi], scan)
    half = 5 * np.sqrt(2)
    assert np.allclose(bounds, (-half, half, -half, half, -1, 1))
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


# -- results


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
    table = tool.volumesTable(node)
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
    from mimseg.data.volumes import read_volume
    from mimseg.tasks.volume_table import measure

    path, array = result
    node = tool.importSegmentation(path, scan)
    from mimseg.data.labels import Label

    grid = read_volume(folder / "scan.nrrd").grid
    table = (Label(3, "Liver", (0, 0, 0)), Label(7, "Größe", (0, 0, 0)))
    expected = [(row.label, row.ml, row.voxels) for row in measure(array.transpose(2, 1, 0), grid, table)]
    for found, wanted in zip(tool.volumes(node), expected, strict=True):
        assert found[0] == wanted[0]
        assert found[1] == pytest.approx(wanted[1])
        assert found[2] == wanted[2]


def test_the_table_shows_each_structure_in_milliliters(tool, scan, result):
    node = tool.importSegmentation(result[0], scan)
    table = tool.volumesTable(node)
    assert [table.GetColumnName(column) for column in range(3)] == ["Structure", "Volume (mL)", "Voxels"]
    assert table.GetUseColumnTitleAsColumnHeader()
    assert table.GetColumnTitle("Volume (mL)") == "Volume (mL)"
    assert table.GetNumberOfRows() == 2
    assert table.GetCellText(0, 0) == "Liver"
    assert float(table.GetCellText(0, 1)) == pytest.approx(4 * 5 * 5 * 1.5 * 0.8 * 2.5 / 1000)
    assert table.GetCellText(0, 2) == "100"


# -- segmentations to files


def test_segments_are_written_by_the_values_asked_for_and_the_backend_reads_them(tool, scene, scan, folder):
    from mimseg.data.labelmaps import read_labelmap
    from mimseg.data.volumes import read_volume

    masks = {"b": box(SHAPE, (1, 3), (1, 5), (2, 6)), "a": box(SHAPE, (5, 9), (1, 5), (2, 6))}
    node = add_segmentation(scene, scan, masks)
    ids = {segment["name"]: segment["id"] for segment in tool.segments(node)}
    for ending in (".nrrd", ".nii.gz"):
        voxels = tool.exportSegmentation(node, scan, str(folder / f"l{ending}"), {ids["a"]: 1, ids["b"]: 5})
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
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(*(ras_of_node(scan) @ [8, 7, 6, 1])[:3])
    sphere.SetRadius(4.0)
    sphere.SetThetaResolution(30)
    sphere.SetPhiResolution(30)
    sphere.Update()
    node.SetSourceRepresentationToClosedSurface()
    surface = slicer.vtkSegment()
    surface.SetName("ball")
    surface.AddRepresentation("Closed surface", sphere.GetOutput())
    node.GetSegmentation().AddSegment(surface)
    (segment,) = tool.segments(node)
    array, _shared = tool.labelArray(node, {segment["id"]: 1}, scan)
    assert array.sum() * 1.5 * 0.8 * 2.5 == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.15)
    assert not node.GetSegmentation().ContainsRepresentation("Binary labelmap")


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
    from mimseg.data.labelmaps import read_labelmap, read_segment_names
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


# -- sequences


def add_sequence(scene, scan, count=3):
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Herz")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    for number in range(count):
        slicer.util.updateVolumeFromArray(scan, np.full(SHAPE, number, np.int16))
        sequence.SetDataNodeAtValue(scan, str(0.5 * number))
    browser.AddSynchronizedSequenceNode(sequence)
    logic.UpdateAllProxyNodes()
    return logic, browser, sequence


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


def test_a_table_of_time_points_has_a_column_for_each_structure(tool):
    rows = [("0", [("a", 1.0, 10)]), ("1", [("a", 2.0, 20), ("b", 3.0, 30)])]
    table = tool.sequenceTable("x", "time", rows)
    assert [table.GetColumnName(column) for column in range(3)] == ["time", "a (mL)", "b (mL)"]
    assert [float(table.GetCellText(row, 2)) for row in range(2)] == [0.0, 3.0]
