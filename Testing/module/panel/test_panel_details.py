"""What a clinician trips over: volumes loaded while the panel is shown, files replaced unasked, what a crash leaves."""

import numpy as np
import pytest
from fake_backend import fake_backend
from logic_tools import add_segmentation, add_volume, box
from panel_tools import FakeDesktop, cells, open_panel, wait

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk

SHAPE = (14, 16, 18)


@pytest.fixture
def opened(monkeypatch, tmp_path, slicer, scene, open_module):
    return open_panel(monkeypatch, tmp_path, open_module, fake_backend(tmp_path / "module")[0])


def test_a_volume_that_is_loaded_while_the_panel_is_shown_is_chosen(panel, scene):
    assert panel.ui.inputVolumeSelector.currentNode() is None
    first = add_volume(scene, "First")
    assert wait(lambda: panel.ui.inputVolumeSelector.currentNode() is first, 5)
    assert panel.parameters.inputVolume is first
    # What is chosen stays.
    add_volume(scene, "Second")
    wait(lambda: False, 0.3)
    assert panel.ui.inputVolumeSelector.currentNode() is first


def test_an_export_asks_before_it_replaces_a_file_and_shows_the_folder(panel, scene, tmp_path):
    volume = add_volume(scene)
    node = add_segmentation(scene, volume, {"A": box(SHAPE, (2, 6), (2, 6), (2, 6))}, "S")
    panel.ui.segmentationSelector.setCurrentNode(node)
    panel.ui.exportFolderEdit.currentPath = str(tmp_path)
    (tmp_path / "S.seg.nrrd").write_text("mine")
    panel.ui.exportButton.click()
    assert "S.seg.nrrd" in panel.desktop.done[-1][1]
    assert (tmp_path / "S.seg.nrrd").read_text() == "mine"
    assert panel.ui.exportStatusLabel.text == "Nothing was written."
    FakeDesktop.answers["confirm"] = True
    panel.ui.exportButton.click()
    assert (tmp_path / "S.seg.nrrd").read_bytes()[:4] == b"NRRD"
    assert '<a href="folder">' in panel.ui.exportStatusLabel.text
    panel.exportSection.onLink("folder")
    assert panel.desktop.done[-1] == ("openFolder", str(tmp_path))


def test_an_overlap_that_an_export_loses_is_told_beside_what_was_written(panel, scene, tmp_path):
    masks = {"A": box(SHAPE, (2, 6), (2, 6), (2, 6)), "B": box(SHAPE, (5, 8), (2, 6), (2, 6))}
    panel.ui.segmentationSelector.setCurrentNode(add_segmentation(scene, add_volume(scene), masks, "S"))
    panel.ui.exportFolderEdit.currentPath = str(tmp_path)
    panel.ui.exportButton.click()
    assert "Please note" not in panel.ui.exportStatusLabel.text
    panel.ui.labelmapButton.click()
    assert "Please note: Segments overlap in 16 voxels" in panel.ui.exportStatusLabel.text
    FakeDesktop.answers["confirm"] = True
    panel.ui.exportNiftiCheckBox.checked = True
    panel.ui.exportButton.click()
    assert "S.nii.gz" in panel.ui.exportStatusLabel.text
    assert "Please note: Segments overlap in 16 voxels" in panel.ui.exportStatusLabel.text


@pytest.fixture
def without_scan(panel, scene):
    """A segmentation whose scan has no voxels, as after loading a scene whose scan is not on this computer."""
    scan = add_volume(scene, "Gone")
    node = add_segmentation(scene, scan, {"A": box(SHAPE, (2, 6), (3, 7), (4, 9))}, "Kept")
    scan.SetAndObserveImageData(None)
    panel.ui.segmentationSelector.setCurrentNode(node)
    return scan, node


def test_a_segmentation_whose_scan_is_missing_is_exported_on_its_own_grid(panel, without_scan, tmp_path):
    panel.ui.exportFolderEdit.currentPath = str(tmp_path / "out")
    for ending in ("Nifti", "Nrrd", "SegNrrd"):
        getattr(panel.ui, f"export{ending}CheckBox").checked = True
    panel.ui.exportButton.click()
    assert "Kept.nii.gz" in panel.ui.exportStatusLabel.text
    for ending in ("nii.gz", "nrrd", "seg.nrrd"):
        image = sitk.ReadImage(str(tmp_path / "out" / f"Kept.{ending}"))
        assert image.GetSize() == (18, 16, 14)
        assert np.count_nonzero(sitk.GetArrayFromImage(image)) == 4 * 4 * 5
    panel.ui.labelmapButton.click()
    assert "Created the labelmap" in panel.ui.exportStatusLabel.text


def test_a_case_whose_scan_is_missing_is_refused_with_its_name(panel, without_scan):
    panel.ui.caseSegmentationSelector.setCurrentNode(without_scan[1])
    panel.ui.caseVolumeSelector.setCurrentNode(without_scan[0])
    panel.ui.addCaseButton.click()
    assert "The volume Gone has no voxels." in panel.ui.finetuneStatusLabel.text
    panel.ui.addResultButton.click()
    assert "The volume Gone has no voxels." in panel.ui.segmentStatusLabel.text
    assert panel.logic.cases.entries() == []


def test_what_nobody_foresaw_is_told_beside_the_button(panel, without_scan, tmp_path, monkeypatch):
    def fail(*_values):
        raise AttributeError("surprise")

    monkeypatch.setattr(panel.logic, "exportResult", fail)
    monkeypatch.setattr(panel.logic, "loadRankedCase", fail)
    panel.ui.exportFolderEdit.currentPath = str(tmp_path)
    panel.ui.exportNiftiCheckBox.checked = True
    panel.ui.exportButton.click()
    panel.rankSection.onLoad()
    for label in (panel.ui.exportStatusLabel, panel.ui.rankStatusLabel):
        assert "This could not be done (surprise)." in label.text


@pytest.mark.parametrize("kind", ["vtkMRMLMarkupsROINode", "vtkMRMLModelNode", "vtkMRMLSegmentationNode"])
def test_a_source_geometry_that_is_no_volume_leaves_every_button_working(panel, scene, tmp_path, kind):
    node = add_segmentation(scene, add_volume(scene), {"A": box(SHAPE, (2, 6), (2, 6), (2, 6))}, "S")
    other = scene.AddNewNodeByClass(kind, "Other")
    node.SetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole(), other.GetID())
    ui = panel.ui
    ui.caseSegmentationSelector.setCurrentNode(node)
    assert ui.caseVolumeSelector.currentNode() is not other
    ui.segmentationSelector.setCurrentNode(node)
    ui.exportFolderEdit.currentPath = str(tmp_path)
    ui.exportNiftiCheckBox.checked = True
    ui.exportButton.click()
    assert "Written to" in ui.exportStatusLabel.text
    assert "belongs to no volume" in ui.exportDicomLabel.text
    ui.labelmapButton.click()
    assert "Created the labelmap" in ui.exportStatusLabel.text
    ui.editButton.click()
    assert panel.desktop.done[-1] == ("openSegmentEditor", node, None)
    ui.addResultButton.click()
    assert "source geometry" in ui.segmentStatusLabel.text


def test_voxels_are_counted_once_until_they_change(opened, panel, scene, monkeypatch):
    from MIMSegmentLib.Scene.Segments import Voxels

    counted, count = [], Voxels.measured
    monkeypatch.setattr(Voxels, "measured", lambda node: counted.append(node.GetName()) or count(node))
    volume = add_volume(scene)
    result = add_segmentation(scene, volume, {"A": box(SHAPE, (2, 6), (2, 6), (2, 6))}, "Result")
    loaded = add_segmentation(scene, volume, {"A": box(SHAPE, (2, 6), (2, 6), (2, 6))}, "Loaded")
    # As at the end of a run.
    panel.logic.scene.tables.add(result)
    panel.segmentTab.result.choose(result)
    assert counted == ["Result"]
    panel.ui.segmentationSelector.setCurrentNode(loaded)
    panel.ui.segmentationSelector.setCurrentNode(result)
    for _time in range(2):
        opened.exit()
        opened.enter()
    assert counted == ["Result", "Loaded"]
    opened.exit()
    result.GetSegmentation().GetNthSegment(0).SetName("Corrected")
    opened.enter()
    assert cells(panel.ui.volumesTable)[0][0] == "Corrected"
    assert wait(lambda: not panel.logic.scene.tables._timer.active, 5)
    assert counted == ["Result", "Loaded", "Result"]


def test_entering_fills_the_table_of_volumes_once(opened, panel, scene, monkeypatch):
    shown, show = [], type(panel.segmentTab.result).show
    monkeypatch.setattr(type(panel.segmentTab.result), "show", lambda section: shown.append(1) or show(section))
    panel.ui.segmentationSelector.setCurrentNode(
        add_segmentation(scene, add_volume(scene), {"A": np.ones(SHAPE, bool)})
    )
    opened.exit()
    shown.clear()
    opened.enter()
    assert len(shown) == 1


def test_segmentations_of_other_patients_are_hidden(panel, scene):
    nodes = []
    for name in ("One", "Other"):
        volume = add_volume(scene, name, np.zeros(SHAPE, np.float32))
        nodes.append(add_segmentation(scene, volume, {"A": box(SHAPE, (2, 6), (2, 6), (2, 6))}, f"{name} S"))
        nodes[-1].CreateDefaultDisplayNodes()
    panel.logic.scene.hideOtherSegmentations(volume)
    assert [node.GetDisplayNode().GetVisibility() for node in nodes] == [0, 1]


def test_scans_that_a_killed_slicer_left_are_removed_when_slicer_starts(slicer, tmp_path, monkeypatch):
    import MIMSegment

    # No process has this number on Linux and macOS.
    left, others = tmp_path / "MIMSegment-99999999-abc", tmp_path / "Other-99999999-abc"
    for folder in (left, others):
        folder.mkdir()
        (folder / "scan.nrrd").write_text("a patient")
    monkeypatch.setattr("MIMSegmentLib.Process.BackendRun.temporaryParent", lambda: str(tmp_path))
    MIMSegment.onStartup()
    assert not left.exists()
    assert others.exists()


def test_a_score_of_an_earlier_version_says_so(slicer, open_module):
    from MIMSegmentLib.Panel.Texts import scoreText

    summary = {"mean_dice": 0.737, "cases": 6}
    assert scoreText({"summary": summary}) == "mean Dice 0.74 on 6 validation cases"
    text = scoreText({"summary": {**summary, "version": "0.3.0", "worst_dice": 0.52}})
    assert text == "mean Dice 0.74 on 6 validation cases (version 0.3.0, which had not seen them), worst 0.52"
