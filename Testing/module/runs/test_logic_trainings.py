"""Fine-tunings and pre-trainings, with a stand-in for the backend."""

from pathlib import Path

import pytest
from logic_tools import add_cases, finetune, pretrain, wait, wait_until

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
from fake_backend import arguments_of, fake_backend
from MIMSegmentLib.Process.Command import FinetuneOptions


@pytest.fixture
def trainer(make_logic, scene, folder):
    """`(logic, record, set mode)`; in the mode RUN a training ends by itself, otherwise it waits for a stop."""
    backend, set_mode = fake_backend(folder / "module")
    logic, record = make_logic(backend)
    add_cases(logic, scene)
    return logic, record, set_mode


def test_a_training_learns_from_the_cases_and_its_model_is_announced(trainer, folder):
    logic, record, set_mode = trainer
    set_mode("RUN")
    finetune(logic, "Mein Kern", 5, "tiny", "cpu")
    assert logic.running == "finetune"
    name, result = record.wait()
    assert name == "finished", result
    assert (result["command"], result["model"], result["validation_dice"]) == ("finetune", "mein-kern", 0.75)
    assert Path(result["path"]) == folder / "models" / "mein-kern"
    assert len(record["modelsChanged"]) == 1
    (arguments,) = arguments_of(record)
    assert arguments[arguments.index("--init") + 1] == "tiny"
    assert "--title=Mein Kern" in arguments
    assert logic.unfinishedTrainings() == []


def test_metrics_arrive_with_their_steps(trainer):
    logic, record, _set_mode = trainer
    finetune(logic, "Kern", 5)
    assert wait_until(lambda: any(name == "validation_dice" for name, *_ in record["metric"]), 20)
    losses = [(value, fields["step"]) for name, value, fields in record["metric"] if name == "loss"]
    assert losses == [(1.0, 0), (0.5, 1), (pytest.approx(1 / 3), 2)]
    logic.cancel()
    record.wait()


def wait_for_checkpoint(record):
    assert wait_until(lambda: any(name == "validation_dice" for name, *_ in record["metric"]), 20)


def test_stop_and_keep_the_best_makes_a_model(trainer):
    logic, record, _set_mode = trainer
    finetune(logic, "Kern", 5)
    wait_for_checkpoint(record)
    logic.stopFinetuning()
    name, result = record.wait()
    assert name == "finished", result
    assert result["model"] == "kern"
    assert "--finish" in arguments_of(record)[-1]
    assert record["started"] == [["finetune"]]
    assert logic.unfinishedTrainings() == []


def test_a_stopped_training_is_resumed_with_the_same_request(trainer):
    logic, record, set_mode = trainer
    finetune(logic, "Kern", 5, "none", "cpu")
    wait_for_checkpoint(record)
    logic.stopFinetuning(keepBest=False)
    assert record.wait() == ("stopped", "finetune")
    assert logic.unfinishedTrainings() == ["kern"]
    (first,) = arguments_of(record)
    record.clear()
    set_mode("RUN")
    logic.resumeFinetuning("kern")
    name, result = record.wait()
    assert name == "finished", result
    (second,) = arguments_of(record)
    assert [argument for argument in second if argument != "--resume"] == first
    assert "--resume" in second


def test_a_stopped_training_can_be_finished_later(trainer):
    logic, record, _set_mode = trainer
    finetune(logic, "Kern", 5)
    wait_for_checkpoint(record)
    logic.cancel()
    record.wait()
    record.clear()
    logic.finishFinetuning("kern")
    assert record.wait()[0] == "finished"


def test_cases_that_change_do_not_change_a_training_that_is_resumed(trainer, scene):
    logic, record, set_mode = trainer
    finetune(logic, "Kern", 5)
    wait_for_checkpoint(record)
    logic.cancel()
    record.wait()
    (arguments,) = arguments_of(record)
    before = Path(arguments[1]).read_text(encoding="utf-8")
    add_cases(logic, scene, 1)
    record.clear()
    set_mode("RUN")
    logic.resumeFinetuning("kern")
    record.wait()
    assert Path(arguments_of(record)[0][1]) == Path(arguments[1])
    assert "Fall_0" in before


def test_a_training_goes_on_when_the_scene_is_closed(trainer, scene):
    logic, record, _set_mode = trainer
    finetune(logic, "Kern", 5)
    wait_for_checkpoint(record)
    scene.Clear(0)
    wait(0.2)
    assert logic.running == "finetune"
    assert len(logic.cases.entries()) == 3
    logic.stopFinetuning()
    assert record.wait()[0] == "finished"


@pytest.mark.parametrize("title", ["", "   ", "///"])
def test_a_training_without_a_usable_name_is_refused(trainer, title):
    logic, record, _set_mode = trainer
    finetune(logic, title, 5)
    assert record.wait()[0] == "failed"


def test_a_name_that_is_taken_is_refused(trainer):
    logic, record, _set_mode = trainer
    finetune(logic, "Tiny", 5)
    name, message, hint = record.wait()
    assert name == "failed"
    assert "tiny" in message
    assert hint


def test_training_without_cases_is_refused(logic):
    logic, record = logic
    finetune(logic, "Kern", 5)
    assert record.wait()[0] == "failed"


def test_models_that_cannot_be_written_are_told(trainer, folder, monkeypatch):
    logic, record, _set_mode = trainer
    (folder / "file").write_text("")
    monkeypatch.setenv("MIMSEG_MODELS", str(folder / "file" / "models"))
    finetune(logic, "Kern", 5)
    name, message, hint = record.wait()
    assert name == "failed"
    assert "cannot be written" in message
    assert hint


def test_an_unknown_training_cannot_be_resumed(logic):
    logic, record = logic
    logic.resumeFinetuning("gone")
    assert record.wait()[0] == "failed"


def test_a_pre_training_stops_resumes_and_is_offered_as_a_start(trainer, folder):
    logic, record, set_mode = trainer
    data = folder / "scans ä"
    data.mkdir()
    pretrain(logic, [str(data)], "Vor 1", 5, "cpu")
    assert logic.running == "pretrain"
    wait_for_checkpoint(record)
    logic.stopPretraining()
    assert record.wait() == ("stopped", "pretrain")
    assert logic.unfinishedPretrainings() == ["vor-1"]
    assert logic.pretrainings() == []
    record.clear()
    set_mode("RUN")
    logic.resumePretraining("vor-1")
    name, result = record.wait()
    assert name == "finished", result
    assert result["command"] == "pretrain"
    assert logic.pretrainings() == [{"name": "vor-1", "path": result["run"]}]
    assert logic.unfinishedPretrainings() == []
    assert Path(logic.reconstructionPicture()).is_file()


@pytest.mark.parametrize("folders", [[], [""], ["/no/such/folder"]])
def test_a_pre_training_without_a_folder_is_refused(logic, folders):
    logic, record = logic
    pretrain(logic, folders, "x", 5)
    assert record.wait()[0] == "failed"


def test_a_training_that_was_stopped_before_it_learned_anything_does_not_block_its_name(trainer, folder):
    logic, record, set_mode = trainer
    (folder / "models" / "kern.training").mkdir()
    (folder / "models" / "kern.training" / "settings.json").write_text("{}")
    set_mode("RUN")
    finetune(logic, "Kern", 5)
    assert record.wait()[0] == "finished"


FOLDS = {"folds": "auto", "compare": True}


def test_a_training_with_folds_is_resumed_with_the_same_request_and_brings_its_scores(trainer, folder):
    logic, record, set_mode = trainer
    finetune(logic, "Kern", 60, "tiny", "cpu", **FOLDS)
    assert wait_until(lambda: any(name == "loss" for name, *_ in record["metric"]), 20)
    assert not logic.foldsDone
    # What was not scored yet cannot be kept: the wish is a pause.
    logic.stopFinetuning(keepBest=True)
    assert record.wait() == ("stopped", "finetune")
    assert logic.unfinishedTrainings() == ["kern"]
    assert logic.finishableTrainings() == []
    (first,) = arguments_of(record)
    assert first[first.index("--folds") + 1] == "auto"
    assert "--compare" in first
    record.clear()
    finetune(logic, "Kern", 60, "tiny", "cpu", **FOLDS)
    assert record.wait()[0] == "failed"  # the name is taken by the unfinished one
    record.clear()
    set_mode("RUN")
    logic.resumeFinetuning("kern", 5)  # all folds get what the first one got
    name, result = record.wait()
    assert name == "finished", result
    assert [argument for argument in arguments_of(record)[0] if argument != "--resume"] == first
    assert result["scores"]["summary"]["median_dice"] == 0.85
    assert len(result["cases"]) == 3
    assert Path(result["report"]) == folder / "models" / "kern.folds" / "report.html"
    assert logic.reportOf(result["path"]) == result["report"]
    assert logic.unfinishedTrainings() == []


def test_own_scans_are_learned_from_first_and_must_be_there(trainer, folder):
    logic, record, set_mode = trainer
    set_mode("RUN")
    few = {"folds": "auto", "pretrainOn": (str(folder / "gone"),), "pretrainMinutes": 15.0}
    finetune(logic, "Kern", 60, **few)
    name, message, _hint = record.wait()
    assert name == "failed"
    assert "gone" in message
    record.clear()
    (folder / "gone").mkdir()
    finetune(logic, "Kern", 60, **few)
    assert record.wait()[0] == "finished"
    (arguments,) = arguments_of(record)
    assert arguments[arguments.index("--pretrain-minutes") + 1] == "15"
    assert arguments[arguments.index("--pretrain-on") + 1] == str(folder / "gone")


def test_the_best_model_so_far_is_told_and_gone_when_the_training_is_done(trainer, folder):
    logic, record, _set_mode = trainer
    assert logic.bestModels() == []
    finetune(logic, "Kern", 5)
    assert wait_until(lambda: record["modelReady"], 20)
    path = str(folder / "models" / "kern.training" / "best-model")
    assert logic.bestModels() == [{"name": path, "title": "Kern"}]
    wait_for_checkpoint(record)
    logic.stopFinetuning()
    assert record.wait()[0] == "finished"
    assert logic.bestModels() == []


def test_a_plan_leaves_nothing_behind(trainer, folder):
    logic, record, _set_mode = trainer
    logic.planFinetuning(FinetuneOptions("Kern", 5.0, **FOLDS))
    name, result = record.wait()
    assert name == "finished", result
    assert result["plan"]["runs"] == 11
    assert "--plan-only" in arguments_of(record)[0]
    assert logic.unfinishedTrainings() == []
    assert sorted(path.name for path in (folder / "models").iterdir()) == ["tiny"]


def test_a_check_runs_beside_a_training(trainer):
    logic, record, _set_mode = trainer
    finetune(logic, "Kern", 5)
    wait_for_checkpoint(record)
    logic.checkCases()
    assert wait_until(lambda: record["finished"], 20)
    assert record["finished"][0][0]["command"] == "check"
    assert logic.running == "finetune"
    logic.cancel()
    assert wait_until(lambda: record["stopped"] == [["finetune"]], 20)
