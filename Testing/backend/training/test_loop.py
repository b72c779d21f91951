"""The training loop: when it validates, what it counts as time, and that a resumed run is an unbroken one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from tiny_training import Tiny  # noqa: E402

from mimseg import stopping  # noqa: E402
from mimseg.errors import Stopped  # noqa: E402
from mimseg.training import loop  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402


def test_a_finished_run_that_gets_more_steps_is_validated_on(tmp_path: Path) -> None:
    tiny = Tiny()
    first = tiny.train(tmp_path, Budget(20))
    assert [step for step, _ in tiny.validated] == list(range(2, 21, 2))
    more = Tiny()
    longer = more.train(tmp_path, Budget(80), resume=True)
    assert [step for step, _ in more.validated] == list(range(24, 81, 8))
    assert longer.state.best == min(score for _, score in more.validated)
    assert longer.state.best < first.state.best


@pytest.mark.parametrize("stop", [10, 20])
@pytest.mark.parametrize("where", ["in the step", "in the validation"])
def test_a_validation_that_a_stop_cut_off_is_made_up_for(stop: int, where: str, tmp_path: Path) -> None:
    unbroken, broken, resumed = Tiny(), Tiny(), Tiny()
    expected = unbroken.train(tmp_path / "unbroken", Budget(20))

    def in_the_step(number: int, loss: Any) -> Any:
        if number == stop:
            stopping.request()
        return loss

    def in_the_validation(step: int, score: float) -> float:
        if step == stop:
            raise Stopped()
        return score

    if where == "in the step":
        broken.change = in_the_step
    else:
        broken.score = in_the_validation
    assert broken.train(tmp_path / "broken", Budget(20)).state.step == stop
    actual = resumed.train(tmp_path / "broken", Budget(20), resume=True)
    assert broken.validated + resumed.validated == unbroken.validated
    assert actual.state.best == expected.state.best
    weights = expected.best_weights()
    assert all(torch.equal(value, weights[name]) for name, value in actual.best_weights().items())


def test_what_a_network_draws_in_a_step_is_the_same_in_a_resumed_run(tmp_path: Path) -> None:
    """Stochastic depth draws from torch's own generator, which the choice of precision uses, too."""
    drawn: dict[int, list[float]] = {}

    def train(folder: Path, stop: int = 0, resume: bool = False) -> Any:
        tiny = Tiny()

        def change(number: int, loss: Any) -> Any:
            if number == stop:
                stopping.request()
            factor = torch.rand(())
            drawn.setdefault(number + 5 * resume, []).append(float(factor))
            return loss * factor

        tiny.change = change
        return tiny.train(folder, Budget(12), resume).best_weights()

    unbroken = train(tmp_path / "unbroken")
    train(tmp_path / "broken", stop=5)
    resumed = train(tmp_path / "broken", resume=True)
    assert all(torch.equal(value, unbroken[name]) for name, value in resumed.items())
    assert len({values[0] for values in drawn.values()}) == 12
    assert all(len(values) == 2 and values[0] == values[1] for values in drawn.values())


class Clock:
    """Seconds that pass only where a test lets them."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def test_minutes_hold_waiting_for_crops_and_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, tiny = Clock(), Tiny()
    monkeypatch.setattr(loop, "time", clock)
    # Crops are drawn by the loop itself here, each in 3 seconds; a checkpoint takes 2.
    monkeypatch.setattr(loop, "ahead", lambda make, start: (make(step) for step in range(start, 40)))
    monkeypatch.setattr(loop, "save_checkpoint", lambda path, content: clock.pass_by(2.0))
    tiny.wait = lambda step: clock.pass_by(3.0)
    training = tiny.train(tmp_path, Budget(minutes=0.5), validations=0, checkpoint_seconds=1.0)
    assert training.state.step == 6
    assert clock.now == training.state.seconds == pytest.approx(32.0)  # the last checkpoint comes on top
