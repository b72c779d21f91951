"""A cross-validation that is killed in the middle: resumed to the same result, finished early, reported, timed."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402

from mimseg.commands.crossvalidate import run as task  # noqa: E402
from mimseg.commands.crossvalidate.run import crossvalidate  # noqa: E402
from mimseg.commands.crossvalidate.scores import cross_validation_scores  # noqa: E402
from mimseg.commands.crossvalidate.settings import CrossvalidationSettings  # noqa: E402
from mimseg.commands.finetune import network as finetune_network  # noqa: E402
from mimseg.commands.finetune import run as finetune_task  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.data.labels.structures import Label  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.events import WHOLE_RUN, Reporter  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.budget import Budget, LoopSettings  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402
from mimseg.training.losses import dice_and_cross_entropy  # noqa: E402
from mimseg.training.start.pretrained_run import PretrainedRun, write_pretrained  # noqa: E402

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)
STEPS = 3


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing curves takes longer than training the tiny networks of these tests."""
    monkeypatch.setattr(Curves, "_draw", lambda self: None)


class Killed(BaseException):
    """As a kill: nobody handles it."""


class Progress(Reporter):
    """Keeps the progress of the whole run."""

    def __init__(self) -> None:
        self.whole: list[tuple[float, float]] = []

    def progress(self, phase: str, done: float, total: float) -> None:
        if phase == WHOLE_RUN:
            self.whole.append((done, total))


@pytest.fixture
def settings(tmp_path: Path) -> CrossvalidationSettings:
    """Two cases, from a pre-training run; its encoder is a random one."""
    from mimseg.data.preprocessing import Preprocessing

    data, start = write_dataset(tmp_path / "data", 2), tmp_path / "start"
    start.mkdir()
    encoder = {name: value for name, value in UNETR(SHAPE).state_dict().items() if name.startswith("vit.")}
    write_pretrained(
        start, PretrainedRun(SHAPE, Preprocessing("RAS", (1.0, 1.0, 1.0)), "MR", {"method": "MAE"}), encoder
    )
    # The network that is asked for differs from the start's: from scratch, too, that of the start is trained.
    other = replace(SHAPE, hidden_size=48)
    chosen = FinetuneSettings(
        data, tmp_path / "whole", Budget(STEPS), str(start), other, batch=1, device="cpu", precision="32-true"
    )
    return CrossvalidationSettings(chosen, 0, True)


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Checkpoints after every step; a run dies at the given pass through the loss. Models are kept, not written."""
    whole, left = dice_and_cross_entropy(), [10**9]
    models: list[tuple[Any, dict]] = []

    def loss(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return whole(logits, classes)

    monkeypatch.setattr(finetune_network, "dice_and_cross_entropy", lambda *_: loss)
    monkeypatch.setattr(finetune_task, "LoopSettings", functools.partial(LoopSettings, checkpoint_seconds=-1.0))
    monkeypatch.setattr(task, "write_model", lambda of, trained, scores, *_, **more: models.append((trained, scores)))

    def after(passes: int) -> list[tuple[Any, dict]]:
        left[0] = passes
        return models

    return after


def test_a_killed_comparison_goes_on_to_the_same_result_and_can_be_finished_at_the_end(
    settings: CrossvalidationSettings, killer: Any, tmp_path: Path
) -> None:
    models, listener = killer(10**9), Progress()
    crossvalidate(settings, listener)
    assert listener.whole[-1] == (5 * STEPS, 5 * STEPS)
    assert [done for done, _ in listener.whole] == [*range(1, 5 * STEPS + 1), 5 * STEPS]
    page = (tmp_path / "whole.folds" / "report.html").read_text(encoding="utf-8")
    assert models[0][1]["verdict"] in page
    assert all(f"case_{number}" in page for number in range(2))
    assert "The worst case" in page
    assert "data:image/png;base64" in page

    broken = replace(settings, finetune=replace(settings.finetune, output=tmp_path / "broken"))
    killer(3 + 3 * STEPS + 2)  # the probe, three finished trainings, and two steps of the fourth: fold 2 from scratch
    with pytest.raises(Killed):
        crossvalidate(broken, Reporter())
    work = tmp_path / "broken.folds"
    done = sorted(path.name for path in work.glob("fold-?-*.json"))
    assert done == ["fold-1-scratch.json", "fold-1-start.json", "fold-2-start.json"]
    assert (work / "fold-2-scratch.training" / "checkpoint.pt").is_file()
    resumed = replace(broken, finetune=replace(broken.finetune, resume=True))
    finishing = replace(broken, finetune=replace(broken.finetune, resume=True, finish=True))
    with pytest.raises(UserError, match="3 of 4 trainings"):
        crossvalidate(finishing, Reporter())
    killer(1 + 2)  # the rest of the fourth, and two steps of the model's own
    with pytest.raises(Killed):
        crossvalidate(resumed, Reporter())
    killer(0)
    crossvalidate(finishing, Reporter())
    assert models[-1][0].record["finetuning"]["steps"] == 2
    killer(1)
    crossvalidate(resumed, Reporter())
    (expected, scores), (actual, same) = models[0], models[-1]
    assert same == scores
    weights = expected.network.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in actual.network.state_dict().items())
    assert actual.shape == expected.shape == replace(SHAPE, classes=3)


def test_the_scores_show_spread_worst_case_and_an_interval_over_subjects() -> None:
    labels = (Label(1, "ball", (1, 2, 3)), Label(2, "block", (1, 2, 3)))
    dice = [0.9, 0.8, 0.4, 0.7]
    rows = [
        {
            "case": case, "label": label.name, "dice": value + (0.05 if label.value == 1 else -0.05),
            "surface_dice_1mm": value, "hd95_mm": None if case == 3 else float(case), "volume_error_ml": (-1) ** case,
        }
        for case, value in enumerate(dice, start=1)
        for label in labels
    ]  # fmt: skip
    scores = cross_validation_scores({"start": rows}, labels, ["a", "a", "b", "c"], 3)
    summary = scores["summary"]
    assert (summary["cases"], summary["subjects"], summary["worst_case"]) == (4, 3, 3)
    assert summary["worst_dice"] == pytest.approx(0.4)
    assert summary["median_dice"] == pytest.approx(0.75)
    assert summary["standard_deviation_dice"] == pytest.approx(np.std(dice, ddof=1))
    assert summary["quartiles_dice"] == pytest.approx([0.625, 0.825])
    low, high = summary["interval_95"]
    assert (low, high) == pytest.approx((0.4, 0.85)), "three subjects, the mean of two cases being one of them"
    ball = summary["per_label"]["ball"]
    assert (ball["hd95_mm"], ball["median_hd95_mm"], ball["cases_without_hd95"]) == (pytest.approx(7 / 3), 2.0, 1)
    assert (ball["volume_error_ml"], ball["absolute_volume_error_ml"]) == (0.0, 1.0)
