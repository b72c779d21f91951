"""A training of five weights that takes milliseconds, to see what the loop does with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mimseg import stopping
from mimseg.errors import Stopped
from mimseg.events import Reporter
from mimseg.training.budget import Budget, LoopSettings
from mimseg.training.loop import Task, Training, make_fabric
from mimseg.training.optimiser.schedule import Schedule


class Tiny:
    """What a tiny training learns, and what is done to it meanwhile; each attribute may be replaced by a test.

    Attributes:
        validated: Steps and scores of its validations.
        losses: How often a loss was computed.
        change: Of (number of the loss, loss), gives the loss that the loop sees.
        score: Of (step, true score), gives the score that the loop sees; may stop the run.
        wait: Called before a batch is drawn, with its step.
    """

    def __init__(self) -> None:
        self.validated: list[tuple[int, float]] = []
        self.losses = 0
        self.change: Callable[[int, Tensor], Tensor] = lambda number, loss: loss
        self.score: Callable[[int, float], float] = lambda step, score: score
        self.wait: Callable[[int], object] = lambda step: None

    def task(self) -> Task:
        """To add up four numbers; its score is the error on others."""
        torch.manual_seed(0)
        network = nn.Linear(4, 1)
        group = {"params": list(network.parameters()), "lr": 1e-2, "peak_lr": 1e-2, "weight_decay": 0.0}
        return Task(network, [group], self._batch, self._loss, self._validate, "error", higher_is_better=False)

    def train(
        self,
        folder: Path,
        budget: Budget,
        resume: bool = False,
        validations: int = 10,
        clip: float = 1.0,
        reporter: Reporter | None = None,
        **prepared: Any,
    ) -> Training:
        """Run a training until it ends or is stopped. `prepared` may hold `fabric` and `checkpoint_seconds`."""
        folder.mkdir(exist_ok=True)
        fabric = prepared.pop("fabric", None) or make_fabric("cpu")
        settings = LoopSettings(budget, Schedule(learning_rate=1e-2, clip=clip), validations, **prepared)
        training = Training(fabric, self.task(), settings, folder, reporter or Reporter(), resume)
        try:
            training.run()
        except Stopped:
            stopping.clear()
        return training

    def _batch(self, step: int) -> tuple[Tensor]:
        self.wait(step)
        return (torch.randn(8, 4, generator=torch.Generator().manual_seed(step)),)

    def _loss(self, network: nn.Module, batch: Any) -> Tensor:
        self.losses += 1
        return self.change(self.losses, _error(network, batch[0]))

    def _validate(self, network: nn.Module, step: int) -> dict[str, float]:
        others = torch.randn(64, 4, generator=torch.Generator().manual_seed(10**6))
        score = self.score(step, float(_error(network, others)))
        self.validated.append((step, score))
        return {"error": score}


def _error(network: nn.Module, numbers: Tensor) -> Tensor:
    return (network(numbers) - numbers.sum(1, keepdim=True)).square().mean()
