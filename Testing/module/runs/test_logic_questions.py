"""Questions about models and the computer, and the life of a Logic."""

import gc
import os
import shutil
import weakref
from pathlib import Path

import pytest
from logic_tools import add_volume, segment, smooth_values, wait_until

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
from MIMSegmentLib.Logic import Logic
from MIMSegmentLib.Process.Backend import Backend
from MIMSegmentLib.Process.BackendRun import BackendRun


def ask(question, *arguments, **options):
    answers = []
    question(*arguments, answers.append, **options)
    assert wait_until(lambda: answers, 60)
    assert len(answers) == 1
    return answers[0]


def test_models_are_listed_shown_exported_removed_and_imported(logic, folder):
    logic, record = logic
    listed = ask(logic.listModels)
    assert listed.ok
    assert "tiny" in [model["name"] for model in listed.result["models"]]
    assert ask(logic.showModel, "tiny").result["description"]["modality"] == "MR"
    target = folder / "ä b.zip"
    exported = ask(logic.exportModel, "tiny", str(target))
    assert Path(exported.result["file"]) == target
    assert record["modelsChanged"] == []
    assert ask(logic.removeModel, "tiny").ok
    assert not (folder / "models" / "tiny").exists()
    assert ask(logic.importModel, str(target)).result["name"] == "tiny"
    assert len(record["modelsChanged"]) == 2
    again = ask(logic.importModel, str(target))
    assert not again.ok
    assert again.message
    assert again.hint
    assert ask(logic.importModel, str(target), replace=True).ok
    assert os.listdir(folder / "temporary") == []


def test_a_question_is_answered_while_a_run_goes_on(logic, scene):
    logic, record = logic
    segment(logic, add_volume(scene, values=smooth_values((100, 100, 100))), "tiny")
    assert ask(logic.listModels).ok
    assert logic.running == "segment"
    logic.cancel()
    record.wait()


def test_a_question_without_answer_is_told(logic):
    logic, _record = logic
    answer = ask(logic.showModel, "gone")
    assert not answer.ok
    assert "gone" in answer.message


def test_the_computer_is_examined(logic):
    logic, _record = logic
    answer = ask(lambda callback: logic.checkComputer(callback, quick=True))
    assert answer.ok
    assert "openvino on cpu" in answer.result["can"]["segment"]


def test_another_python_is_used_from_then_on(logic, folder):
    logic, record = logic
    logic.useInterpreter(str(folder / "python"))
    answer = ask(logic.listModels)
    assert not answer.ok
    assert "python" in answer.message
    logic.useInterpreter("")
    assert len(record["modelsChanged"]) == 2
    assert ask(logic.listModels).ok


# -- what a Slicer that was killed left behind


def test_scans_that_a_killed_slicer_left_behind_are_removed(make_logic, folder):
    # No process has this number: they are smaller.
    left, mine, other = (folder / "temporary" / name for name in (f"MIMSegment-{2**30}-a", "x", "MIMSegment-y"))
    for path in (left, mine, other):
        path.mkdir()
        (path / "scan.nrrd").write_text("")
    living = folder / "temporary" / f"MIMSegment-{os.getpid()}-b"
    living.mkdir()
    make_logic()
    found = sorted(os.listdir(folder / "temporary"))
    for path in (mine, other, living):
        shutil.rmtree(path)
    assert found == sorted([mine.name, other.name, living.name] + ([left.name] if os.name == "nt" else []))
    shutil.rmtree(left, ignore_errors=True)


def test_scans_that_another_computer_works_on_in_the_same_folder_stay(make_logic, folder, monkeypatch):
    made = []
    for computer in ("theirs", "ours"):
        with monkeypatch.context() as there:
            there.setattr("platform.node", lambda computer=computer: computer)
            there.setattr("os.getpid", lambda: 2**30)
            made.append(Path(BackendRun(Backend(), []).folder))
    monkeypatch.setattr("platform.node", lambda: "ours")
    make_logic()
    found = [path.is_dir() for path in made]
    for path in made:
        shutil.rmtree(path, ignore_errors=True)
    assert found == [True, os.name == "nt"]


def test_a_logic_that_is_forgotten_is_released_and_the_scene_can_be_closed(scene, folder):
    reference = weakref.ref(Logic(scene, dataFolder=str(folder / "data")))
    gc.collect()
    assert reference() is None
    scene.Clear(0)
