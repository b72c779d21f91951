"""Start weights that know the cases which score: refused with folds, told of without, stated if no label was seen."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from conftest import RecordingReporter  # noqa: E402
from synthetic import write_dataset  # noqa: E402

from mimseg.commands.crossvalidate import run as folds  # noqa: E402
from mimseg.commands.crossvalidate.run import crossvalidate  # noqa: E402
from mimseg.commands.crossvalidate.settings import CrossvalidationSettings  # noqa: E402
from mimseg.commands.finetune import run as plain  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402
from mimseg.training.start.known_cases import learned_from, supervised_by, trained_on, what_start_knows  # noqa: E402
from mimseg.training.start.pretrained_run import PretrainedRun, write_pretrained  # noqa: E402

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Curves, "_draw", lambda self: None)


def start_that_says(folder: Path, provenance: dict[str, Any]) -> str:
    """Random weights of this provenance."""
    folder.mkdir()
    encoder = {name: value for name, value in UNETR(SHAPE).state_dict().items() if name.startswith("vit.")}
    run = PretrainedRun(SHAPE, Preprocessing("RAS", (1.0, 1.0, 1.0)), "MR", {"method": "MAE", **provenance})
    write_pretrained(folder, run, encoder)
    return str(folder)


def settings_of(tmp_path: Path, cases: int, start: str) -> FinetuneSettings:
    data = tmp_path / "data"
    if not data.exists():
        write_dataset(data, cases)
    return FinetuneSettings(
        data, tmp_path / "model", Budget(1), start, SHAPE, batch=1, device="cpu", precision="32-true", measure=False,
        validations=1,
    )  # fmt: skip


def digest_of(data: Path, number: int) -> str:
    return hashlib.sha256((data / "imagesTr" / f"case_{number}.nii.gz").read_bytes()).hexdigest()


def test_labels_and_images_that_a_provenance_names_are_told_apart() -> None:
    before = {"finetuning": {"training_sha256": ["a"], "validation_sha256": ["b"], "validations": 20}}
    own = {"training_sha256": ["c"], "validation_sha256": ["d"], "validations": 0}
    model = {"model": "m", "training": {"finetuning": own, "pretraining": {"training": before}}}
    pretrained = {"data_sha256": ["e"], "validation_sha256": ["f"], "initial": model}
    assert trained_on(pretrained) == {"a", "c"}
    assert supervised_by(pretrained) == {"a", "b", "c"}, "with no validations nothing was chosen on d"
    assert learned_from(pretrained) == set("abcdef")
    cases: Any = [SimpleNamespace(identifier=name, sha256=name) for name in "aex"]
    said = what_start_knows(pretrained, [*cases, cases[0]])["start_knows"]
    assert "labels of 1 of the 3 scored cases" in said
    assert "images of 1 of the 3 scored cases" in said
    assert what_start_knows(pretrained, cases[2:]) == what_start_knows(None, cases) == {}


def test_folds_refuse_a_start_that_was_trained_on_their_cases(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 2)
    model = {"model": "mine", "training": {"finetuning": {"training_sha256": [digest_of(data, 1)]}}}
    chosen = settings_of(tmp_path, 2, start_that_says(tmp_path / "start", {"initial": model}))
    with pytest.raises(UserError, match="labels of 1 of these 2 cases") as refusal:
        crossvalidate(CrossvalidationSettings(chosen, 0, True), RecordingReporter())
    assert refusal.value.code == "start-knows-cases"
    assert "--init none" in refusal.value.hint
    assert not (tmp_path / "model.folds").exists()


def test_images_without_labels_are_stated_in_the_report_of_folds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", 2)
    start = start_that_says(tmp_path / "start", {"data_sha256": [digest_of(data, 0)]})
    kept = []
    monkeypatch.setattr(folds, "write_model", lambda of, trained, scores, *_, **more: kept.append(scores))
    crossvalidate(CrossvalidationSettings(settings_of(tmp_path, 2, start)), RecordingReporter())
    assert "images of 1 of the 2 scored cases" in kept[0]["start_knows"]
    assert kept[0]["start_knows"] in (tmp_path / "model.folds" / "report.html").read_text(encoding="utf-8")


def test_a_training_warns_of_validation_cases_that_trained_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data", 5)
    kept = []
    monkeypatch.setattr(plain, "write_model", lambda of, trained, scores, *_, **more: kept.append(scores))
    for number, told in ((4, 1), (0, 0)):  # the fifth case validates
        known = {"initial": {"training": {"finetuning": {"training_sha256": [digest_of(data, number)]}}}}
        start = start_that_says(tmp_path / f"start-{number}", known)
        reporter = RecordingReporter()
        plain.finetune(replace(settings_of(tmp_path, 5, start), output=tmp_path / f"model-{number}"), reporter)
        assert [code for code, _ in reporter.warnings].count("start-knows-validation") == told
        assert ("start_knows" in kept[-1]) == bool(told)
