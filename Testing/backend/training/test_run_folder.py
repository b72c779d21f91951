"""A training begins only where nothing lies that it could mix up, and removes nothing that it did not write."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402

from mimseg.commands.crossvalidate.run import crossvalidate, labelled_cases  # noqa: E402
from mimseg.commands.crossvalidate.settings import CrossvalidationSettings  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402
from mimseg.training.folds import assign_folds  # noqa: E402
from mimseg.training.run_folder import can_resume, check_run_folder, clear_run  # noqa: E402

SHAPE = UnetrSettings((16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)
OURS = json.dumps({"network": {}, "budget": {"steps": 2}, "seed": 0})


def folder_with(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def settings(tmp_path: Path) -> CrossvalidationSettings:
    data = write_dataset(tmp_path / "data", 2)
    return CrossvalidationSettings(
        FinetuneSettings(data, tmp_path / "m", Budget(2), None, SHAPE, window=(16, 16, 16), device="cpu"), 2
    )


@pytest.fixture(autouse=True)
def no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused here is refused before any data are read."""
    monkeypatch.setattr("mimseg.commands.crossvalidate.run.load_whole_data", lambda *_: pytest.fail("it began"))


@pytest.mark.parametrize(
    "files",
    [
        {"notes_txt": "mine"},
        {"settings_json": "mine, not of mimseg"},
        {"settings_json": OURS, "notes_txt": "mine"},
        {"settings_json": OURS, "checkpoint_pt": "weights of another run"},
    ],
)
def test_folds_begin_only_where_nothing_of_others_lies_and_leave_it_as_it_is(
    settings: CrossvalidationSettings, tmp_path: Path, files: dict[str, str]
) -> None:
    work = folder_with(tmp_path / "m.training", **files)
    before = contents(work)
    with pytest.raises(UserError, match=r"m\.training") as caught:
        crossvalidate(settings, Reporter())
    assert caught.value.code == "output-exists"
    assert contents(work) == before
    assert not (tmp_path / "m.folds").exists()


def test_resumed_folds_refuse_a_training_that_cannot_be_theirs_before_they_go_on(
    settings: CrossvalidationSettings, tmp_path: Path
) -> None:
    cases = labelled_cases(settings.finetune)
    layout = {"folds": assign_folds([case.identifier for case in cases], 2, 0), "compare": False}
    folder_with(tmp_path / "m.folds", folds_json=json.dumps({**layout, "own_pretraining": False}))
    work = folder_with(tmp_path / "m.training", settings_json=OURS, checkpoint_pt="weights of another run")
    before = contents(work)
    resumed = replace(settings, finetune=replace(settings.finetune, resume=True))
    with pytest.raises(UserError, match="another training"):
        crossvalidate(resumed, Reporter())
    assert contents(work) == before


def test_asking_whether_a_run_can_go_on_changes_nothing(tmp_path: Path) -> None:
    work = folder_with(tmp_path / "run", settings_json=OURS, notes_txt="mine")
    before = contents(work)
    assert not can_resume(work)
    assert contents(work) == before
    (work / "checkpoint.pt").write_text("weights", encoding="utf-8")
    assert can_resume(work)


def test_a_run_that_broke_off_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    check_run_folder(tmp_path / "absent", resume=False)
    check_run_folder(folder_with(tmp_path / "empty"), resume=False)
    check_run_folder(folder_with(tmp_path / "begun", settings_json=OURS, cost_json="{}"), resume=False)
    with pytest.raises(UserError, match="no training to resume"):
        check_run_folder(tmp_path / "begun", resume=True)
    with pytest.raises(UserError, match="is a file"):
        check_run_folder(tmp_path / "begun" / "cost.json", resume=False)


def test_a_damaged_run_is_cleared_of_its_own_files_and_only_if_there_are_no_others(tmp_path: Path) -> None:
    own = {"settings_json": OURS, "log_csv": "step", "scores_json": "{"}
    work = folder_with(tmp_path / "run", **own)
    clear_run(work)
    assert contents(work) == {}
    other = folder_with(tmp_path / "other", **own, notes_txt="mine")
    before = contents(other)
    with pytest.raises(UserError, match=r"notes\.txt"):
        clear_run(other)
    assert contents(other) == before
