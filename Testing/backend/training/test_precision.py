"""Arithmetic and memory layout are chosen by timing, and the choice follows a run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402

from mimseg import stopping  # noqa: E402
from mimseg.commands.pretrain.run import pretrain  # noqa: E402
from mimseg.commands.pretrain.settings import PretrainSettings  # noqa: E402
from mimseg.errors import Stopped  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training import precision  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402
from mimseg.training.layout import is_channels_last, lay_out  # noqa: E402
from mimseg.training.loop import make_fabric  # noqa: E402
from mimseg.training.memory.cost import time_step  # noqa: E402


@pytest.fixture(autouse=True)
def _no_stop() -> Iterator[None]:
    yield
    stopping.clear()


def _layers() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Conv3d(2, 4, 3, padding=1), torch.nn.ConvTranspose3d(4, 4, 2, 2))


def test_a_layout_changes_no_value() -> None:
    layers = _layers().double()
    volume = torch.randn(1, 2, 4, 4, 4, dtype=torch.float64)
    before = layers(volume)
    lay_out(layers, True)
    assert is_channels_last(layers)
    assert torch.allclose(layers(volume), before, atol=1e-12)
    lay_out(layers, False)
    assert not is_channels_last(layers)


def _choose(monkeypatch: pytest.MonkeyPatch, seconds: dict[tuple[str, bool], list[float]]) -> tuple[str, bool]:
    """What is chosen if steps take these seconds, turn by turn."""
    turns = {choice: itertools.chain(values, itertools.repeat(values[-1])) for choice, values in seconds.items()}

    def timed(device, layers, example, name):
        return next(turns[name, is_channels_last(layers)])

    monkeypatch.setattr(precision, "_seconds", timed)
    names = tuple(dict.fromkeys(name for name, _ in seconds))
    return precision._timed(torch.device("cpu"), _layers(), torch.zeros(1, 2, 4, 4, 4), names, (False, True))


def test_the_shortest_of_several_turns_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slow turn on a busy computer does not."""
    seconds = {("32-true", False): [1.0], ("32-true", True): [1.2, 0.5, 1.3]}
    assert _choose(monkeypatch, seconds) == ("32-true", True)


def test_a_small_gain_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _choose(monkeypatch, {("32-true", False): [1.0], ("32-true", True): [0.95]}) == ("32-true", False)


def test_quick_steps_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny networks would be chosen by chance, and two runs of one seed would differ."""
    assert _choose(monkeypatch, {("32-true", False): [0.02], ("32-true", True): [0.01]}) == ("32-true", False)


def test_what_is_far_behind_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = {"count": 0}

    def timed(device, layers, example, name):
        slow["count"] += name == "32-true"
        return 10.0 if name == "32-true" else 1.0

    monkeypatch.setattr(precision, "_seconds", timed)
    chosen = precision._timed(
        torch.device("cpu"), _layers(), torch.zeros(1, 2, 4, 4, 4), ("32-true", "bf16-mixed"), (False,)
    )
    assert chosen == ("bf16-mixed", False)
    assert slow["count"] == 1


def test_a_stop_does_not_wait_for_all_that_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping.request()
    with pytest.raises(Stopped):
        _choose(monkeypatch, {("32-true", False): [1.0], ("32-true", True): [1.0]})
    layers, batch = _layers(), torch.zeros(1, 2, 4, 4, 4)
    with pytest.raises(Stopped):
        time_step(make_fabric("cpu"), layers, lambda network, images: network(images).mean(), batch)


class Precisions(Reporter):
    """Keeps in which precision runs began."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def start(self, command: str, **fields: Any) -> None:
        self.seen.append(fields["precision"])


def test_a_resumed_pre_training_keeps_its_precision_unless_another_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    winners = iter(["bf16-mixed", "32-true", "32-true"])  # as a busy computer might find it
    monkeypatch.setattr(precision, "_timed", lambda *_: (next(winners), False))
    shape = UnetrSettings(
        window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2
    )
    small = {"decoder_size": 24, "decoder_heads": 2}
    first = PretrainSettings(
        (write_dataset(tmp_path / "data", 2),), tmp_path / "run", Budget(1), shape, "mae", small,
        window=(16, 16, 16), batch=2, device="cpu", validations=0,
    )  # fmt: skip
    runs = Precisions()
    pretrain(first, runs)
    more = replace(first, budget=Budget(2), resume=True)
    pretrain(more, runs)
    pretrain(replace(more, budget=Budget(3), precision="32-true"), runs)
    assert runs.seen == ["bf16-mixed", "bf16-mixed", "32-true"]

    path = tmp_path / "run" / "settings.json"
    started = json.loads(path.read_text(encoding="utf-8"))
    del started["precision"]  # an older mimseg did not record it
    path.write_text(json.dumps(started), encoding="utf-8")
    pretrain(replace(more, budget=Budget(4)), runs)
    assert runs.seen[-1] == "32-true"
