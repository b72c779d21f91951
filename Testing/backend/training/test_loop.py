"""The training loop: when it validates, what it counts as time, and that a resumed run is an unbroken one."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from tiny_training import Tiny  # noqa: E402

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
