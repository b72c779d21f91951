"""When memory runs out, training goes on in parts, then recomputing; then it says what to do.

The gradient is that of the whole batch where the loss is a mean over crops; test_losses.py has how far Dice differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from mimseg.errors import OutOfMemory  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.methods import load_method, method_settings  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.loop import Budget, LoopSettings, Task, Training, make_fabric  # noqa: E402
from mimseg.training.memory.ladder import MemoryLadder  # noqa: E402
from mimseg.training.optimiser.schedule import Schedule, parameter_groups  # noqa: E402

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)


class Listener(Reporter):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warning(self, code: str, message: str) -> None:
        assert code == "memory-ran-out"
        self.warnings.append(message)


def squares(network: torch.nn.Module, batch: Any) -> torch.Tensor:
    """A loss that is the mean over crops."""
    return (network(batch[0]) - 1).square().mean()


class Scarce:
    """A loss that runs out of memory for more than `crops` crops, or unless activations are recomputed."""

    def __init__(self, crops: int, recompute: bool = False) -> None:
        self.crops, self.recompute = crops, recompute
        self.sizes: list[int] = []

    def __call__(self, network: torch.nn.Module, batch: Any) -> torch.Tensor:
        self.sizes.append(len(batch[0]))
        loss = squares(network, batch)
        if len(batch[0]) > self.crops or (self.recompute and not network.vit.recompute):
            loss.backward()  # what a failed attempt leaves behind must not count
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss


def gradient(network: UNETR) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def climb(loss: Any, batch: torch.Tensor) -> tuple[torch.Tensor, MemoryLadder, list[str]]:
    torch.manual_seed(0)
    network, listener = UNETR(SHAPE).train(), Listener()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    ladder = MemoryLadder(make_fabric("cpu"), network, loss, True, listener)
    value = ladder.backward(network, optimizer, (batch, None), seed=0)
    with torch.no_grad():
        assert value == pytest.approx(float(squares(network, (batch,))), rel=1e-5)
    return gradient(network), ladder, listener.warnings


def test_parts_and_recomputing_give_the_gradient_of_the_whole_batch() -> None:
    batch = torch.randn(5, 1, 16, 16, 16)
    plenty, ladder, said = climb(squares, batch)
    assert said == []
    assert ladder.taken == {"parts": 1, "recompute": False}
    scarce = Scarce(2)
    parted, ladder, said = climb(scarce, batch)
    assert torch.allclose(parted, plenty, atol=1e-6)
    assert float(plenty.abs().max()) > 1e-3
    assert (ladder.taken["parts"], scarce.sizes) == (4, [5, 3, 2, 1, 1, 1])
    assert "2 parts" in said[0]
    assert "4 parts" in said[1]
    recomputed, ladder, said = climb(Scarce(1, recompute=True), batch)
    assert torch.allclose(recomputed, plenty, atol=1e-6)
    assert ladder.taken == {"parts": 5, "recompute": True}
    assert "twice" in said[-1]


def test_the_last_rung_ends_with_what_to_do_and_other_faults_pass() -> None:
    with pytest.raises(OutOfMemory, match="one crop of 16x16x16") as end:
        climb(Scarce(0), torch.randn(2, 1, 16, 16, 16))
    assert "--window" in end.value.hint

    def wrong(network: torch.nn.Module, batch: Any) -> torch.Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        climb(wrong, torch.randn(2, 1, 16, 16, 16))


def test_a_contrastive_batch_is_not_divided_but_recomputed_crop_by_crop() -> None:
    network = load_method("simclr")(SHAPE, method_settings("simclr", {})).train()
    attempts, drawn = [], []

    def scarce(module: torch.nn.Module, batch: Any) -> torch.Tensor:
        attempts.append(len(batch[0]))
        drawn.append(float(torch.rand(())))
        if len(attempts) == 1:
            raise MemoryError
        return module(*batch)

    ladder = MemoryLadder(make_fabric("cpu"), network, scarce, network.divisible, Listener())
    batch = torch.randn(6, 1, 16, 16, 16), None
    ladder.backward(network, torch.optim.SGD(network.parameters(), 0.1), batch, seed=3)
    assert attempts == [6, 6]
    assert drawn[0] == drawn[1], "the second attempt leaves out the branches that the first one did"
    assert ladder.taken == {"parts": 1, "recompute": True}


def test_a_run_out_of_memory_ends_like_one_with_plenty_and_remembers_when_resumed(tmp_path: Path) -> None:
    def run(folder: Path, loss: Any, steps: int, resume: bool = False) -> tuple[Training, Listener]:
        torch.manual_seed(0)
        network, listener = UNETR(SHAPE), Listener()
        task = Task(
            network,
            parameter_groups(network, 1e-3, 0, SHAPE, 1, set()),
            lambda step: (torch.randn(4, 1, 16, 16, 16, generator=torch.Generator().manual_seed(step)), None),
            loss,
            lambda average, step: {},
            "none",
            False,
        )
        folder.mkdir(exist_ok=True)
        settings = LoopSettings(Budget(steps), Schedule(warmup=0, floor=1), 0)
        training = Training(make_fabric("cpu"), task, settings, folder, listener, resume)
        training.run()
        return training, listener

    expected = run(tmp_path / "plenty", squares, 4)[0].best_weights()
    run(tmp_path / "scarce", Scarce(2), 2)
    scarce = Scarce(2)
    resumed, listener = run(tmp_path / "scarce", scarce, 4, resume=True)
    assert listener.warnings == []
    assert scarce.sizes == [2, 2, 2, 2]
    for name, value in resumed.best_weights().items():
        # AdamW turns rounding differences of tiny gradients into whole steps: single weights may differ by more.
        assert float((value - expected[name]).abs().mean()) < 3e-5, name
