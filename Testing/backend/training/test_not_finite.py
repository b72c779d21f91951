"""Losses, gradients and scores that are no numbers change no weights, choose none, and end a run that has only them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from conftest import RecordingReporter  # noqa: E402
from lightning_fabric import Fabric  # noqa: E402
from lightning_fabric.plugins.precision.amp import MixedPrecision  # noqa: E402
from tiny_training import Tiny  # noqa: E402
from torch.amp import GradScaler  # noqa: E402

from mimseg import stopping  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.training import loop  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402
from mimseg.training.checkpoints import load_checkpoint  # noqa: E402
from mimseg.training.loop import Training  # noqa: E402


def spoiled(*numbers: int, by: float = math.nan) -> Any:
    """Changes these losses, and so their gradients, to something that is no number."""
    return lambda number, loss: loss * by if number in numbers else loss


def weights(training: Training) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in training.network.parameters()])


def test_a_score_that_is_no_number_is_never_the_best(tmp_path: Path) -> None:
    tiny = Tiny()
    tiny.score = lambda step, score: math.nan if step in (2, 10) else score
    training = tiny.train(tmp_path, Budget(10), validations=5)
    scores = [score for _, score in tiny.validated if math.isfinite(score)]
    assert len(scores) == 3
    assert training.state.best == min(scores)


@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("by", [math.nan, math.inf])
def test_a_step_that_is_no_number_is_left_out_and_told(
    clip: float, by: float, tmp_path: Path, reporter: RecordingReporter
) -> None:
    plain, spoilt = Tiny(), Tiny()
    before = weights(plain.train(tmp_path / "plain", Budget(7), clip=clip, validations=0))
    spoilt.change = spoiled(6, 7, by=by)
    training = spoilt.train(tmp_path / "spoilt", Budget(7), clip=clip, validations=1, reporter=reporter)
    assert training.state.step == 7
    assert weights(training).isfinite().all()
    assert not torch.equal(weights(training), before)
    assert math.isfinite(training.state.best or math.nan)
    assert reporter.codes == ["loss-not-finite"]
    assert "step 6" in reporter.warnings[0][1]


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_many_such_steps_end_with_what_to_do_and_the_checkpoint_from_before(clip: float, tmp_path: Path) -> None:
    tiny = Tiny()
    tiny.change = spoiled(*range(6, 99))
    with pytest.raises(UserError, match="10 steps") as end:
        tiny.train(tmp_path, Budget(50), clip=clip, validations=0, checkpoint_seconds=0.0)
    assert tiny.losses == 15
    assert end.value.code == "loss-not-finite"
    assert "--learning-rate" in end.value.hint
    content = load_checkpoint(tmp_path / "checkpoint.pt")
    assert content["state"]["step"] == 5
    assert all(value.isfinite().all() for value in content["network"].values())
    resumed = Tiny().train(tmp_path, Budget(50), resume=True, clip=clip, validations=0)
    assert resumed.state.step == 50


def half_precision() -> Fabric:
    """Fabric with scaled gradients, here on the CPU; the scale is doubled after three steps until it is too large."""
    scaler = GradScaler("cpu", init_scale=2.0**16, growth_interval=3)
    return Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_scaled_gradients_may_overflow_and_their_scale_is_resumed(
    clip: float, tmp_path: Path, reporter: RecordingReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = loop.make_optimizer
    monkeypatch.setattr(loop, "make_optimizer", lambda groups, betas, *_: plain(groups, betas, "cuda"))  # not fused

    def train(name: str, resume: bool = False, stop: int = 0) -> dict:
        tiny = Tiny()
        tiny.change = lambda number, loss: stopping.request() or loss if number == stop else loss  # type: ignore
        tiny.train(tmp_path / name, Budget(30), resume, 0, clip, reporter, fabric=half_precision())
        return load_checkpoint(tmp_path / name / "checkpoint.pt")

    unbroken, broken, resumed = train("unbroken"), train("broken", stop=14), train("broken", resume=True)
    assert (broken["state"]["step"], resumed["state"]["step"]) == (14, 30)
    assert unbroken["scaler"]["scale"] < 2.0**20, "growing alone it would be 2 ** 26"
    assert resumed["scaler"] == unbroken["scaler"]
    for name, value in unbroken["network"].items():
        assert value.isfinite().all()
        assert torch.equal(resumed["network"][name], value)
    assert reporter.codes == []
