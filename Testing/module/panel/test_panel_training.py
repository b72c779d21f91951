"""Fine-tuning and pre-training by clicks, with the real backend, until the new model segments a volume."""

from dataclasses import replace

import numpy as np
import pytest
from logic_tools import Recorder, add_segmentation, add_volume, is_alive
from panel_tools import cells, open_panel, run_to_end, show, shown, wait

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
pytest.importorskip("torch")
pytest.importorskip("monai")
from training_tools import FINETUNE, PRETRAIN, add_scans

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.fixture
def panel(monkeypatch, tmp_path, slicer, scene, open_module):
    """The panel; trainings use a network so small that a CPU is quick with it, and a quarter of the minutes."""
    panel = open_panel(monkeypatch, tmp_path, open_module).panel
    logic = panel.logic
    finetune, pretrain = logic.startFinetuning, logic.startPretraining

    def quicker(options, more):
        return replace(options, minutes=options.minutes / 4, more=more)

    monkeypatch.setattr(logic, "startFinetuning", lambda options: finetune(quicker(options, FINETUNE)))
    monkeypatch.setattr(logic, "startPretraining", lambda options: pretrain(quicker(options, PRETRAIN)))
    return panel


def add_cases(panel, scene, count):
    """Add volumes with their segmentations to the table, one click each; returns what was not added."""
    scans = add_scans(scene, count + 1)
    show(panel, "finetune")
    for volume, mask in scans[:count]:
        panel.ui.caseSegmentationSelector.setCurrentNode(add_segmentation(scene, volume, {"Cube": mask}))
        panel.ui.addCaseButton.click()
    assert len(cells(panel.ui.casesTable)) == count
    return scans[count]


def test_three_cases_from_the_scene_become_a_model_that_segment_then_uses(panel, scene):
    volume, mask = add_cases(panel, scene, 3)
    name, result = run_to_end(panel, panel.ui.checkButton)
    assert name == "finished"
    assert not [problem for problem in result["problems"] if problem["severity"] == "error"]
    panel.ui.startFromSelector.setCurrentIndex(panel.ui.startFromSelector.count - 1)
    assert panel.finetuneTab.initial() == "none"
    panel.ui.newModelNameEdit.text = "My cube"
    panel.ui.finetuneMinutesSpinBox.value = 1

    recorder = Recorder(panel.logic)
    panel.ui.finetuneButton.click()
    assert panel.ui.finetuneButton.text == "Stop and keep the best"
    assert panel.ui.resumeFinetuneButton.text == "Pause"
    assert panel.ui.segmentButton.enabled  # segmenting works beside a training
    assert panel.desktop.done[-1] == ("showChart", panel.finetuneTab.curves.chart)
    assert wait(lambda: panel.finetuneTab.curves.points("loss") or not panel.logic.running)
    assert panel.logic.running == "finetune"
    assert "Loss" in panel.ui.finetuneStatusLabel.text
    name, result = recorder.wait(180)
    assert name == "finished", result
    # With so few cases none is held out, and the panel says so.
    assert result["validation_dice"] is None
    assert "no case was held out" in panel.ui.finetuneStatusLabel.text
    assert wait(lambda: panel.segmentTab.modelName == result["model"])
    assert "is now chosen on the Segment tab" in panel.ui.finetuneStatusLabel.text
    assert wait(lambda: "Cube" in panel.ui.modelCardLabel.text)
    show(panel, "segment")
    panel.ui.inputVolumeSelector.setCurrentNode(volume)
    name, result = run_to_end(panel, panel.ui.segmentButton)
    assert name == "finished", result
    node = result["segmentations"][0]
    (segment,) = panel.logic.scene.segments(node)
    assert segment["name"] == "Cube"
    found = panel.logic.scene.labelArray(node, {segment["id"]: 1}, volume)[0] != 0
    assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > 0.4


def test_a_training_can_be_paused_survives_the_scene_and_is_resumed(panel, scene):
    add_cases(panel, scene, 3)
    panel.ui.startFromSelector.setCurrentIndex(panel.ui.startFromSelector.count - 1)
    assert not panel.ui.resumeFinetuneButton.enabled
    panel.ui.finetuneButton.click()
    assert wait(lambda: panel.finetuneTab.curves.points("loss") or not panel.logic.running)
    scene.Clear(0)
    assert panel.logic.running == "finetune"
    process = panel.logic.processId
    name, _command = run_to_end(panel, panel.ui.resumeFinetuneButton, 60)
    assert name == "stopped"
    assert not is_alive(process)
    assert panel.ui.resumeFinetuneButton.text == "Resume"
    assert panel.ui.resumeFinetuneButton.enabled
    assert panel.ui.keepBestButton.enabled
    chart, before = panel.finetuneTab.curves.chart, panel.finetuneTab.curves.points("loss")
    panel.ui.resumeFinetuneButton.click()
    assert panel.finetuneTab.curves.chart is chart
    # What was measured before the pause is there before anything new is.
    assert panel.finetuneTab.curves.points("loss")[:1] == before[:1]
    assert wait(lambda: panel.finetuneTab.curves.points("loss") or not panel.logic.running)
    assert panel.ui.finetuneButton.text == "Stop and keep the best"
    name, result = run_to_end(panel, panel.ui.finetuneButton, 180)
    assert name == "finished", result
    assert wait(lambda: panel.segmentTab.modelName == result["model"])
    assert not panel.ui.resumeFinetuneButton.enabled


def test_a_folder_is_pre_trained_on_with_its_picture_and_offered_as_a_start(panel, scene, tmp_path):
    folder = tmp_path / "Aufnahmen ü"
    for number, (volume, _mask) in enumerate(add_scans(scene, 3)):
        panel.logic.scene.exportVolume(volume, str(folder / f"{number}.nrrd"))
    show(panel, "pretrain")
    assert not panel.ui.pretrainButton.enabled
    panel.ui.pretrainFolderEdit.currentPath = str(folder)
    panel.ui.pretrainNameEdit.text = "Heads"
    panel.ui.pretrainMinutesSpinBox.value = 1
    recorder = Recorder(panel.logic)
    panel.ui.pretrainButton.click()
    assert panel.ui.pretrainButton.text == "Stop"
    assert wait(lambda: panel.pretrainTab.curves.points("loss") or not panel.logic.running)
    assert panel.logic.running == "pretrain"
    name, *_outcome = recorder.wait(180)
    assert name == "finished"
    assert not panel.ui.reconstructionLabel.pixmap.isNull()
    texts = [panel.ui.startFromSelector.itemText(number) for number in range(panel.ui.startFromSelector.count)]
    assert any(text.startswith("Pre-training: ") for text in texts), texts
    assert "Start from" in panel.ui.pretrainStatusLabel.text
    assert shown(panel, panel.ui.pretrainStatusLabel)


def test_check_data_names_the_case_and_the_fault(panel, scene):
    add_cases(panel, scene, 2)
    other = add_volume(scene, "Misspelled", np.zeros((24, 24, 24), np.float32))
    mask = np.zeros((24, 24, 24), bool)
    mask[5:9, 5:9, 5:9] = True
    panel.ui.caseSegmentationSelector.setCurrentNode(add_segmentation(scene, other, {"Cubee": mask}))
    panel.ui.addCaseButton.click()
    name, result = run_to_end(panel, panel.ui.checkButton)
    assert name == "finished"
    listed = [panel.ui.problemsList.item(row).text() for row in range(panel.ui.problemsList.count)]
    assert any("Misspelled" in text and "Cubee" in text for text in listed), listed
    assert shown(panel, panel.ui.problemsList)
    (row,) = [row for row, text in enumerate(listed) if "Misspelled" in text and "Cubee" in text][:1]
    panel.ui.problemsList.setCurrentRow(row)
    assert "What to do" in panel.ui.findingLabel.text
    pictures = [key for key in panel.finetuneTab.findings._pictures if key[0].startswith("Misspelled")]
    assert pictures, "the report of the backend shows the case"
    panel.ui.checkReportButton.click()
    assert panel.desktop.done[-1] == ("openFile", result["report"])
