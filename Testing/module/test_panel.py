"""The panel as a user drives it: choose, click, wait, cancel, close the scene, read the nodes, export.

Real Qt behind the harness, real MRML, the real backend in a real child process.
"""

import hashlib
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
import SimpleITK as sitk
from logic_tools import ROOT, add_segmentation, add_volume, box, is_alive, nodes
from make_screenshots import DEMO_MODEL, DEMO_VOLUME, demo_model_is_here, segment_demo
from panel_tools import (
    FakeDesktop,
    cells,
    leftovers,
    names_of,
    open_panel,
    run_to_end,
    select_model,
    show,
    shown,
    wait,
)


@pytest.fixture
def opened(monkeypatch, tmp_path, slicer, scene, open_module):
    """The module's widget; the panel is its attribute."""
    return open_panel(monkeypatch, tmp_path, open_module)


@pytest.fixture
def panel(opened):
    return opened.panel


@pytest.fixture
def scan(panel, scene):
    """An oblique volume, chosen in the panel."""
    node = add_volume(scene)
    panel.ui.inputVolumeSelector.setCurrentNode(node)
    return node


def geometry(node):
    """Direction, spacing and origin of a volume node as one matrix."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def file_geometry(path):
    """The same of a file, in RAS."""
    image = sitk.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3))[:3, :3] @ np.diag(image.GetSpacing()[:3])
    matrix[:3, 3] = image.GetOrigin()[:3]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


# -- Segment


def test_the_panel_says_that_nothing_leaves_the_computer_and_that_it_is_for_research(panel):
    assert panel.ui.privacyLabel.text == "Nothing leaves this computer. Research use only."


def test_segment_can_be_clicked_as_soon_as_a_volume_is_chosen(panel, scene):
    assert not panel.ui.segmentButton.enabled
    assert "Sample Data" in panel.ui.segmentHintLabel.text
    panel.ui.inputVolumeSelector.setCurrentNode(add_volume(scene))
    assert panel.ui.segmentButton.enabled
    assert panel.ui.segmentHintLabel.text == ""


def test_one_click_makes_a_new_segmentation_that_lies_on_the_scan(panel, scan):
    name, result = run_to_end(panel, panel.ui.segmentButton)
    assert name == "finished"
    (node,) = result["segmentations"]
    assert panel.ui.segmentationSelector.currentNode() is node
    assert node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()) == scan.GetID()
    names = [segment["name"] for segment in panel.logic.scene.segments(node)]
    assert names == ["Grey", "Bright"]
    assert panel.ui.segmentButton.text == "Segment"
    assert panel.ui.segmentStatusLabel.text.startswith("Done in ")
    assert not shown(panel, panel.ui.segmentProgressBar)


def test_the_result_is_that_of_the_command_line(panel, scan, slicer, tmp_path, monkeypatch):
    _name, result = run_to_end(panel, panel.ui.segmentButton)
    panel.logic.scene.exportVolume(scan, str(tmp_path / "scan.nrrd"))
    command = [sys.executable, "-m", "mimseg", "segment", str(tmp_path / "scan.nrrd"), "--model", "tiny"]
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "backend" / "src"))
    subprocess.run([*command, "-o", str(tmp_path / "scan.nii.gz"), "--quiet"], check=True)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "scan.nii.gz")))
    (node,) = result["segmentations"]
    for segment in panel.logic.scene.segments(node):
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment["id"], scan)
        assert found.any()
        np.testing.assert_array_equal(found != 0, expected == segment["labelValue"])


def test_the_demo_volume_and_the_shipped_model_give_what_the_command_line_gives(panel, slicer, tmp_path, monkeypatch):
    if not demo_model_is_here():
        pytest.skip("the model hippocampus-mr is not in Resources/Models")
    volume, result = segment_demo(panel)
    boxes = panel.logic.scene.regionsForVolume(panel.segmentTab.boxes(), volume)
    regions = ["--roi=" + ",".join(f"{bound:.6g}" for bound in bounds) for bounds in boxes]
    command = [sys.executable, "-m", "mimseg", "segment", str(DEMO_VOLUME), "--model", DEMO_MODEL, *regions]
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "backend" / "src"))
    subprocess.run([*command, "-o", str(tmp_path / "demo.nii.gz"), "--quiet"], check=True)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "demo.nii.gz")))
    (node,) = result["segmentations"]
    segments = panel.logic.scene.segments(node)
    assert [segment["name"] for segment in segments] == ["Anterior hippocampus", "Posterior hippocampus"]
    for segment in segments:
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment["id"], volume)
        np.testing.assert_array_equal(found != 0, expected == segment["labelValue"])
    for _name, milliliters, _voxels in panel.logic.scene.volumes(node):
        assert 1 < milliliters < 8


def test_a_scan_much_larger_than_the_model_knows_asks_for_boxes(panel, slicer):
    if not demo_model_is_here():
        pytest.skip("the model hippocampus-mr is not in Resources/Models")
    panel.segmentTab.chooseModel(DEMO_MODEL)
    panel.ui.inputVolumeSelector.setCurrentNode(slicer.util.loadVolume(str(DEMO_VOLUME)))
    assert wait(lambda: "Click Add box" in panel.ui.segmentHintLabel.text)
    panel.ui.addRoiButton.click()
    assert panel.ui.segmentHintLabel.text == ""
    assert panel.segmentTab.boxes()[0].GetSize()[0] == pytest.approx(35, abs=5)


def test_the_volumes_in_ml_are_shown_beside_the_result(panel, scan):
    _name, result = run_to_end(panel, panel.ui.segmentButton)
    measured = panel.logic.scene.volumes(result["segmentations"][0])
    assert cells(panel.ui.volumesTable) == [[name, f"{volume:.2f}"] for name, volume, _voxels in measured]
    assert any(volume > 0 for _name, volume, _voxels in measured)


def test_a_second_run_never_overwrites_the_first_result(panel, scan):
    _name, first = run_to_end(panel, panel.ui.segmentButton)
    _name, second = run_to_end(panel, panel.ui.segmentButton)
    assert first["segmentations"][0] is not second["segmentations"][0]
    assert panel.logic.scene.contains(first["segmentations"][0])


def test_only_checked_structures_are_kept(panel, scan, slicer):
    import qt

    assert names_of(panel.ui.structuresList) == ["Grey", "Bright"]
    panel.ui.structuresList.item(0).setCheckState(qt.Qt.Unchecked)
    assert panel.parameters.leftOutStructures == "Grey"
    _name, result = run_to_end(panel, panel.ui.segmentButton)
    assert [segment["name"] for segment in panel.logic.scene.segments(result["segmentations"][0])] == ["Bright"]
    panel.ui.structuresList.item(1).setCheckState(qt.Qt.Unchecked)
    assert not panel.ui.segmentButton.enabled


def test_add_box_puts_a_checked_box_on_the_volume_and_nothing_is_segmented_outside(panel, scan, slicer):
    panel.ui.addRoiButton.click()
    (region,) = panel.segmentTab.boxes()
    region.SetSize(8, 8, 8)
    bounds = [0.0] * 6
    scan.GetRASBounds(bounds)
    middle = [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)]
    assert np.allclose(region.GetCenter(), middle)
    _name, whole = run_to_end(panel, panel.ui.segmentButton)
    found = sum(voxels for _segment, _ml, voxels in panel.logic.scene.volumes(whole["segmentations"][0]))
    assert 0 < found <= 12 * 12 * 12
    assert found < scan.GetImageData().GetNumberOfPoints() / 4


def test_segment_becomes_cancel_and_leaves_no_process_node_or_file(panel, scan, scene, slicer):
    before = nodes(scene)
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Cancel"
    assert shown(panel, panel.ui.segmentProgressBar)
    assert wait(lambda: panel.logic.processId)
    process = panel.logic.processId
    name, _command = run_to_end(panel, panel.ui.segmentButton, seconds=10)
    assert name == "stopped"
    assert not is_alive(process)
    assert nodes(scene) == before
    assert leftovers(slicer) == []
    assert panel.ui.segmentButton.text == "Segment"
    assert panel.ui.segmentButton.enabled
    assert "Canceled" in panel.ui.segmentStatusLabel.text


def test_closing_the_scene_while_segmenting_leaves_the_new_scene_empty(panel, scan, scene, slicer):
    panel.ui.segmentButton.click()
    assert wait(lambda: panel.logic.processId)
    process = panel.logic.processId
    scene.Clear(0)
    assert wait(lambda: not panel.logic.running, 20)
    assert not is_alive(process)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert leftovers(slicer) == []
    assert panel.ui.inputVolumeSelector.currentNode() is None
    assert not panel.ui.segmentButton.enabled


def test_closing_slicer_while_segmenting_ends_the_child(panel, opened, scan, slicer):
    panel.ui.segmentButton.click()
    assert wait(lambda: panel.logic.processId)
    process = panel.logic.processId
    opened.cleanup()
    assert not is_alive(process)
    assert leftovers(slicer) == []


def test_several_volumes_are_segmented_in_one_process(panel, scan, scene):
    import qt

    other = add_volume(scene, "Other")
    panel.ui.moreVolumesSelector.setCheckState(other, qt.Qt.Checked)
    started = []
    panel.logic.started.connect(started.append)
    _name, result = run_to_end(panel, panel.ui.segmentButton)
    assert started == ["segment"]
    references = [node.GetNodeReference("referenceImageGeometryRef") for node in result["segmentations"]]
    assert references == [scan, other]


def test_a_failure_is_one_sentence_and_one_remedy_and_the_rest_is_in_the_log(panel, scan, tmp_path):
    (tmp_path / "models ä" / "tiny" / "models" / "model.onnx").write_bytes(b"damaged")
    name, message, hint = run_to_end(panel, panel.ui.segmentButton)
    assert name == "failed"
    assert hint
    assert message in panel.ui.segmentStatusLabel.text.replace("&#x27;", "'").replace("&quot;", '"')
    assert message in panel.ui.logEdit.plainText
    assert panel.ui.segmentButton.enabled


def test_segment_editor_opens_on_the_result_and_its_scan(panel, scan):
    assert not panel.ui.editButton.enabled
    _name, result = run_to_end(panel, panel.ui.segmentButton)
    panel.ui.editButton.click()
    assert panel.desktop.done[-1] == ("openSegmentEditor", result["segmentations"][0], scan)


# -- device


def test_the_device_line_says_loudly_what_will_be_used(panel):
    assert "PROCESSOR (CPU)" in panel.ui.segmentDeviceLabel.text
    card = {"name": "Example GPU", "kind": "cuda"}
    torch = {"name": "torch", "state": "works", "details": {"devices": [{"device": "cuda", "works": True}]}}
    panel.catalog.examination = {**panel.catalog.examination, "graphics": [card], "packages": [torch]}
    panel.update()
    assert panel.ui.segmentDeviceLabel.text == "Will run on: GRAPHICS CARD (GPU), Example GPU"
    panel.ui.deviceSelector.setCurrentIndex(1)
    assert "PROCESSOR (CPU)" in panel.ui.finetuneDeviceLabel.text
    panel.ui.deviceSelector.setCurrentIndex(2)
    assert panel.segmentTab.device == "cuda"
    panel.catalog.examination["packages"] = [{"name": "torch", "state": "missing"}]
    panel.update()
    assert panel.ui.segmentDeviceLabel.text.startswith("Not possible")


# -- export


def test_export_writes_the_checked_files_on_the_grid_of_the_scan(panel, scan, tmp_path):
    run_to_end(panel, panel.ui.segmentButton)
    folder = tmp_path / "Ausgabe ß"
    folder.mkdir()
    assert not panel.ui.exportButton.enabled
    panel.ui.exportFolderEdit.currentPath = str(folder)
    panel.ui.exportNiftiCheckBox.checked = True
    panel.ui.exportNrrdCheckBox.checked = True
    panel.ui.exportButton.click()
    written = sorted(path.name for path in folder.iterdir())
    for ending in (".seg.nrrd", ".nii.gz", ".csv"):
        assert any(name.endswith(ending) for name in written), written
    labelmaps = [path for path in folder.iterdir() if path.name.endswith((".nii.gz", ".nrrd"))]
    assert len(labelmaps) == 3
    for path in labelmaps:
        np.testing.assert_allclose(file_geometry(path), geometry(scan), atol=1e-4)
    assert FakeDesktop.settings["ExportFolder"] == str(folder)
    assert "Written to" in panel.ui.exportStatusLabel.text


def test_export_to_a_folder_that_cannot_be_made_says_what_to_do(panel, scan, tmp_path):
    run_to_end(panel, panel.ui.segmentButton)
    (tmp_path / "file").write_text("")
    panel.ui.exportFolderEdit.currentPath = str(tmp_path / "file" / "below")
    panel.ui.exportButton.click()
    assert "cannot be written" in panel.ui.segmentStatusLabel.text


def test_create_labelmap_adds_a_node_with_the_geometry_of_the_scan(panel, scan, scene):
    run_to_end(panel, panel.ui.segmentButton)
    panel.ui.labelmapButton.click()
    node = scene.GetNthNodeByClass(0, "vtkMRMLLabelMapVolumeNode")
    np.testing.assert_allclose(geometry(node), geometry(scan), atol=1e-6)


# -- parameters


def test_what_was_chosen_comes_back_when_the_module_is_entered_again(panel, opened, scan):
    panel.ui.wholeSequenceCheckBox.checked = True
    panel.ui.newModelNameEdit.text = "liver-2"
    opened.exit()
    panel.ui.newModelNameEdit.text = "typed while another module is shown"
    opened.enter()
    assert panel.ui.inputVolumeSelector.currentNode() is scan
    assert panel.ui.wholeSequenceCheckBox.checked
    assert panel.ui.newModelNameEdit.text == "liver-2"


def test_a_volume_that_is_loaded_already_is_chosen_but_a_labelmap_is_not(panel, opened, scene):
    opened.exit()
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    node = add_volume(scene)
    opened.enter()
    assert panel.ui.inputVolumeSelector.currentNode() is node


# -- Fine-tune: the table of cases


@pytest.fixture
def labelled(panel, scene):
    """A volume with a segmentation, chosen on the Fine-tune tab."""
    scan = add_volume(scene, "Case")
    segmentation = add_segmentation(scene, scan, {"Cyst": box((14, 16, 18), (2, 8), (3, 9), (4, 10))})
    show(panel, "finetune")
    panel.ui.caseSegmentationSelector.setCurrentNode(segmentation)
    return scan, segmentation


def test_choosing_a_segmentation_proposes_its_scan_and_adding_fills_the_table(panel, labelled):
    assert panel.ui.caseVolumeSelector.currentNode() is labelled[0]
    panel.ui.addCaseButton.click()
    ((case, structures),) = cells(panel.ui.casesTable)
    assert case.startswith("Case")
    assert structures == "Cyst"
    assert panel.ui.checkButton.enabled
    assert panel.ui.finetuneButton.enabled


def test_the_table_of_cases_survives_closing_the_scene(panel, labelled, scene):
    panel.ui.addCaseButton.click()
    before = cells(panel.ui.casesTable)
    scene.Clear(0)
    assert cells(panel.ui.casesTable) == before
    assert panel.ui.finetuneButton.enabled


def test_a_selected_case_can_be_removed(panel, labelled):
    panel.ui.addCaseButton.click()
    assert not panel.ui.removeCaseButton.enabled
    panel.ui.casesTable.selectRow(0)
    panel.ui.removeCaseButton.click()
    assert cells(panel.ui.casesTable) == []
    assert not panel.ui.finetuneButton.enabled


def test_cases_can_be_added_from_a_folder(panel, tmp_path):
    folder = tmp_path / "data"
    for name, values in (("imagesTr", (0, 100)), ("labelsTr", (0, 1))):
        (folder / name).mkdir(parents=True)
        array = np.zeros((8, 8, 8), np.uint8)
        array[2:5, 2:5, 2:5] = values[1]
        for case in ("a", "b"):
            sitk.WriteImage(sitk.GetImageFromArray(array), str(folder / name / f"{case}.nii.gz"))
    FakeDesktop.answers["chooseFolder"] = str(folder)
    panel.ui.addFolderButton.click()
    assert len(cells(panel.ui.casesTable)) == 2
    FakeDesktop.answers["chooseFolder"] = str(tmp_path / "models ä")
    panel.ui.addFolderButton.click()
    assert "no scans with labels" in panel.ui.finetuneStatusLabel.text


def test_a_corrected_result_becomes_a_training_case_with_one_click(panel, scan):
    run_to_end(panel, panel.ui.segmentButton)
    panel.ui.addResultButton.click()
    ((_case, structures),) = cells(panel.ui.casesTable)
    assert structures == "Grey, Bright"
    assert "Added to the training cases" in panel.ui.segmentStatusLabel.text


def test_an_empty_segmentation_is_refused_with_a_remedy(panel, labelled, scene):
    empty = add_segmentation(scene, labelled[0], {"Nothing": np.zeros((14, 16, 18), bool)})
    panel.ui.caseSegmentationSelector.setCurrentNode(empty)
    panel.ui.addCaseButton.click()
    assert cells(panel.ui.casesTable) == []
    assert "has no voxel" in panel.ui.finetuneStatusLabel.text


def test_a_training_can_start_from_a_model_or_from_nothing(panel):
    texts = [panel.ui.startFromSelector.itemText(number) for number in range(panel.ui.startFromSelector.count)]
    assert "Model: Tiny" in texts
    assert texts[-1] == "Nothing (from scratch)"
    panel.ui.startFromSelector.setCurrentIndex(texts.index("Model: Tiny"))
    assert panel.finetuneTab.initial() == "tiny"
    panel.ui.startFromSelector.setCurrentIndex(len(texts) - 1)
    assert panel.finetuneTab.initial() == "none"
    assert panel.parameters.startFrom == "none"


def test_problems_are_listed_in_plain_words(panel):
    problem = {"case": "Case_1", "severity": "error", "message": "The segmentation is empty.", "remedy": "Draw it."}
    show(panel, "finetune")
    panel.finetuneTab.showResult({"command": "check", "problems": [problem]})
    assert names_of(panel.ui.problemsList) == ["Case_1: The segmentation is empty.\nDraw it."]
    assert shown(panel, panel.ui.problemsList)
    panel.finetuneTab.showResult({"command": "check", "problems": []})
    assert not shown(panel, panel.ui.problemsList)
    assert panel.ui.finetuneStatusLabel.text == "No problem found."


# -- Models


def test_a_model_can_be_exported_removed_and_imported_again(panel, tmp_path):
    show(panel, "models")
    assert ["tiny", "MR", "2", "yours"] in cells(panel.ui.modelsTable)
    assert select_model(panel, "tiny")
    assert wait(lambda: "Tells dark, grey and bright apart." in panel.ui.modelDetailsLabel.text)
    assert "Research use only" in panel.ui.modelDetailsLabel.text
    FakeDesktop.answers.update(chooseFileToWrite=str(tmp_path / "tiny.zip"), confirm=True)
    panel.ui.exportModelButton.click()
    assert wait(lambda: "Written" in panel.ui.modelsStatusLabel.text)
    panel.ui.removeModelButton.click()
    assert wait(lambda: not select_model(panel, "tiny"))
    assert panel.segmentTab.modelName != "tiny"
    FakeDesktop.answers["chooseFileToOpen"] = str(tmp_path / "tiny.zip")
    panel.ui.importModelButton.click()
    assert wait(lambda: select_model(panel, "tiny"))
    assert panel.ui.modelsStatusLabel.text == "Imported tiny."


def test_a_model_is_not_removed_without_confirmation(panel):
    select_model(panel, "tiny")
    FakeDesktop.answers["confirm"] = False
    panel.ui.removeModelButton.click()
    assert panel.desktop.done[-1][0] == "confirm"
    assert select_model(panel, "tiny")


def test_a_model_that_came_with_the_extension_cannot_be_removed(panel):
    if not demo_model_is_here():
        pytest.skip("the model hippocampus-mr is not in Resources/Models")
    select_model(panel, DEMO_MODEL)
    assert panel.ui.exportModelButton.enabled
    assert not panel.ui.removeModelButton.enabled


def test_a_file_that_is_no_model_is_refused_with_a_remedy(panel, tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"not a zip file")
    FakeDesktop.answers["chooseFileToOpen"] = str(tmp_path / "bad.zip")
    panel.ui.importModelButton.click()
    assert wait(lambda: "<b>" in panel.ui.modelsStatusLabel.text)
    assert not select_model(panel, "bad")


# -- Computer, installing


class FakeInstaller:
    """An Install that does nothing but tell what a test makes it tell."""

    def __init__(self):
        from MIMSegmentLib.Signal import Signal

        self.message, self.finished, self.failed = Signal("message"), Signal("finished"), Signal("failed")
        self.running = ""

    def installForSegmenting(self):
        self.running = "segment"

    def installForTraining(self):
        self.running = "train"

    def cancel(self):
        self.running = ""


@pytest.fixture
def bare(monkeypatch, tmp_path, slicer, scene, open_module):
    """A panel on a computer without OpenVINO and PyTorch."""
    monkeypatch.setattr("MIMSegmentLib.Widget.Install", lambda backend: FakeInstaller())
    panel = open_panel(monkeypatch, tmp_path, open_module).panel
    show(panel, "computer")
    tell_missing(panel)
    return panel


def tell_missing(panel):
    """Let the computer look as if nothing was installed."""
    advice = [
        {"purpose": "segment", "problem": "Segmenting needs packages: openvino.", "commands": ["pip install openvino"]},
        {"purpose": "speed", "problem": "PyTorch does not use the card.", "commands": ["pip install torch"]},
    ]
    panel.catalog.examination = {
        **panel.catalog.examination,
        "can": {"segment": [], "train": []},
        "advice": advice,
    }
    panel.catalog.examined.emit()


def test_what_is_missing_is_offered_once_at_the_top_of_the_panel(bare):
    assert shown(bare, bare.ui.setupFrame)
    assert "OpenVINO" in bare.ui.setupLabel.text
    bare.ui.setupButton.click()
    assert bare.installer.running == "segment"
    assert not bare.ui.setupButton.enabled
    bare.installer.message.emit("Collecting openvino")
    assert "Collecting openvino" in bare.ui.logEdit.plainText
    bare.installer.running = ""
    bare.installer.finished.emit("segment")
    assert wait(lambda: not shown(bare, bare.ui.setupFrame))  # the computer is examined anew


def test_a_failed_installation_says_why_and_can_be_repeated(bare):
    bare.ui.setupButton.click()
    bare.installer.running = ""
    bare.installer.failed.emit("Installing packages failed.", "Check the network, then try again.")
    assert "Check the network" in bare.ui.setupLabel.text
    assert "Check the network" in bare.ui.installStatusLabel.text
    assert bare.ui.setupButton.enabled


def test_segment_without_openvino_asks_once_installs_and_goes_on(bare, scene):
    bare.ui.inputVolumeSelector.setCurrentNode(add_volume(scene))
    FakeDesktop.answers["confirm"] = False
    bare.ui.segmentButton.click()
    assert bare.installer.running == ""
    FakeDesktop.answers["confirm"] = True
    bare.ui.segmentButton.click()
    assert bare.installer.running == "segment"
    bare.installer.running = ""
    bare.installer.finished.emit("segment")
    assert wait(lambda: scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1)


def test_training_asks_for_its_packages_when_it_is_first_used(bare, scene):
    scan = add_volume(scene, "Case")
    segmentation = add_segmentation(scene, scan, {"Cyst": box((14, 16, 18), (2, 8), (3, 9), (4, 10))})
    bare.ui.caseSegmentationSelector.setCurrentNode(segmentation)
    bare.ui.addCaseButton.click()
    FakeDesktop.answers["confirm"] = True
    bare.ui.finetuneButton.click()
    assert "PyTorch" in bare.desktop.done[-1][1]
    assert bare.installer.running == "train"
    assert not bare.logic.running


def test_each_remedy_has_a_button(bare):
    texts = [widget.text for widget in bare.computerTab._remedies]
    assert texts == [
        "Segmenting needs packages: openvino.",
        "Install",
        "PyTorch does not use the card.",
        "Copy the command",
    ]
    bare.computerTab._remedies[3].click()
    assert bare.desktop.done[-1] == ("copy", "pip install torch")
    bare.computerTab._remedies[1].click()
    assert bare.installer.running == "segment"


def test_check_my_computer_shows_what_the_doctor_found(panel):
    show(panel, "computer")
    panel.catalog.examination = None
    panel.catalog.examine()
    assert wait(lambda: panel.catalog.examination)
    text = panel.ui.computerReportLabel.text
    assert "Processor" in text
    assert "<b>Segment:</b> yes" in text


def test_another_python_is_used_and_remembered(panel):
    panel.ui.pythonEdit.currentPath = sys.executable
    assert panel.logic.backend.interpreter == sys.executable
    assert FakeDesktop.settings["Python"] == sys.executable
    panel.ui.pythonEdit.currentPath = ""
    assert panel.logic.backend.interpreter == ""
    assert FakeDesktop.settings["Python"] == ""


# -- sample data


def test_the_demo_volume_is_registered_in_sample_data_with_its_checksum(slicer, panel):
    import SampleData
    from MIMSegment import registerSampleData

    SampleData.SampleDataLogic.registered.clear()
    registerSampleData()
    (source,) = SampleData.SampleDataLogic.registered
    path = Path(url2pathname(urlparse(source["uris"]).path))
    assert source["uris"].startswith("file:")
    assert source["checksums"] == "SHA256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert Path(source["thumbnailFileName"]).is_file()
