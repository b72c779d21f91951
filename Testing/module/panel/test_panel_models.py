"""The tabs Models and Computer, installing, and the sample data."""

import hashlib
import sys
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from logic_tools import add_segmentation, add_volume, box
from make_screenshots import DEMO_MODEL, ROOT, demo_model_is_here
from panel_tools import FakeDesktop, cells, open_panel, select_model, show, shown, wait

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
def opened_bare(monkeypatch, tmp_path, slicer, scene, open_module):
    """The module's widget on a computer without OpenVINO and PyTorch."""
    monkeypatch.setattr("MIMSegmentLib.Panel.Widget.Install", lambda backend, confirm: FakeInstaller())
    opened = open_panel(monkeypatch, tmp_path, open_module)
    show(opened.panel, "computer")
    tell_missing(opened.panel)
    return opened


@pytest.fixture
def bare(opened_bare):
    """The panel of `opened_bare`."""
    return opened_bare.panel


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


def test_segment_goes_on_while_another_module_is_shown(bare, opened_bare, scene):
    bare.ui.inputVolumeSelector.setCurrentNode(add_volume(scene))
    FakeDesktop.answers["confirm"] = True
    bare.ui.segmentButton.click()
    opened_bare.exit()
    bare.installer.running = ""
    bare.installer.finished.emit("segment")
    assert wait(lambda: scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1)


def test_training_goes_on_with_what_was_chosen_when_it_was_started(bare, opened_bare, scene, monkeypatch):
    begun = []
    monkeypatch.setattr(bare.logic, "startFinetuning", begun.append)
    scan = add_volume(scene, "Case")
    segmentation = add_segmentation(scene, scan, {"Cyst": box((14, 16, 18), (2, 8), (3, 9), (4, 10))})
    bare.ui.caseSegmentationSelector.setCurrentNode(segmentation)
    bare.ui.addCaseButton.click()
    bare.ui.mirroredCheckBox.checked = True
    bare.ui.deviceSelector.setCurrentIndex(1)
    FakeDesktop.answers["confirm"] = True
    bare.ui.finetuneButton.click()
    opened_bare.exit()
    bare.installer.running = ""
    bare.installer.finished.emit("train")
    assert wait(lambda: begun)
    assert begun[0].mirrored
    assert begun[0].device == "cpu"


def test_a_look_at_the_computer_during_an_installation_does_not_lose_what_was_to_follow(bare, scene):
    bare.ui.inputVolumeSelector.setCurrentNode(add_volume(scene))
    FakeDesktop.answers["confirm"] = True
    bare.ui.segmentButton.click()
    bare.catalog.examined.emit()
    bare.installer.running = ""
    bare.installer.finished.emit("segment")
    assert wait(lambda: scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1)


def test_what_was_to_follow_does_not_start_later_when_the_computer_could_not_be_examined(bare, monkeypatch):
    begun = []
    bare.setup.install("segment", lambda: begun.append("segment"))
    monkeypatch.setattr(bare.catalog, "examine", lambda: bare.catalog.failed.emit("It ended.", ""))
    bare.installer.running = ""
    bare.installer.finished.emit("segment")
    bare.catalog.examination["can"]["segment"] = ["cpu"]
    bare.catalog.examined.emit()
    assert begun == []


def test_training_asks_for_its_packages_when_it_is_first_used(bare, scene):
    scan = add_volume(scene, "Case")
    segmentation = add_segmentation(scene, scan, {"Cyst": box((14, 16, 18), (2, 8), (3, 9), (4, 10))})
    bare.ui.caseSegmentationSelector.setCurrentNode(segmentation)
    bare.ui.addCaseButton.click()
    FakeDesktop.answers["confirm"] = True
    bare.ui.finetuneButton.click()
    assert "PyTorch" in bare.desktop.done[-1][1]
    assert "Slicer stands still" in bare.desktop.done[-1][1]
    assert bare.installer.running == "train"
    assert "Slicer stands still" in bare.ui.installStatusLabel.text
    assert not bare.logic.running


def test_each_remedy_has_a_button_and_a_command_is_for_who_brings_a_python(bare):
    texts = [widget.text for widget in bare.computerTab._remedies]
    assert texts == ["Segmenting needs packages: openvino.", "Install", "PyTorch does not use the card."]
    bare.logic.backend.interpreter = sys.executable
    tell_missing(bare)
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
    assert panel.ui.computerReportLabel.text.startswith("Checking")
    assert wait(lambda: panel.catalog.examination)
    assert "Processor" in panel.ui.computerReportLabel.text
    assert FakeDesktop.settings["Python"] == sys.executable
    panel.ui.pythonEdit.currentPath = ""
    assert panel.logic.backend.interpreter == ""
    assert FakeDesktop.settings["Python"] == ""


def test_a_python_that_cannot_run_the_backend_is_told_where_it_was_chosen_and_not_remembered(panel, tmp_path):
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    panel.ui.pythonEdit.currentPath = str(python)
    assert panel.ui.computerReportLabel.text.startswith("Checking")
    assert wait(lambda: panel.ui.computerReportLabel.text.startswith("<b>"))
    assert "Processor" not in panel.ui.computerReportLabel.text
    assert "not known" in panel.ui.segmentDeviceLabel.text
    assert FakeDesktop.settings.get("Python", "") == ""


def test_a_late_answer_of_the_python_before_is_not_taken_for_that_of_the_new_one(panel):
    panel.catalog.examination = None
    panel.catalog.examine()
    panel.logic.backend.interpreter = "/another/python"
    answers = []
    panel.catalog.examined.connect(lambda: answers.append(panel.catalog.examination))
    assert wait(lambda: not panel.logic._questions._running)
    assert answers == []


def test_a_button_goes_back_to_slicers_python(panel):
    assert not panel.ui.slicerPythonButton.enabled
    panel.ui.pythonEdit.currentPath = sys.executable
    assert panel.ui.slicerPythonButton.enabled
    panel.ui.slicerPythonButton.click()
    assert panel.logic.backend.interpreter == FakeDesktop.settings["Python"] == panel.ui.pythonEdit.currentPath == ""
    assert not panel.ui.slicerPythonButton.enabled


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        ("pretrainFolderEdit", "PretrainFolder"),
        ("ownScansEdit", "OwnScansFolder"),
        ("unlabeledFolderEdit", "UnlabeledFolder"),
    ],
)
def test_a_folder_is_remembered_on_this_computer_until_it_is_emptied(panel, tmp_path, edit, name):
    getattr(panel.ui, edit).currentPath = str(tmp_path)
    assert FakeDesktop.settings[name] == str(tmp_path)
    getattr(panel.ui, edit).currentPath = ""
    assert FakeDesktop.settings[name] == ""


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
    tutorial = [path for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")) if path.is_file()]
    assert any(f"*{source['sampleName']}*" in path.read_text(encoding="utf-8") for path in tutorial)
    assert source["category"] == "MIMSegment"
