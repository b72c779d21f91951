"""DICOM segmentations from the panel: of volumes that come from DICOM; else it is told why not."""

import os
from pathlib import Path

import numpy as np
import pytest
from logic_tools import add_segmentation, add_volume, box, segment, terminology, wait_until
from panel_tools import FakeDesktop, wait

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
pytest.importorskip("pydicom")
import harness.program.dicom
import slicer
import vtk
from MIMSegmentLib.Problem import Problem

AXES = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
# Of a voxel of `write_slice`, and between slices, in mm.
SPACING = (0.5, 0.75, 2.5)
SIZE = (20, 14, 9)


@pytest.fixture
def database(monkeypatch):
    """An empty DICOM database, also inside Slicer."""
    monkeypatch.setattr(slicer, "dicomDatabase", harness.program.dicom.ctkDICOMDatabase())
    return slicer.dicomDatabase


@pytest.fixture
def series(scene, database, tmp_path):
    """A volume as Slicer loads it from an oblique series; files of another series lie beside it."""
    from dicom_files import SERIES, write_series

    axes = AXES[:2].ravel()
    normal = np.cross(*AXES[:2])
    array = np.zeros(SIZE, np.int16)
    array[2:9, 3:11, 2:6], array[12:18, 5:9, 4:8] = 50, 100
    positions = np.array([[-10.0, 20.0, 30.0] + SPACING[2] * k * normal for k in range(SIZE[2])])
    folder = tmp_path / "Archiv ä"
    write_series(folder, array, positions, axes=axes)
    write_series(folder, array, positions, prefix="other", series="1.2.3.4", axes=axes)
    for path in folder.iterdir():
        database.insert(str(path))
    matrix = vtk.vtkMatrix4x4()
    toRAS = np.eye(4)
    toRAS[:3, :3] = np.diag([-1, -1, 1]) @ np.stack([*AXES[:2], normal], axis=1) @ np.diag(SPACING)
    toRAS[:3, 3] = np.diag([-1, -1, 1]) @ positions[0]
    matrix.DeepCopy(toRAS.ravel().tolist())
    node = add_volume(scene, "Kopf ä/1", np.ascontiguousarray(array.T).astype(np.float32), matrix)
    node.SetAttribute("DICOM.instanceUIDs", " ".join(f"{SERIES}.{number + 1}" for number in range(SIZE[2])))
    return node


@pytest.fixture
def drawn(scene, series):
    """Two segments that overlap, drawn by hand."""
    shape = SIZE[::-1]
    organ, lesion = box(shape, (1, 8), (2, 12), (2, 12)), box(shape, (3, 6), (4, 8), (8, 14))
    structures = {"Organ": (organ, terminology("10200004", "Liver")), "Läsion": lesion}
    return add_segmentation(scene, series, structures, "Befund 1"), (organ, lesion)


def read(path):
    """Masks (k, j, i) by the names of the segments, and the dataset."""
    highdicom = pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    from dicom_files import by_highdicom

    from mimseg.data.volumes import read_volume

    data = highdicom.seg.segread(path)
    grid = read_volume(Path(path).parent / "series").grid
    masks = {s.SegmentLabel: by_highdicom(path, grid, [s.SegmentNumber]).T > 0 for s in data.SegmentSequence}
    return masks, data


@pytest.fixture
def outputs(tmp_path, series):
    """Where files go, with the series itself beside them for `read`."""
    from dicom_files import SERIES

    (tmp_path / "out ß" / "series").mkdir(parents=True)
    for number in range(SIZE[2]):
        path = Path(slicer.dicomDatabase.fileForInstance(f"{SERIES}.{number + 1}"))
        os.link(path, tmp_path / "out ß" / "series" / path.name)
    return tmp_path / "out ß"


def export(logic, node, folder):
    """The answer of a DICOM export."""
    answers = []
    logic.exportDicom(node, str(folder), answers.append)
    assert wait_until(lambda: answers)
    return answers[0]


def test_overlapping_segments_are_written_voxel_for_voxel(logic, drawn, outputs):
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    logic, _record = logic
    node, (organ, lesion) = drawn
    logic.checkDicom(node)
    answer = export(logic, node, outputs)
    assert answer.ok, answer
    assert answer.result["output"] == str(outputs / "Befund 1.dcm")
    masks, data = read(outputs / "Befund 1.dcm")
    assert list(masks) == ["Organ", "Läsion"]
    assert np.array_equal(masks["Organ"], organ)
    assert np.array_equal(masks["Läsion"], lesion)
    assert data.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert {s.SegmentAlgorithmType for s in data.SegmentSequence} == {"MANUAL"}
    (referenced,) = data.ReferencedSeriesSequence
    assert len(referenced.ReferencedInstanceSequence) == SIZE[2]


def test_a_transform_above_the_segmentation_moves_it_in_the_file_too(logic, drawn, series, outputs):
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    logic, _record = logic
    node, (organ, lesion) = drawn
    matrix = vtk.vtkMatrix4x4()
    series.GetIJKToRASMatrix(matrix)
    two = [2 * matrix.GetElement(row, 0) for row in range(3)]
    step = vtk.vtkMatrix4x4()
    for row in range(3):
        step.SetElement(row, 3, two[row])
    transform = node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(step)
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert export(logic, node, outputs).ok
    masks, _data = read(outputs / "Befund 1.dcm")
    assert np.array_equal(masks["Organ"], np.roll(organ, 2, axis=2))
    assert np.array_equal(masks["Läsion"], np.roll(lesion, 2, axis=2))


def test_what_a_model_drew_names_it(logic, series, outputs):
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    logic, record = logic
    segment(logic, series, "tiny")
    _name, result = record.wait()
    (node,) = result["segmentations"]
    assert export(logic, node, outputs).ok
    _masks, data = read(next(outputs.glob("*.dcm")))
    drawers = {(s.SegmentAlgorithmType, s.SegmentAlgorithmName) for s in data.SegmentSequence}
    assert drawers == {("AUTOMATIC", "tiny")}


def test_a_segmentation_on_another_grid_is_refused_and_nothing_is_left(logic, drawn, series, outputs):
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    logic, _record = logic
    node, _masks = drawn
    other = add_volume(node.GetScene(), "Anderes", np.zeros(SIZE[::-1], np.float32))
    other.SetAttribute("DICOM.instanceUIDs", series.GetAttribute("DICOM.instanceUIDs"))
    elsewhere = add_segmentation(node.GetScene(), other, {"A": box(SIZE[::-1], (1, 5), (1, 5), (1, 5))}, "Daneben")
    answer = export(logic, elsewhere, outputs)
    assert answer.code == "grid-mismatch"
    assert "Daneben" in answer.message
    assert not list(outputs.glob("*.dcm"))


def test_a_volume_that_is_not_from_dicom_is_told_so(logic, scene):
    logic, _record = logic
    volume = add_volume(scene)
    node = add_segmentation(scene, volume, {"A": np.ones((14, 16, 18), bool)})
    with pytest.raises(Problem, match="Kopf ä/1 was not loaded from DICOM"):
        logic.checkDicom(node)
    scene.RemoveNode(volume)
    with pytest.raises(Problem, match="belongs to no volume"):
        logic.checkDicom(node)


def test_files_that_are_gone_are_told_before_anything_starts(logic, drawn, outputs):
    logic, _record = logic
    node, _masks = drawn
    last = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()).GetAttribute("DICOM.instanceUIDs")
    os.remove(slicer.dicomDatabase.fileForInstance(last.split()[-1]))
    with pytest.raises(Problem, match="not in the DICOM database"):
        logic.exportDicom(node, str(outputs), pytest.fail)


# -- the panel


def test_the_panel_offers_it_for_a_volume_from_dicom_and_says_what_was_written(panel, drawn, outputs):
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    node, (organ, _lesion) = drawn
    ui = panel.ui
    ui.segmentationSelector.setCurrentNode(node)
    ui.exportFolderEdit.currentPath = str(outputs)
    assert ui.exportDicomCheckBox.enabled
    assert ui.exportDicomLabel.text == ""
    ui.exportDicomCheckBox.checked = True
    ui.exportSegNrrdCheckBox.checked = False
    ui.exportButton.click()
    assert not ui.exportButton.enabled
    assert "Written to" not in ui.exportStatusLabel.text
    assert wait(lambda: ui.exportButton.enabled)
    assert "Befund 1-volumes.csv, Befund 1.dcm" in ui.exportStatusLabel.text
    masks, _data = read(outputs / "Befund 1.dcm")
    assert np.array_equal(masks["Organ"], organ)
    FakeDesktop.answers["confirm"] = False
    ui.exportButton.click()
    assert ui.exportStatusLabel.text == "Nothing was written."


def test_the_panel_says_why_it_is_not_offered(panel, scene, series, drawn):
    other = add_segmentation(scene, add_volume(scene, "MR"), {"A": np.ones((14, 16, 18), bool)}, "Andere")
    ui = panel.ui
    ui.segmentationSelector.setCurrentNode(drawn[0])
    ui.exportFolderEdit.currentPath = "/tmp"
    ui.exportSegNrrdCheckBox.checked = False
    ui.exportDicomCheckBox.checked = True
    assert ui.exportButton.enabled
    ui.segmentationSelector.setCurrentNode(other)
    assert not ui.exportDicomCheckBox.enabled
    assert "The volume MR was not loaded from DICOM" in ui.exportDicomLabel.text
    assert not ui.exportButton.enabled


def importing_first(folder, backend, monkeypatch):
    """Let the backend's child process find modules in `folder` before all others."""
    environment = backend.environment()
    path = os.pathsep.join([str(folder), environment["PYTHONPATH"]])
    monkeypatch.setattr(backend, "environment", lambda: {**environment, "PYTHONPATH": path})


def click_export(panel, drawn, outputs):
    """Export what was drawn as a DICOM segmentation by clicks, and wait for the end."""
    ui = panel.ui
    ui.segmentationSelector.setCurrentNode(drawn[0])
    ui.exportFolderEdit.currentPath = str(outputs)
    ui.exportDicomCheckBox.checked = True
    ui.exportButton.click()
    assert wait(lambda: ui.exportButton.enabled)
    return ui


def test_without_the_package_a_click_installs_it(panel, drawn, outputs, monkeypatch):
    installed = []
    monkeypatch.setattr(panel.installer, "installForDicom", lambda: installed.append("dicom"))
    backend = panel.logic.backend
    blocked = outputs / "blocked"
    (blocked / "highdicom").mkdir(parents=True)
    (blocked / "highdicom" / "__init__.py").write_text("raise ImportError('not here')")
    importing_first(blocked, backend, monkeypatch)
    ui = click_export(panel, drawn, outputs)
    assert "highdicom" in ui.exportStatusLabel.text
    assert "pip" not in ui.exportStatusLabel.text
    assert 'href="dicom"' in ui.exportStatusLabel.text
    assert "Written to" not in ui.exportStatusLabel.text
    panel.exportSection.onLink("dicom")
    assert installed == ["dicom"]


def test_a_full_disk_never_counts_as_success(panel, drawn, outputs, monkeypatch):
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    pytest.importorskip("resource", reason="Windows has no size limit for files")
    backend = panel.logic.backend
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))"
    hook = outputs / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(limit)
    importing_first(hook, backend, monkeypatch)
    ui = click_export(panel, drawn, outputs)
    assert "cannot be written" in ui.exportStatusLabel.text
    assert "Written to" not in ui.exportStatusLabel.text
    assert not list(outputs.glob("*.dcm"))


@pytest.mark.parametrize("writable", [True, False])
def test_files_that_windows_could_not_remove_are_copied_not_linked(tmp_path, monkeypatch, writable):
    from MIMSegmentLib.Scene import DicomSource

    file = tmp_path / "read-only.dcm"
    file.write_bytes(b"scan")
    monkeypatch.setattr("os.access", lambda path, mode: writable)
    DicomSource._gather([str(file)], str(tmp_path / "series"))
    (target,) = (tmp_path / "series").iterdir()
    assert target.read_bytes() == b"scan"
    assert target.samefile(file) == writable
