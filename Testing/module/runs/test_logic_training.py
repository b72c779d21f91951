"""Pre-training and fine-tuning from the scene with the real backend, until the new model segments a volume."""

import pytest
from logic_tools import (
    FOLDER,
    Recorder,
    add_segmentation,
    add_volume,
    finetune,
    pretrain,
    read_json,
    segment,
    wait_until,
)

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
pytest.importorskip("torch")
pytest.importorskip("monai")
import SimpleITK as sitk
from MIMSegmentLib.Logic import Logic
from tiny_model import write_tiny_bundle
from training_tools import FINETUNE, PRETRAIN, add_scans

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / FOLDER
    path.mkdir()
    monkeypatch.setenv("MIMSEG_MODELS", str(path / "models"))
    return path


@pytest.fixture
def logic(scene, folder):
    logic = Logic(scene, dataFolder=str(folder / "data"))
    yield logic, Recorder(logic)
    logic.shutdown()


def wait_for_loss(record):
    """Wait until a training has begun to learn."""

    def learns():
        return any(name == "loss" for name, *_ in record["metric"])

    assert wait_until(lambda: learns() or set(record.names) & {"failed", "finished", "stopped"}, 200)
    assert learns(), record.events[-5:]


def finished(record, timeout=300):
    name, *values = record.wait(timeout)
    assert name == "finished", (values, record["message"][-15:])
    record.clear()
    return values[0]


def test_three_cases_of_the_scene_become_a_model_that_segments(logic, scene):
    logic, record = logic
    scans = add_scans(scene, 4)
    for volume, mask in scans[:3]:
        logic.cases.addFromScene(logic.scene, volume, add_segmentation(scene, volume, {"Würfel": mask}))
    logic.checkCases()
    assert [p for p in finished(record)["problems"] if p["severity"] == "error"] == []
    finetune(logic, "Mein Würfel", 0.25, "none", "cpu", FINETUNE)
    wait_for_loss(record)
    result = finished(record)
    assert result["model"] == "mein-wurfel"
    answers = []
    logic.showModel(result["model"], answers.append)
    assert wait_until(lambda: answers, 60)
    description = answers[0].result["description"]
    assert description["title"] == "Mein Würfel"
    assert [label["name"] for label in description["labels"]] == ["Würfel"]
    record.clear()
    volume, mask = scans[3]
    segment(logic, volume, result["model"])
    node = finished(record)["segmentations"][0]
    (found,) = logic.scene.segments(node)
    assert found["name"] == "Würfel"
    array = logic.scene.labelArray(node, {found["id"]: 1}, volume)[0] != 0
    assert 2 * (array & mask).sum() / (array.sum() + mask.sum()) > 0.5


def test_a_training_is_stopped_resumed_stopped_and_its_best_is_kept(logic, scene, folder):
    logic, record = logic
    for volume, mask in add_scans(scene, 3):
        logic.cases.addFromScene(logic.scene, volume, add_segmentation(scene, volume, {"Kern": mask}))
    write_tiny_bundle(folder / "models" / "tiny")
    finetune(logic, "Kern", 30, "none", "cpu", FINETUNE)
    wait_for_loss(record)
    segment(logic, add_volume(scene, "Meanwhile"), "tiny")
    assert logic.work.processId != logic.training.processId != 0
    assert wait_until(lambda: record["finished"] or record["failed"], 120)
    assert record["finished"], record["failed"]
    assert logic.running == "finetune"
    record.clear()
    logic.stopFinetuning(keepBest=False)
    assert record.wait() == ("stopped", "finetune")
    record.clear()
    assert logic.unfinishedTrainings() == ["kern"]
    logic.resumeFinetuning("kern")
    wait_for_loss(record)
    logic.stopFinetuning()
    result = finished(record)
    assert result["model"] == "kern"
    assert result["steps"] > 1
    assert logic.unfinishedTrainings() == []


def test_a_pre_training_of_a_folder_is_a_start_for_fine_tuning(logic, scene, folder):
    logic, record = logic
    scans = add_scans(scene, 3)
    for number, (volume, _mask) in enumerate(scans):
        logic.scene.exportVolume(volume, str(folder / "scans ä" / f"{number}.nrrd"))
    pretrain(logic, str(folder / "scans ä"), "Vor", 0.1, "cpu", PRETRAIN)
    finished(record)
    (run,) = logic.pretrainings()
    assert sitk.ReadImage(logic.reconstructionPicture()).GetSize()[0] > 10
    for volume, mask in scans:
        logic.cases.addFromScene(logic.scene, volume, add_segmentation(scene, volume, {"Kern": mask}))
    finetune(logic, "Nach", 0.05, run["path"], "cpu", ("--batch", "2", "--precision", "32-true"))
    result = finished(record)
    transfer = read_json(f"{result['path']}/segmentation.json")["training"]["transfer"]
    assert transfer["loaded"]
