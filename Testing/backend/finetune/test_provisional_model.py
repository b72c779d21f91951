"""The best model so far: usable while training goes on, seldom written, gone when the finished one is there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402

from mimseg import stopping  # noqa: E402
from mimseg.bundle.reader import open_bundle  # noqa: E402
from mimseg.cli.main import main  # noqa: E402
from mimseg.commands.finetune import provisional_model  # noqa: E402
from mimseg.commands.finetune.provisional_model import ProvisionalModel, remove_provisional  # noqa: E402
from mimseg.commands.finetune.run import train  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.data.labels.labelmaps import read_labelmap  # noqa: E402
from mimseg.errors import Stopped  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.budget import Budget, LoopState  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing curves takes longer than training the tiny networks of these tests."""
    monkeypatch.setattr(Curves, "_draw", lambda self: None)


class StopWhenThereIsAModel(Reporter):
    """Asks for a stop as soon as a model is there."""

    def __init__(self) -> None:
        self.models: list[tuple[str, int, float | None]] = []

    def model(self, path: str, step: int, validation_dice: float | None) -> None:
        self.models.append((path, step, validation_dice))
        stopping.request()


def test_it_segments_says_what_it_is_and_goes_when_training_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provisional_model, "LEAST_PAUSE", 0.0)
    monkeypatch.setattr(provisional_model, "PAUSE_FACTOR", 0)
    data = write_dataset(tmp_path / "data", 5)
    settings = FinetuneSettings(
        data, tmp_path / "my", Budget(20), None, SHAPE, window=(16, 16, 16), device="cpu", precision="32-true",
        batch=1, validations=10,
    )  # fmt: skip
    reporter, work = StopWhenThereIsAModel(), tmp_path / "my.training"
    (work.parent / "unrelated").mkdir()
    try:
        with pytest.raises(Stopped):
            train(settings, reporter, provisional=True)
    finally:
        stopping.clear()
    (path, step, dice), *more = reporter.models
    assert more == []
    assert (Path(path), step) == (work / "best-model", 2)
    description = open_bundle(Path(path)).description
    assert dice is not None
    assert description.scores == {
        "status": "training not finished, step 2", "validation_dice_while_training": round(dice, 4)
    }  # fmt: skip
    assert "not finished" in description.title
    assert f"Dice {round(dice, 4):.3f}" in description.description
    scan, found = data / "imagesTr" / "case_4.nii.gz", tmp_path / "found.nii.gz"
    assert main(["segment", str(scan), "--model", path, "-o", str(found), "--device", "cpu", "--quiet"]) == 0
    assert set(np.unique(read_labelmap(found).array)) <= {0, 1, 2}
    (work / ".best-model.abc.part").mkdir()
    remove_provisional(work)
    assert not [entry.name for entry in work.iterdir() if "best-model" in entry.name]
    assert (work / "checkpoint.pt").is_file()


def test_it_is_written_when_validation_improved_and_costs_less_than_a_twentieth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, written, told = [0.0], [], []
    monkeypatch.setattr(provisional_model.time, "monotonic", lambda: now[0])

    def write(folder: Path, network: Any, description: Any) -> None:
        now[0] += 10.0
        if len(written) == 1:
            written.append("in use")
            raise PermissionError("in use")
        written.append(description)

    monkeypatch.setattr(provisional_model, "write_bundle", write)
    network = torch.nn.Linear(2, 2)
    state = LoopState()
    training: Any = SimpleNamespace(state=state, network=network, best_weights=network.state_dict)
    reporter = Reporter()
    monkeypatch.setattr(reporter, "model", lambda path, step, dice: told.append(step))
    follow = ProvisionalModel(tmp_path, lambda scores: scores["status"], reporter)
    best_at = {100: 0.5, 130: 0.6, 340: 0.6, 500: 0.7, 900: 0.8, 1300: 0.8}
    for second in range(10, 1310, 10):
        state.step, state.seconds, state.best = second, float(second), best_at.get(second, state.best)
        follow(training, False)
    # First after two minutes; then, as writing takes 10 s, not before 200 s have gone by, and only if it is better.
    assert [entry.split()[-1] if entry != "in use" else entry for entry in written] == ["120", "in use", "520", "900"]
    assert told == [120, 520, 900]
    assert 10.0 * len(written) < 1300 / 20
    early = ProvisionalModel(tmp_path, lambda scores: scores["status"], reporter)
    monkeypatch.setattr(state, "seconds", 40.0)
    for best, stops, count in ((None, True, 3), (0.3, False, 3), (0.3, True, 4)):
        state.best = best
        early(training, stops)
        assert len(told) == count, "in the first minutes a stop alone leaves a model, if something was validated"
    state.best, state.seconds = 0.9, 1300.0
    follow(training, True)
    assert told[-1] == 1300, "a stopped run leaves its best"
    # Without validation the average is what there is, and it always changes.
    state.best, state.step, state.seconds = None, 1600, 1600.0
    follow(training, False)
    assert told[-1] == 1600
