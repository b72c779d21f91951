"""The cases on the Fine-tune tab as a user fills and checks them."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fake_backend import fake_backend
from logic_tools import add_segmentation, add_volume, box, is_alive
from panel_tools import FakeDesktop, cells, names_of, open_panel, run_to_end, show, shown, wait


@pytest.fixture
def opened(monkeypatch, tmp_path, slicer, scene, open_module):
    """The module with a stand-in for the backend."""
    return open_panel(monkeypatch, tmp_path, open_module, fake_backend(tmp_path / "module")[0])


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
    FakeDesktop.answers["confirm"] = True
    panel.ui.removeCaseButton.click()
    assert cells(panel.ui.casesTable) == []
    assert not panel.ui.finetuneButton.enabled


@pytest.mark.parametrize("replace", [True, False])
def test_a_scan_that_is_a_case_already_is_replaced_if_the_user_says_so(panel, labelled, replace):
    panel.ui.addCaseButton.click()
    assert panel.desktop.done == []
    (first,) = panel.logic.cases.entries()
    panel.ui.segmentationSelector.setCurrentNode(labelled[1])
    FakeDesktop.answers["confirm"] = replace
    panel.ui.addResultButton.click()
    ((name, question),) = panel.desktop.done
    assert name == "confirm"
    assert f"a training case already: {first['id']}. Replace it?" in question
    assert len(cells(panel.ui.casesTable)) == panel.finetuneTab.cases.count == (1 if replace else 2)
    assert Path(panel.logic.cases.path(first["image"])).exists() != replace
    assert panel.finetuneTab.cases.subjects == 1
    assert ("count as one person" in panel.ui.segmentStatusLabel.text) != replace


def test_removing_asks_first_with_the_number_and_that_files_are_deleted(panel, labelled):
    panel.ui.addCaseButton.click()
    before = cells(panel.ui.casesTable)
    (entry,) = panel.logic.cases.entries()
    panel.ui.casesTable.selectRow(0)
    FakeDesktop.answers["confirm"] = False
    panel.ui.removeCaseButton.click()
    name, question = panel.desktop.done[-1]
    assert name == "confirm"
    assert "Cases to remove: 1." in question
    assert "deleted" in question
    assert "paused" not in question
    assert cells(panel.ui.casesTable) == before
    assert Path(panel.logic.cases.path(entry["image"])).exists()


def test_a_table_that_cannot_be_read_is_told_in_its_place_and_not_replaced(panel, labelled):
    panel.ui.addCaseButton.click()
    table = Path(panel.logic.cases.path("cases.json"))
    table.write_text("[{")
    panel.finetuneTab.cases.show()
    assert cells(panel.ui.casesTable) == []
    assert "cases.json" in panel.ui.casesSummaryLabel.text
    assert not panel.ui.finetuneButton.enabled
    assert not panel.ui.checkButton.enabled
    panel.ui.addCaseButton.click()
    assert "cases.json" in panel.ui.finetuneStatusLabel.text
    assert table.read_text() == "[{"


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
    assert not panel.ui.addFolderButton.enabled
    assert wait(lambda: len(cells(panel.ui.casesTable)) == 2)
    assert panel.ui.addFolderButton.enabled
    FakeDesktop.answers["chooseFolder"] = str(tmp_path / "models ä")
    panel.ui.addFolderButton.click()
    assert wait(lambda: "no scans with labels" in panel.ui.finetuneStatusLabel.text)
    FakeDesktop.answers["chooseFolder"] = str(tmp_path / "gone")
    panel.ui.addFolderButton.click()
    assert wait(lambda: "gone does not exist" in panel.ui.finetuneStatusLabel.text)
    assert panel.ui.addFolderButton.enabled


def test_a_corrected_result_becomes_a_training_case_with_one_click(panel, scan):
    run_to_end(panel, panel.ui.segmentButton)
    panel.ui.addResultButton.click()
    ((_case, structures),) = cells(panel.ui.casesTable)
    assert structures == "Grey, Bright"
    assert "Added to the training cases" in panel.ui.segmentStatusLabel.text


def test_what_a_training_case_loses_of_an_overlap_is_told_where_the_button_is(panel, labelled, scene):
    shape = (14, 16, 18)
    masks = {"Cyst": box(shape, (2, 8), (3, 9), (4, 10)), "Rim": box(shape, (7, 9), (3, 9), (4, 10))}
    node = add_segmentation(scene, labelled[0], masks, "Both")
    panel.ui.caseSegmentationSelector.setCurrentNode(node)
    panel.ui.addCaseButton.click()
    assert "Please note: Segments overlap in 36 voxels of Case" in panel.ui.finetuneStatusLabel.text
    panel.ui.segmentationSelector.setCurrentNode(node)
    panel.ui.addResultButton.click()
    assert "Please note: Segments overlap in 36 voxels of Case" in panel.ui.segmentStatusLabel.text


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
    assert names_of(panel.ui.problemsList) == ["Error: Case_1: The segmentation is empty."]
    assert shown(panel, panel.ui.problemsList)
    assert "Draw it." in panel.ui.findingLabel.text
    assert not shown(panel, panel.ui.findingPictureLabel)
    assert not shown(panel, panel.ui.checkReportButton)
    panel.finetuneTab.showResult({"command": "check", "problems": []})
    assert not shown(panel, panel.ui.problemsList)
    assert panel.ui.finetuneStatusLabel.text == "No problem found."


def test_a_finding_is_shown_with_its_numbers_its_picture_and_the_report(panel, labelled):
    panel.ui.addCaseButton.click()
    name, result = run_to_end(panel, panel.ui.checkButton)
    assert name == "finished", result
    assert names_of(panel.ui.problemsList) == ["Warning: A label is odd."]
    assert "Look at it." in panel.ui.findingLabel.text
    assert "volume ml: 1.25" in panel.ui.findingLabel.text
    assert shown(panel, panel.ui.findingPictureLabel)
    assert not panel.ui.findingPictureLabel.pixmap.isNull()
    assert "please read the notes" in panel.ui.finetuneStatusLabel.text
    panel.ui.checkReportButton.click()
    assert panel.desktop.done[-1] == ("openFile", result["report"])
    panel.ui.addCaseButton.click()
    assert not shown(panel, panel.ui.problemsList)
    assert not shown(panel, panel.ui.findingPictureLabel)


def test_a_segmentation_alone_is_a_case_and_its_drawn_images_are_shown(panel, labelled):
    panel.ui.caseVolumeSelector.setCurrentNode(None)
    assert panel.ui.addCaseButton.enabled
    panel.ui.addCaseButton.click()
    ((case, structures),) = cells(panel.ui.casesTable)
    assert case.startswith(labelled[1].GetName())
    assert structures == "Cyst"
    assert "Without a volume: 1." in panel.ui.casesSummaryLabel.text
    assert panel.ui.finetuneButton.enabled
    assert not shown(panel, panel.ui.drawnImagesLabel)
    panel.ui.newModelNameEdit.text = "Drawn"
    name, result = run_to_end(panel, panel.ui.planButton)
    assert name == "finished", result
    assert shown(panel, panel.ui.drawnImagesLabel)
    panel.ui.finetuneMinutesSpinBox.value = 7
    assert not shown(panel, panel.ui.drawnImagesLabel)
    panel.ui.finetuneButton.click()
    assert wait(lambda: shown(panel, panel.ui.drawnImagesLabel) or not panel.logic.running)
    assert panel.logic.running == "finetune"
    assert not panel.ui.drawnImagesLabel.pixmap.isNull()


def test_no_images_are_drawn_of_cases_with_volumes(panel, labelled):
    panel.ui.addCaseButton.click()
    assert "volume" not in panel.ui.casesSummaryLabel.text
    panel.ui.newModelNameEdit.text = "Real"
    name, result = run_to_end(panel, panel.ui.planButton)
    assert name == "finished", result
    assert result["drawnImages"] == ""
    assert not shown(panel, panel.ui.drawnImagesLabel)


@pytest.mark.parametrize("name", ["check", "plan"])
def test_check_and_plan_become_cancel_and_segment_says_what_it_waits_for(panel, labelled, name):
    panel.ui.addCaseButton.click()
    panel.ui.inputVolumeSelector.setCurrentNode(labelled[0])
    button = getattr(panel.ui, f"{name}Button")
    text = button.text
    button.click()
    assert (button.text, button.enabled) == ("Cancel", True)
    assert not panel.ui.segmentButton.enabled
    assert "waits until" in panel.ui.segmentHintLabel.text
    show(panel, "segment")
    assert shown(panel, panel.ui.segmentHintLabel)
    assert wait(lambda: panel.logic.processId)
    process = panel.logic.processId
    assert run_to_end(panel, button)[0] == "stopped"
    assert not is_alive(process)
    assert (button.text, button.enabled) == (text, True)
    assert "Canceled" in panel.ui.finetuneStatusLabel.text
    assert panel.ui.segmentButton.enabled
    assert panel.ui.segmentHintLabel.text == ""


def test_a_segmentation_of_another_scan_is_asked_about_before_it_is_added(panel, labelled, scene):
    other = add_volume(scene, "Other")
    panel.ui.caseVolumeSelector.setCurrentNode(other)
    panel.ui.addCaseButton.click()
    kind, question = panel.desktop.done[-1]
    assert kind == "confirm"
    assert "was made on Case, not on Other" in question
    assert panel.finetuneTab.cases.count == 0
    assert panel.ui.finetuneStatusLabel.text == "Nothing was added."
    FakeDesktop.answers["confirm"] = True
    panel.ui.addCaseButton.click()
    assert panel.finetuneTab.cases.count == 1


@pytest.mark.parametrize("names", [("inputVolume", "caseVolume"), ("segmentation", "caseSegmentation")])
def test_deleting_what_is_chosen_leaves_nothing_chosen_rather_than_its_neighbour(panel, labelled, scene, names):
    for number in range(2):
        scan = add_volume(scene, f"Scan {number}")
        add_segmentation(scene, scan, {"Cyst": box((14, 16, 18), (2, 8), (3, 9), (4, 10))}, f"Result {number}")
    chosen = labelled["segmentation" in names]
    selectors = [getattr(panel.ui, f"{name}Selector") for name in names]
    for selector in selectors:
        selector.setCurrentNode(chosen)
    scene.RemoveNode(chosen)
    assert [selector.currentNode() for selector in selectors] == [None, None]
    assert [getattr(panel.parameters, name) for name in names] == [None, None]
