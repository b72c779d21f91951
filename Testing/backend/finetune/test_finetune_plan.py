"""The plan of a fine-tuning: what it chooses, from what, what it says, and that a resumed run keeps it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402

from mimseg.cli.finetune import _settings, add_arguments  # noqa: E402
from mimseg.cli.main import ArgumentParser  # noqa: E402
from mimseg.commands.crossvalidate.preview import preview_plan  # noqa: E402
from mimseg.commands.crossvalidate.settings import CrossvalidationSettings  # noqa: E402
from mimseg.commands.finetune import probe as finetune_probe  # noqa: E402
from mimseg.commands.finetune import training_device  # noqa: E402
from mimseg.commands.finetune.plan import (  # noqa: E402
    FEWEST_STEPS,
    MANY_STEPS,
    TRAINING_SHARE,
    TrainingPlan,
    as_started,
    choose_batch,
)
from mimseg.commands.finetune.run import train  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.computer.graphics import GraphicsCard  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402
from mimseg.training.planning import least_window, smaller_window  # noqa: E402

SHAPE = UnetrSettings(window=(24, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing curves takes longer than training the tiny networks of these tests."""
    monkeypatch.setattr(Curves, "_draw", lambda self: None)


class Listener(Reporter):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}
        self.ended: dict[str, Any] = {}
        self.warnings: list[tuple[str, str]] = []
        self.said: list[str] = []

    def start(self, command: str, **fields: Any) -> None:
        self.started = fields

    def result(self, **fields: Any) -> None:
        self.ended = fields

    def warning(self, code: str, message: str) -> None:
        self.warnings.append((code, message))

    def info(self, message: str) -> None:
        self.said.append(message)


def test_the_batch_follows_from_the_steps_that_fit() -> None:
    asked: list[int] = []

    def seconds(crops: int) -> float:
        asked.append(crops)
        return 0.5 * crops

    def batch(minutes: float, fits: int = 99, per_volume: int = 1) -> int:
        return choose_batch(Budget(minutes=minutes), seconds, per_volume, lambda crops: crops <= fits)[0]

    few, many = FEWEST_STEPS / TRAINING_SHARE / 60, 2 * MANY_STEPS / TRAINING_SHARE / 60
    assert [batch(0.9 * few), batch(1.1 * few), batch(0.9 * many), batch(1.1 * many)] == [1, 2, 2, 4]
    assert [batch(1.1 * many, fits=2), batch(1.1 * few, fits=1)] == [2, 1]
    assert [batch(0.1 * few, per_volume=2), batch(0.1 * few, per_volume=3)] == [2, 3]
    asked.clear()
    assert choose_batch(Budget(steps=3), seconds, 1, lambda crops: True) == (2, "")
    assert asked == [], "given steps do not depend on the speed of a computer"
    assert choose_batch(Budget(minutes=0.1), seconds, 1, lambda crops: True)[1] == (
        "Each step learns from one piece of a scan, because the time is short: with 2 it would suffice for only 4 "
        f"steps, and a training should have at least {FEWEST_STEPS}."
    )


def test_windows_get_smaller_by_whole_patches_down_to_half_of_each_edge() -> None:
    least = least_window((48, 64, 16), 8)
    assert least == (24, 32, 16)
    window, seen = (48, 64, 16), []
    while (following := smaller_window(window, 8, least)) is not None:
        assert all(edge % 8 == 0 and edge >= low for edge, low in zip(following, least, strict=True))
        window = following
        seen.append(window)
    assert (seen[0], seen[-1]) == ((40, 48, 16), least)
    assert least_window((24, 24, 24), 8) == (16, 16, 16)
    assert smaller_window((16, 16, 16), 8, least_window((16, 16, 16), 8)) is None


def test_a_gpu_that_cannot_be_used_is_a_loud_warning_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU that works")
    for cards, codes in (((GraphicsCard("NVIDIA Test", "cuda"),), ["gpu-not-used"]), ((), [])):
        training_device._best_device.cache_clear()
        monkeypatch.setattr(training_device, "describe_graphics", lambda found=cards: found)
        listener = Listener()
        assert training_device.choose_device("auto", listener) == "cpu"
        assert [code for code, _ in listener.warnings] == codes
        assert all("ON THE CPU" in text and "NVIDIA Test" in text for _, text in listener.warnings)
    training_device._best_device.cache_clear()
    assert training_device.choose_device("cpu", listener) == "cpu"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("plan") / "data", 5)


def settings(data: Path, output: Path, **changes: Any) -> FinetuneSettings:
    given = {"device": "auto", "precision": "32-true", "batch": None, **changes}
    return FinetuneSettings(data, output, Budget(minutes=3.0), None, SHAPE, **given)


def test_a_preview_says_what_would_be_done_and_writes_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune_probe, "free_memory", lambda device: 10**12)
    listener = Listener()
    plan = preview_plan(CrossvalidationSettings(settings(data, tmp_path / "m"), 0, False), True, listener)
    assert list(tmp_path.iterdir()) == []
    assert TrainingPlan.from_json(json.loads(json.dumps(listener.ended["plan"]))) == plan
    assert (plan.cases, plan.validation_cases, plan.runs) == (5, 0, 6)
    assert (plan.minutes_per_run, plan.minutes, plan.pretrain_minutes) == (0.5, 3.0, 0.0)
    assert plan.window == (24, 24, 24)
    assert plan.steps == pytest.approx(30 / plan.seconds_per_step, abs=1.01)
    assert plan.device == "cpu"
    assert "6 trainings" in listener.said[0]
    # Memory for a sixth of what one crop needs beyond the weights: a smaller window, and it is said.
    monkeypatch.setattr(finetune_probe, "free_memory", lambda device: plan.memory_bytes // plan.batch * 2 // 3)
    short = preview_plan(CrossvalidationSettings(settings(data, tmp_path / "m")), False, listener)
    assert max(short.window) < 24 or min(short.window) < 24
    assert any("instead of 24x24x24" in reason for reason in short.reasons)
    assert (short.cases, short.validation_cases) == (4, 1)
    given = settings(data, tmp_path / "m", window=(24, 24, 24), batch=3)
    kept = preview_plan(CrossvalidationSettings(given), False, listener)
    assert (kept.window, kept.batch) == ((24, 24, 24), 3), "what the user gave is not changed"


def test_the_plan_is_kept_by_a_resumed_run(data: Path, tmp_path: Path) -> None:
    listener = Listener()
    short = replace(settings(data, tmp_path / "m"), budget=Budget(minutes=0.005))
    first = train(short, listener)
    assert first is not None
    plan = listener.started["plan"]
    assert (plan["batch"], first.record["finetuning"]["batch"]) == (1, 1)
    stored = json.loads((tmp_path / "m.training" / "settings.json").read_text(encoding="utf-8"))
    assert (stored["plan"], stored["batch"]) == (plan, 1)
    again = Listener()
    resumed = train(replace(short, budget=Budget(minutes=300), resume=True, finish=True), again)
    assert resumed is not None
    assert resumed.record["finetuning"]["batch"] == 1, "300 minutes would be planned with more"
    assert resumed.shape == first.shape
    assert resumed.record["finetuning"]["budget"]["minutes"] == 0.005, "finishing has no budget of its own"
    assert again.started["plan"] == plan
    assert "cost" not in again.started, "finishing measures nothing"


def test_a_run_is_resumed_with_its_own_preprocessing_only(data: Path, tmp_path: Path) -> None:
    short = replace(settings(data, tmp_path / "m"), budget=Budget(1))
    first = train(short, Listener())
    assert first is not None
    resumed = replace(short, resume=True, finish=True)
    with pytest.raises(UserError, match="preprocessing"):
        train(replace(resumed, spacing=(2.0, 2.0, 2.0)), Listener())
    # An older mimseg did not record it, and passed over what was asked for where there were start weights.
    file = tmp_path / "m.training" / "settings.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({key: value for key, value in stored.items() if key != "preprocessing"}))
    assert train(resumed, Listener()) is not None
    asked = replace(resumed, initial="start", preprocessing="btcv", modality="CT")
    older, _ = as_started(asked, tmp_path / "m.training")
    assert (older.preprocessing, older.modality) == (None, None)
    file.write_text(json.dumps(stored))
    now, _ = as_started(asked, tmp_path / "m.training")
    assert (now.preprocessing, now.modality) == ("btcv", "CT")


def test_only_the_clock_and_a_resumed_run_leave_the_batch_open() -> None:
    def batch(*options: str) -> int | None:
        parser = ArgumentParser()
        add_arguments(parser)
        return _settings(parser.parse_args(["data", "-o", "model", "--init", "none", *options])).batch

    assert batch("--minutes", "5") is None
    assert batch("--steps", "5") == 2
    assert batch("--steps", "5", "--resume") is None
    assert batch("--minutes", "5", "--batch", "8") == 8
    assert batch("--minutes", "5", "--preset", "paper") == 16
