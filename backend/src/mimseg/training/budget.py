"""How long a training lasts, how often it looks at itself, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mimseg.errors import UserError
from mimseg.training.optimiser.schedule import Schedule


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps, or minutes (schedules follow the clock).

    Minutes hold steps with the wait for their crops, validations and checkpoints.
    """

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise UserError("Give either --steps or --minutes.", "For example --minutes 30.", code="bad-usage")
        if (self.steps or 0) < 0 or (self.minutes or 0) < 0 or (self.steps == 0 or self.minutes == 0):
            raise UserError("--steps and --minutes must be larger than 0.", "For example --minutes 30.", "bad-usage")

    def fraction(self, step: int, seconds: float) -> float:
        """Finished share of the run, 0..1."""
        done = step / self.steps if self.steps else seconds / 60 / (self.minutes or 1)
        return min(done, 1.0)

    def done(self, step: int, seconds: float) -> tuple[float, float]:
        """What is finished and all there is, in steps or seconds."""
        if self.steps:
            return step, self.steps
        total = 60 * (self.minutes or 0)
        return round(min(seconds, total), 1), total


@dataclass(frozen=True)
class LoopSettings:
    """What the loop itself needs to know.

    Attributes:
        budget: How long.
        schedule: Learning rates and averaging over the run.
        validations: How often to validate over the whole run.
        checkpoint_seconds: Most seconds of work that a kill can cost.
        seed: What networks draw in a step depends on it and on the step only.
    """

    budget: Budget
    schedule: Schedule = field(default_factory=Schedule)
    validations: int = 10
    checkpoint_seconds: float = 60.0
    seed: int = 0


@dataclass
class LoopState:
    """Where a run stands; part of the checkpoint."""

    step: int = 0
    seconds: float = 0.0
    validations: int = 0
    best: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)
