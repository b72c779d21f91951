"""Turn the minutes of a study into steps, by timing a few steps of every kind of run; kept in the plan."""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mimseg.commands.study.plan import with_steps
from mimseg.commands.study.runner import Runner
from mimseg.commands.study.settings import StudySettings
from mimseg.errors import UserError
from mimseg.events import InnerReporter, Reporter
from mimseg.studies.design import GIVEN
from mimseg.studies.plan import PRETRAINING, Plan, Run, write_plan

PROBE_STEPS = 8
# Pre-training gets twice as many steps as fine-tuning unless the user says otherwise.
PRETRAIN_STEPS_PER_STEP = 2
FEWEST_STEPS_PER_VALIDATION = 2
ROUND_PRETRAINING_TO = 10


@dataclass(frozen=True)
class Times:
    """Seconds of a run.

    Attributes:
        step: Of one step.
        fixed: Of everything else: reading, validation, scoring.
    """

    step: float
    fixed: float


def find_steps(plan: Plan, settings: StudySettings, reporter: Reporter) -> Plan:
    """The plan with the steps asked for, or with those that fit into the minutes.

    Raises:
        UserError: The minutes are too few.
    """
    if settings.steps is not None and settings.pretrain_steps is not None:
        return with_steps(plan, settings.pretrain_steps, settings.steps, {"how": "given"})
    times = probe(plan, settings, reporter)
    runs = {run.name: run for run in plan.runs}.values()
    kinds = {run.name: times[kind_of(run)] for run in runs}
    pretraining = sum(kinds[run.name].step for run in runs if run.kind == PRETRAINING)
    finetuning = sum(kinds[run.name].step for run in runs if run.kind != PRETRAINING)
    fixed = sum(kinds[run.name].fixed for run in runs)
    left = 60 * (settings.minutes or 0) - fixed
    pretrain_steps, steps = _share_out(left, pretraining, finetuning, settings)
    least = FEWEST_STEPS_PER_VALIDATION * plan.design.validations
    if steps < least or (pretraining and pretrain_steps < least):
        needed = settings.pretrain_steps or PRETRAIN_STEPS_PER_STEP * least, settings.steps or least
        minutes = (fixed + needed[0] * pretraining + needed[1] * finetuning) / 60
        raise UserError(
            f"{settings.minutes:g} minutes are too few for the {len(runs)} runs of this study.",
            f"Give at least {minutes:.1f} minutes, fewer seeds, or fewer values to compare.",
            code="too-few-minutes",
        )
    expected = (fixed + pretrain_steps * pretraining + steps * finetuning) / 60
    budget = {"how": "probe", "minutes": settings.minutes, "expected_minutes": round(expected, 1)}
    reporter.info(f"{len(runs)} runs: {pretrain_steps} steps of pre-training, {steps} of fine-tuning each.")
    return with_steps(plan, pretrain_steps, steps, budget)


def _share_out(left: float, pretraining: float, finetuning: float, settings: StudySettings) -> tuple[int, int]:
    """Steps of a pre-training and of a fine-tuning, as asked for or as fit.

    Args:
        left: Seconds for all steps.
        pretraining: Seconds of one step of every pre-training.
        finetuning: Seconds of one step of every fine-tuning.
        settings: What was asked for.
    """
    unit = settings.design.validations
    if settings.steps is not None:
        fits = (left - settings.steps * finetuning) / pretraining if pretraining else 0
        return _whole(fits, ROUND_PRETRAINING_TO), settings.steps
    if settings.pretrain_steps is not None:
        return settings.pretrain_steps, _whole((left - settings.pretrain_steps * pretraining) / finetuning, unit)
    steps = left / (PRETRAIN_STEPS_PER_STEP * pretraining + finetuning)
    return _whole(PRETRAIN_STEPS_PER_STEP * steps, ROUND_PRETRAINING_TO), _whole(steps, unit)


def probe(plan: Plan, settings: StudySettings, reporter: Reporter) -> dict[str, Times]:
    """Times of every kind of run; fine-tuning costs the same from every start, so it is timed from scratch."""
    kinds = {kind_of(run): run for run in plan.runs}
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        plan_path = Path(folder) / "plan.json"
        write_plan(plan_path, plan)
        for number, (kind, run) in enumerate(kinds.items()):
            reporter.progress("probe", number, len(kinds))
            short = replace(
                run, initial="", settings={**run.settings, "steps": PROBE_STEPS, "validations": 1, "initial": ""}
            )
            watch = _Stopwatch(reporter)
            Runner(plan, plan_path, Path(folder), settings, watch).train(short)
            times[kind] = watch.times(1 if run.kind == PRETRAINING else plan.design.validations)
        reporter.progress("probe", len(kinds), len(kinds))
    return times


class _Stopwatch(InnerReporter):
    """Notes when steps end."""

    def __init__(self, outer: Reporter) -> None:
        super().__init__(Reporter())
        self.warning = outer.warning  # type: ignore[method-assign]
        self.progress = self._note  # type: ignore[method-assign]
        self._began = time.monotonic()
        self._steps: list[float] = []

    def _note(self, phase: str, done: float, total: float) -> None:
        if phase == "train":
            self._steps.append(time.monotonic())

    def times(self, validations: int) -> Times:
        """Seconds of a run with so many validations; the probe validated and scored once."""
        gaps = [later - earlier for earlier, later in itertools.pairwise(self._steps)]
        step = statistics.median(gaps)
        reading, examining = self._steps[0] - self._began, time.monotonic() - self._steps[-1]
        return Times(step, reading + examining * (validations + 1) / 2)


def kind_of(run: Run) -> str:
    """Runs of one kind cost the same."""
    free = {"seed", "steps", "data", "initial", GIVEN}
    return json.dumps({key: value for key, value in run.settings.items() if key not in free}, sort_keys=True)


def _whole(steps: float, unit: int) -> int:
    return max(0, int(steps) // unit * unit)
