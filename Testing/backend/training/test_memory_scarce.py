"""When no rung of the ladder helps, a training ends with a checkpoint, and nothing is changed unasked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402

from mimseg.commands.finetune import network as finetune_network  # noqa: E402
from mimseg.commands.finetune.data import load_labelled_data  # noqa: E402
from mimseg.commands.finetune.run import train  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.errors import OutOfMemory  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402
from mimseg.training.checkpoints import load_checkpoint  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402
from mimseg.training.losses import dice_and_cross_entropy  # noqa: E402

SHAPE = UnetrSettings(window=(24, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)
STEPS = 5
# Passes that the cost is measured with.
PROBED = 3


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing curves takes longer than training the tiny networks of these tests."""
    monkeypatch.setattr(Curves, "_draw", lambda self: None)


class Listener(Reporter):
    """Keeps warnings and steps."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.steps: list[float] = []

    def warning(self, code: str, message: str) -> None:
        self.warnings.append(message)

    def progress(self, phase: str, done: float, total: float) -> None:
        if phase == "train":
            self.steps.append(done)


def scarce(monkeypatch: pytest.MonkeyPatch, largest: int, after: int) -> None:
    """From pass `after`, memory is too short for windows with an edge over `largest`."""
    whole = dice_and_cross_entropy()
    passes: list[int] = []

    def loss(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        if not logits.requires_grad:
            return whole(logits, classes)
        passes.append(1)
        if len(passes) > after and max(logits.shape[2:]) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return whole(logits, classes)

    monkeypatch.setattr(finetune_network, "dice_and_cross_entropy", lambda *_: loss)


def test_memory_that_no_rung_can_spare_ends_a_run_that_goes_on_where_there_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither window nor device change unasked."""
    data = write_dataset(tmp_path / "data", 2)
    settings = FinetuneSettings(
        data, tmp_path / "model", Budget(STEPS), None, SHAPE, window=(24, 16, 16), device="cpu",
        precision="32-true", batch=1, validations=1,
    )  # fmt: skip
    cases = load_labelled_data(settings, None, Reporter())
    expected = train(replace(settings, output=tmp_path / "unbroken"), Reporter(), cases)
    listener = Listener()
    with monkeypatch.context() as patch:
        scarce(patch, 16, after=PROBED + 2)
        with pytest.raises(OutOfMemory, match="24x16x16"):
            train(settings, listener, cases)
    assert listener.steps == [1, 2]
    assert len(listener.warnings) == 1
    assert "twice" in listener.warnings[0], "the rungs that keep the recipe come first"
    checkpoint = load_checkpoint(tmp_path / "model.training" / "checkpoint.pt")
    assert checkpoint["state"]["step"] == 2
    assert not (tmp_path / "model").exists()
    listener = Listener()
    resumed = train(replace(settings, resume=True), listener, cases)
    assert listener.steps == [3, 4, 5]
    assert resumed is not None
    assert expected is not None
    assert resumed.shape == expected.shape
    weights = expected.network.state_dict()
    for name, value in resumed.network.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-3, atol=1e-5)


def test_what_the_loop_needs_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_dataset(tmp_path / "data", 2)
    built: list[Any] = []
    original = finetune_network.parameter_groups
    monkeypatch.setattr(finetune_network, "parameter_groups", lambda *given: built.append(given) or original(*given))
    settings = FinetuneSettings(
        data, tmp_path / "model", Budget(1), None, SHAPE, device="cpu", precision="32-true", batch=None, validations=1
    )
    assert train(settings, Reporter()) is not None
    assert len(built) == 1
