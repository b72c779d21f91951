"""Cross-validation by subject: honest folds, paired comparison, resume, own pre-training first."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset, write_scan  # noqa: E402

from mimseg.commands.crossvalidate.report import make_page  # noqa: E402
from mimseg.commands.crossvalidate.run import CrossvalidationSettings, crossvalidate  # noqa: E402
from mimseg.commands.crossvalidate.scores import cross_validation_scores, worst_case  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.commands.pretrain.settings import PretrainSettings  # noqa: E402
from mimseg.data.labels.structures import Label  # noqa: E402
from mimseg.errors import Stopped, UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training import validation  # noqa: E402
from mimseg.training.folds import assign_folds  # noqa: E402
from mimseg.training.loop import Budget  # noqa: E402

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)
LABELS = (Label(1, "ball", (1, 2, 3)), Label(2, "block", (1, 2, 3)))


def test_subjects_stay_together_and_every_case_is_held_out_once() -> None:
    subjects = [str(n // 2) for n in range(22)]
    folds = assign_folds(subjects, 0, seed=3)
    assert set(folds) == {0, 1, 2, 3, 4}
    assert all(len({fold for fold, own in zip(folds, subjects, strict=True) if own == name}) == 1 for name in subjects)
    assert sorted(np.bincount(folds).tolist()) == [4, 4, 4, 4, 6]
    assert assign_folds(subjects, 0, seed=3) == folds != assign_folds(subjects, 0, seed=4)
    assert sorted(assign_folds(list("abcd"), 0, 0)) == [0, 1, 2, 3]  # leave one out
    for wrong in ((["a", "a"], 0), (list("abc"), 4)):
        with pytest.raises(UserError, match="cannot be divided"):
            assign_folds(*wrong, 0)


def rows(dice: list[float | None]) -> list[dict]:
    return [
        {"case": case, "label": label.name, "dice": value, "surface_dice_1mm": None}
        for case, value in enumerate(dice, start=1)
        for label in LABELS
    ]


def test_cases_without_structures_count_where_something_is_found() -> None:
    labelled = [0.5, 0.6, 0.7]
    summary = cross_validation_scores({"start": rows([*labelled, None, None])}, LABELS, list("abcde"), 5)["summary"]
    assert summary["mean_dice"] == pytest.approx(0.6)
    assert summary["quartiles_dice"] == pytest.approx([0.55, 0.65])
    assert summary["interval_95"][0] <= 0.6 <= summary["interval_95"][1] <= 0.7
    both = {"start": rows([*labelled, None, None]), "scratch": rows([*labelled, 0.0, None])}
    compared = cross_validation_scores(both, LABELS, list("abcde"), 5)["comparison"]
    assert compared["this start"]["mean Dice"] == pytest.approx(0.7)  # (0.5 + 0.6 + 0.7 + 1) / 4
    assert compared["from scratch"]["mean Dice"] == pytest.approx(0.45)
    page = make_page(both, cross_validation_scores(both, LABELS, list("abcde"), 5), list("edcba"), None)
    assert "Mean Dice 0.600" in page
    listed = page.split(">Cases<")[1]
    assert [name for _, name in sorted((listed.index(f">{name}<"), name) for name in "abcde")] == list("edcba")


def test_a_fold_of_cases_without_structures_has_no_score() -> None:
    summary = validation.summarize(rows([None, None]), LABELS, "ab")
    assert (summary["cases"], summary["mean_dice"], summary["worst_dice"]) == (2, None, None)
    assert worst_case(rows([None, None])) == 1
    assert worst_case(rows([None, 0.3, 0.2])) == 3


def test_folds_that_would_train_on_empty_cases_alone_are_refused(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 3)
    for number in (0, 2):
        write_scan(data / "labelsTr" / f"case_{number}.nii.gz", np.zeros((20, 22, 18), np.uint8))
    chosen = FinetuneSettings(data, tmp_path / "model", Budget(4), None, SHAPE, window=(16, 16, 16), device="cpu")
    with pytest.raises(UserError, match="Only case_1 shows any structure") as refusal:
        crossvalidate(CrossvalidationSettings(chosen, 0), Reporter())
    assert refusal.value.code == "nothing-labelled"
    assert not (tmp_path / "model.folds").exists()


def test_the_verdict_claims_no_more_than_was_measured() -> None:
    subjects = [str(n) for n in range(10)]
    base = [0.7 + 0.01 * n for n in range(10)]
    better = cross_validation_scores(
        {"start": rows([d + 0.05 for d in base]), "scratch": rows(base)}, LABELS, subjects, 5
    )
    assert "better on these cases (+0.050 Dice" in better["verdict"]
    assert better["comparison"]["from scratch"] == {"mean Dice": 0.745, "worst case": 0.7}
    mixed = [d + (0.05 if n % 2 else -0.05) for n, d in enumerate(base)]
    none = cross_validation_scores({"start": rows(mixed), "scratch": rows(base)}, LABELS, subjects, 5)
    assert "no difference shown" in none["verdict"]
    worse = cross_validation_scores(
        {"start": rows(base), "scratch": rows([d + 0.1 for d in base])}, LABELS, subjects, 5
    )
    assert "worse on these cases" in worse["verdict"]
    few = {"start": rows([0.9] * 5), "scratch": rows([0.1] * 5)}
    assert "cannot be shown with so few subjects" in cross_validation_scores(few, LABELS, subjects[:5], 5)["verdict"]
    alone = cross_validation_scores({"start": rows(base)}, LABELS, subjects, 5)
    assert "verdict" not in alone


class StopAt(Reporter):
    """Stops at the given number of finished folds."""

    def __init__(self, number: int) -> None:
        self.number, self.phases = number, []

    def progress(self, phase: str, done: float, total: float) -> None:
        self.phases.append((phase, done, total))
        if phase == "folds" and done == self.number:
            raise Stopped("stopped", "")


@pytest.mark.slow
def test_own_pretraining_folds_comparison_and_resume_give_one_scored_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = []
    monkeypatch.setattr(validation, "keep_main_piece", lambda classes, group: dropped.append(group))
    data = write_dataset(tmp_path / "data", 3)
    chosen = FinetuneSettings(
        data, tmp_path / "model", Budget(4), None, SHAPE, window=(16, 16, 16), device="cpu", precision="32-true",
        notes={"one_piece": (("ball", "block"),)},
    )  # fmt: skip
    own = PretrainSettings(
        (data / "imagesTr",), tmp_path, Budget(4), SHAPE, method_settings={"decoder_size": 24, "decoder_heads": 2},
        batch=2, window=(16, 16, 16), device="cpu", precision="32-true", validations=1,
    )  # fmt: skip
    settings = CrossvalidationSettings(chosen, 0, True, own)
    with pytest.raises(Stopped):
        crossvalidate(settings, StopAt(3))
    work = tmp_path / "model.folds"
    finished = {path.name: path.stat().st_mtime_ns for path in work.glob("fold-*.json")}
    assert sorted(finished) == ["fold-1-scratch.json", "fold-1-start.json", "fold-2-start.json"]
    assert not (tmp_path / "model").exists()
    with pytest.raises(UserError, match="unfinished"):
        crossvalidate(settings, Reporter())
    with pytest.raises(UserError, match="compare"):
        crossvalidate(replace(settings, finetune=replace(chosen, resume=True), compare=False), Reporter())
    model = crossvalidate(replace(settings, finetune=replace(chosen, resume=True)), Reporter())
    assert {name: (work / name).stat().st_mtime_ns for name in finished} == finished, "nothing was trained twice"
    description = json.loads((model / "segmentation.json").read_text(encoding="utf-8"))
    scores = description["scores"]
    assert sorted({row["case"] for row in scores["validation"]}) == [1, 2, 3]
    assert set(scores["comparison"]) == {"this start", "from scratch"}
    assert "cannot be shown with so few subjects" in scores["verdict"]
    training = description["training"]
    assert training["finetuning"]["training_cases"] == 3
    assert training["finetuning"]["validation_cases"] == 0
    assert training["pretraining"]["method"] == "MAE"
    # Six folds score one case each, three of them draw it.
    assert dropped == [[1, 2]] * 9, "the scores are of what segment keeps"
    assert "cross-validation" in (model / "docs" / "README.md").read_text(encoding="utf-8")
    for fold in (1, 2, 3):
        recorded = json.loads((work / f"fold-{fold}-start.training" / "settings.json").read_text(encoding="utf-8"))
        assert (recorded["training_cases"], recorded["validation_cases"]) == (2, 0)
