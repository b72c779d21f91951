"""The plan of a fine-tuning, made before it starts: what the user left open follows from a short probe here.

Window: that of the start weights or of the data; smaller ones while the counted need of one crop, with a margin,
exceeds the free memory. The device is never changed. Batch: 2; 1 where fewer than `FEWEST_STEPS` steps of 2 crops
fit into the minutes; 4 where `MANY_STEPS` steps of 4 fit, and nothing that exceeds the memory. What the user gave is
never changed. nnU-Net plans in the same order, window before batch, and with batches of 2 (Isensee et al., 2021).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mimseg.commands.finetune.settings import USUAL_BATCH, FinetuneSettings
from mimseg.errors import UserError
from mimseg.events import format_seconds
from mimseg.training.budget import Budget
from mimseg.training.memory.cost import Cost

BATCHES = (1, 2, 4)
FEWEST_STEPS = 100
MANY_STEPS = 4000
# This counts what is kept for the backward pass; buffers and other programs come on top.
MEMORY_MARGIN = 1.3
# Share of a run on the clock that validation leaves to training, at least; see `training.loop`.
TRAINING_SHARE = 0.8


@dataclass(frozen=True)
class TrainingPlan:
    """What a fine-tuning will do and take.

    Attributes:
        device: Where it runs, e.g. `cpu` or `cuda:0`.
        device_name: For people.
        precision: A Fabric precision.
        window: Voxels along x, y, z.
        batch: Crops per step.
        seconds_per_step: Measured now; validation is not counted.
        steps: Of one training: given, or what about fits into its minutes.
        minutes_per_run: Of one training: given, or expected.
        runs: How many trainings: folds, comparisons and the model itself.
        pretrain_minutes: Of a pre-training on one's own volumes before; None if it is given in steps.
        minutes: Of everything; None while a part is unknown. Reading, scoring and writing come on top.
        memory_bytes: Counted for one batch; a batch that does not fit is computed in parts.
        memory_free_bytes: What the device has to spare now; None if the system does not tell.
        cases: To train on.
        validation_cases: To choose the best weights by.
        reasons: Why it is so, one sentence each.
    """

    device: str
    device_name: str
    precision: str
    window: tuple[int, int, int]
    batch: int
    seconds_per_step: float
    steps: int
    minutes_per_run: float
    runs: int
    pretrain_minutes: float | None
    minutes: float | None
    memory_bytes: int
    memory_free_bytes: int | None
    cases: int
    validation_cases: int
    reasons: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {**asdict(self), "window": list(self.window), "reasons": list(self.reasons)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> TrainingPlan:
        """The plan that `to_json` wrote."""
        x, y, z = values["window"]
        return cls(**{**values, "window": (x, y, z), "reasons": tuple(values["reasons"])})

    def in_words(self) -> str:
        """For the user, before the run starts."""
        window = "x".join(map(str, self.window))
        free = f" of {self.memory_free_bytes / 1e9:.2g} GB that are free" if self.memory_free_bytes is not None else ""
        trainings = f"{self.runs} trainings of about" if self.runs > 1 else "About"
        length = f"{self.steps} steps in {format_seconds(60 * self.minutes_per_run)}"
        whole = f", {format_seconds(60 * self.minutes)} in all" if self.minutes is not None and self.runs > 1 else ""
        return "\n".join(
            (
                f"Device: {self.device_name} ({self.device}), {self.precision}.",
                f"Windows of {window} voxels, {self.batch} to a step; about {self.memory_bytes / 1e9:.2g} GB{free}.",
                f"{trainings} {length}{whole}, reading and scoring not counted.",
                *self.reasons,
            )
        )


def choose_batch(
    budget: Budget, seconds_of: Callable[[int], float], crops_per_volume: int, fits: Callable[[int], bool]
) -> tuple[int, str]:
    """Crops of a step where the user left that open, and why.

    Args:
        budget: Of one training. Given steps say nothing about time: the batch is the usual one then.
        seconds_of: Seconds of a step of so many crops; only asked for where it matters.
        crops_per_volume: The batch is a multiple of it.
        fits: Whether so many crops fit into the memory.
    """
    candidates = [batch for batch in BATCHES if batch % crops_per_volume == 0] or [crops_per_volume]
    usual = USUAL_BATCH if USUAL_BATCH in candidates else candidates[0]
    if not fits(usual) and usual > candidates[0]:
        return candidates[0], (
            f"Each step learns from {pieces(candidates[0])}, because there is not enough memory for {usual}."
        )
    if budget.minutes is None:
        return usual, ""
    left = 60 * budget.minutes * TRAINING_SHARE

    def steps(batch: int) -> int:
        return int(left / seconds_of(batch))

    if usual > candidates[0] and steps(usual) < FEWEST_STEPS:
        fewer = candidates[0]
        return fewer, (
            f"Each step learns from {pieces(fewer)}, because the time is short: with {usual} it would suffice for only "
            f"{steps(usual)} steps, and a training should have at least {FEWEST_STEPS}."
        )
    more = candidates[-1]
    if more > usual and steps(usual) >= MANY_STEPS and steps(more) >= MANY_STEPS and fits(more):
        return more, f"Each step learns from {pieces(more)}: there is time for {steps(more)} such steps."
    return usual, ""


def pieces(batch: int) -> str:
    """A batch in words for people who do not know the word."""
    return f"{batch} pieces of scans" if batch > 1 else "one piece of a scan"


def fitting_window(
    window: tuple[int, int, int],
    smaller: Callable[[tuple[int, int, int]], tuple[int, int, int] | None],
    need: Callable[[tuple[int, int, int]], float],
    free: int,
) -> tuple[int, int, int]:
    """The first window whose need, with a margin, is within the free memory; the smallest one if there is none.

    Args:
        window: The wanted one.
        smaller: The next smaller window, or None.
        need: Bytes for one crop.
        free: Bytes.
    """
    while MEMORY_MARGIN * need(window) > free and (following := smaller(window)) is not None:
        window = following
    return window


def make_plan(
    settings: FinetuneSettings,
    cost: Cost,
    device: tuple[str, str, str],
    window: tuple[int, int, int],
    cases: tuple[int, int],
    free: int | None,
    reasons: Sequence[str],
) -> TrainingPlan:
    """Put the numbers of one training together.

    Args:
        settings: With the batch that was chosen.
        cost: Of one step of that batch.
        device: Device, its name for people, and precision.
        window: Voxels along x, y, z.
        cases: To train on, and to validate on.
        free: Bytes of free memory, or None.
        reasons: Why it is so.
    """
    budget = settings.budget
    share = TRAINING_SHARE if cases[1] else 1.0
    if budget.steps:
        steps, minutes = budget.steps, budget.steps * cost.seconds_per_step / 60
    else:
        minutes = budget.minutes or 0.0
        steps = max(1, int(60 * minutes * share / cost.seconds_per_step))
    minutes = float(f"{minutes:.6g}")
    return TrainingPlan(
        *device, window, settings.batch or USUAL_BATCH, cost.seconds_per_step, steps, minutes, 1, 0.0, minutes,
        cost.memory_bytes, free, *cases, tuple(reason for reason in reasons if reason),
    )  # fmt: skip


def of_all_runs(plan: TrainingPlan, runs: int, pretraining: Budget | None) -> TrainingPlan:
    """The plan of one training as that of `runs` such trainings after a pre-training."""
    before = 0.0 if pretraining is None else pretraining.minutes
    total = None if before is None else float(f"{before + runs * plan.minutes_per_run:.4g}")
    return replace(plan, runs=runs, pretrain_minutes=before, minutes=total)


def as_started(settings: FinetuneSettings, work: Path) -> tuple[FinetuneSettings, TrainingPlan | None]:
    """What was left open, as the plan of the run in `work` has it; and that plan, unless an older mimseg made the run.

    Raises:
        UserError: The settings of the run cannot be read.
    """
    try:
        started = json.loads((work / "settings.json").read_text(encoding="utf-8"))
        x, y, z = started["network"]["window"]
        batch = int(started["batch"])
        plan = TrainingPlan.from_json(started["plan"]) if "plan" in started else None
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UserError(
            f"The settings of the run in {work} cannot be read ({fault}).", "Start again.", "bad-run"
        ) from fault
    settings = replace(settings, batch=settings.batch or batch, window=settings.window or (x, y, z))
    return (settings if "preprocessing" in started else as_passed_over(settings)), plan


def as_passed_over(settings: FinetuneSettings) -> FinetuneSettings:
    """For a run begun by a mimseg that did not look at these options where there were start weights."""
    return replace(settings, preprocessing=None, modality=None) if settings.initial else settings
