"""What few cases need, by clicks: a plan, honest scores, a comparison, the best model meanwhile.

With a stand-in for the backend; Segment runs the real one.
"""

import os

import pytest
from fake_backend import arguments_of, fake_backend
from logic_tools import Recorder, add_cases, add_volume
from panel_tools import open_panel, run_to_end, show, shown, wait


@pytest.fixture
def quick(monkeypatch, tmp_path, slicer, scene, open_module):
    """`(panel, set mode)` with three cases in the table, on the Fine-tune tab."""
    backend, set_mode = fake_backend(tmp_path / "module")
    panel = open_panel(monkeypatch, tmp_path, open_module, backend).panel
    add_cases(panel.logic, scene)
    panel.finetuneTab.cases.show()
    panel.ui.newModelNameEdit.text = "Kern"
    show(panel, "finetune")
    return panel, set_mode


def choose_start(panel, text):
    selector = panel.ui.startFromSelector
    names = [selector.itemText(number) for number in range(selector.count)]
    selector.setCurrentIndex(next(number for number, name in enumerate(names) if text in name))


def test_the_number_of_trainings_and_their_minutes_are_said_before_the_start(quick, tmp_path):
    panel, _set_mode = quick
    panel.ui.finetuneMinutesSpinBox.value = 70
    choose_start(panel, "Model: Tiny")
    assert "One training of 1 h 10 min" in panel.ui.trainingsLabel.text
    assert not panel.ui.compareCheckBox.enabled
    assert not panel.ui.ownScansEdit.enabled
    panel.ui.foldsCheckBox.checked = True
    assert "4 trainings of about" in panel.ui.trainingsLabel.text
    panel.ui.compareCheckBox.checked = True
    assert "7 trainings of about 10 min each, 1 h 10 min together" in panel.ui.trainingsLabel.text
    panel.ui.ownScansEdit.currentPath = str(tmp_path)
    panel.ui.ownScansMinutesSpinBox.value = 30
    assert "10 trainings" in panel.ui.trainingsLabel.text
    assert "30 min of learning from your scans" in panel.ui.trainingsLabel.text
    panel.ui.ownScansEdit.currentPath = ""
    choose_start(panel, "Nothing")
    assert not panel.ui.compareCheckBox.enabled
    assert "4 trainings" in panel.ui.trainingsLabel.text


def test_a_plan_is_said_in_words_and_forgotten_when_something_else_is_chosen(quick):
    panel, _set_mode = quick
    name, result = run_to_end(panel, panel.ui.planButton)
    assert name == "finished", result
    text = panel.ui.planLabel.text
    for words in ("PROCESSOR (CPU)", "Example", "48", "1.5 GB", "11 trainings", "720 steps", "Two crops to a step."):
        assert words in text, words
    assert shown(panel, panel.ui.planLabel)
    assert not os.path.exists(os.path.join(panel.logic.modelsFolder(), "kern.training"))
    assert panel.logic.unfinishedTrainings() == []
    panel.ui.finetuneMinutesSpinBox.value = 7
    assert not shown(panel, panel.ui.planLabel)
    run_to_end(panel, panel.ui.planButton)
    assert shown(panel, panel.ui.planLabel)
    panel.ui.mirroredCheckBox.checked = True
    assert not shown(panel, panel.ui.planLabel)


def test_every_case_is_scored_with_a_pause_between_and_the_report_at_the_end(quick):
    panel, set_mode = quick
    panel.ui.foldsCheckBox.checked = True
    panel.ui.mirroredCheckBox.checked = True
    choose_start(panel, "Nothing")
    recorder = Recorder(panel.logic)
    panel.ui.finetuneButton.click()
    assert wait(lambda: "Loss" in panel.ui.finetuneStatusLabel.text, 20)
    assert "Training 1 of 3: Training" in panel.ui.finetuneStatusLabel.text
    assert "min left" in panel.ui.finetuneStatusLabel.text
    assert "3 trainings" in panel.ui.planLabel.text
    assert not panel.ui.finetuneButton.enabled
    assert shown(panel, panel.ui.keepBestHintLabel)
    panel.ui.resumeFinetuneButton.click()
    assert recorder.wait(20) == ("stopped", "finetune")
    assert {"--folds", "--flip-pairs"} <= set(arguments_of(recorder)[0])
    assert panel.ui.resumeFinetuneButton.enabled
    assert not panel.ui.keepBestButton.enabled
    assert shown(panel, panel.ui.keepBestHintLabel)
    panel.ui.casesTable.selectRow(0)
    panel.ui.removeCaseButton.click()
    question = panel.desktop.done[-1][1]
    assert "could not be resumed: kern." in question
    assert panel.finetuneTab.cases.count == 3
    set_mode("RUN")
    name, result = run_to_end(panel, panel.ui.resumeFinetuneButton)
    assert name == "finished", result
    text = panel.ui.finetuneStatusLabel.text
    worst = panel.logic.cases.entries()[1]["id"]
    for words in ("median 0.85", "0.70 to 0.90", f"worst 0.61 ({worst})", "no difference shown"):
        assert words in text, text
    assert not shown(panel, panel.ui.keepBestHintLabel)
    panel.ui.foldsReportButton.click()
    assert panel.desktop.done[-1] == ("openFile", result["report"])


def test_the_best_can_be_kept_once_all_cases_are_scored(quick):
    panel, set_mode = quick
    panel.ui.foldsCheckBox.checked = True
    set_mode("RUN LAST")
    recorder = Recorder(panel.logic)
    panel.ui.finetuneButton.click()
    assert wait(lambda: "Training 3 of 3 (the model itself" in panel.ui.finetuneStatusLabel.text, 20)
    assert wait(lambda: panel.ui.finetuneButton.enabled, 5)
    panel.ui.finetuneButton.click()
    name, result = recorder.wait(20)
    assert name == "finished", result
    assert "--finish" in arguments_of(recorder)[-1]


def test_the_best_model_so_far_segments_while_the_training_goes_on(quick, scene):
    panel, _set_mode = quick
    panel.ui.finetuneButton.click()
    assert wait(lambda: panel.ui.modelSelector.findText("Kern (training not finished)") >= 0, 20)
    panel.ui.modelSelector.setCurrentIndex(panel.ui.modelSelector.findText("Kern (training not finished)"))
    best = panel.segmentTab.modelName
    assert os.path.isabs(best)
    # A path of this computer is not saved with the scene.
    assert panel.parameters.modelName == "tiny"
    show(panel, "segment")
    panel.ui.inputVolumeSelector.setCurrentNode(add_volume(scene, "Scan"))
    assert wait(lambda: panel.ui.structuresList.count == 2)
    recorder = Recorder(panel.logic)
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Cancel"
    assert wait(lambda: recorder["finished"] or recorder["failed"])
    assert panel.logic.training.command == "finetune"
    assert recorder["finished"], recorder["failed"]
    (node,) = recorder["finished"][0][0]["segmentations"]
    assert node.GetName() == "Scan kern (unfinished)"
    panel.ui.finetuneButton.click()
    assert wait(lambda: len(recorder["finished"]) == 2, 20)
    assert wait(lambda: panel.ui.modelSelector.findText("Kern (training not finished)") < 0)


def test_the_method_of_a_pre_training_can_be_chosen(quick, tmp_path):
    panel, set_mode = quick
    set_mode("RUN")
    show(panel, "pretrain")
    panel.ui.pretrainFolderEdit.currentPath = str(tmp_path)
    # A method of the backend that the panel has never heard of is offered, in the backend's words.
    assert panel.ui.pretrainMethodSelector.itemText(3) == "Tomorrow's: learn otherwise"
    panel.ui.pretrainMethodSelector.setCurrentIndex(2)
    recorder = Recorder(panel.logic)
    panel.ui.pretrainButton.click()
    name, _result = recorder.wait(20)
    assert name == "finished"
    (arguments,) = arguments_of(recorder)
    assert arguments[arguments.index("--method") + 1] == "simclr"
    assert panel.parameters.pretrainMethod == "simclr"
