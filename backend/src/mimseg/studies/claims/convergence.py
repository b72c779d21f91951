"""Claim (i): does masked image modelling make fine-tuning converge faster than contrastive learning and scratch?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median

from mimseg.studies.design import Design, Variant, title_of
from mimseg.studies.figures import Curve, draw_convergence, draw_estimates
from mimseg.studies.findings import (
    MISSING,
    Figure,
    Findings,
    Table,
    dice_cells,
    make_verdict,
    mean_minutes,
    minutes,
    say,
)
from mimseg.studies.plan import Plan
from mimseg.studies.results import Group, Results
from mimseg.studies.statistics import SMOOTHING, first_reached, smooth

QUESTION = (
    "Does masked image modelling let fine-tuning converge faster than contrastive learning and random weights, "
    "and end higher?"
)
NOT_REACHED = "not reached"


def variants(design: Design) -> tuple[Variant, ...]:
    """One row a start."""
    return tuple(Variant.of_start(start, title_of(start), {}) for start in design.methods)


@dataclass(frozen=True)
class Speed:
    """When a start reached the reference's best.

    Attributes:
        steps: First step for each seed; None where it was not reached.
        reference: That of the reference itself for each seed.
        interval: Steps between two validations: no shorter time can be told from none.
    """

    steps: tuple[int | None, ...]
    reference: tuple[int, ...]
    interval: int

    @property
    def factors(self) -> tuple[float | None, ...]:
        """Steps of the reference divided by steps of this start."""
        return tuple(
            None if step is None else other / step for step, other in zip(self.steps, self.reference, strict=True)
        )

    @property
    def shown(self) -> str:
        """Median and range of the factors, and with how many seeds there is one."""
        found = [factor for factor in self.factors if factor is not None]
        if not found:
            return NOT_REACHED
        text = f"{median(found):.2f}× ({min(found):.2f} to {max(found):.2f})"
        lost = len(self.factors) - len(found)
        return f"{text}, {NOT_REACHED} with {lost} of {len(self.factors)} seeds" if lost else text


def comparisons_of(plan: Plan) -> list[Group]:
    """All that is masked or given against what is simpler."""
    rows = plan.variants
    return [
        (row.name, [row], other.name, [other]) for row in rows if row.level for other in rows if other.level < row.level
    ]


def conclude(results: Results) -> Findings:
    """Speed against the reference, and the end of all that is masked or given against what is simpler."""
    design = results.plan.design
    rows = results.plan.variants
    reference = title_of(design.threshold_from)
    thresholds = _thresholds(results, reference)
    speeds = {row.name: _speed(results, row, reference, thresholds) for row in rows}
    asked = [row for row in rows if row.level]
    comparisons, impossible = results.compare(comparisons_of(results.plan))
    faster = []
    for row in asked:
        speed = speeds[row.name]
        if speed is None:
            impossible.append(f"the speed of {row.name}")
        elif row.name != reference:
            faster.append(_say_speed(row.name, reference, speed))
    return Findings(
        verdict=make_verdict(results, [*faster, *say(comparisons)], impossible),
        tables=(_table(results, reference, speeds),),
        figures=_figures(results, thresholds),
        comparisons=tuple(comparisons),
        definitions=(
            f"Threshold: for each seed the best smoothed validation Dice of {reference} (mean of a validation and the "
            f"{SMOOTHING - 1} before it). A run reaches it at its first validation whose smoothed Dice is at least as "
            "high; nothing is interpolated, so a step is known to one validation interval, and a speed is called "
            "different only if there are two seeds or more and each differs by more than that.",
            f"Speed-up: steps of {reference} divided by steps of the run with the same seed, that is with the same "
            "labelled cases, crops and order. A run that never gets there has none.",
            "The paper's abstract says 1.40× against contrastive learning; how it defines that could not be read, so "
            "the two numbers need not mean the same.",
            "The validation Dice that curves show also chooses the weights that are scored, equally for all starts.",
        ),
        numbers={
            "reference": reference,
            "threshold": thresholds,
            "speed": {
                name: {"steps": list(speed.steps), "speed_up": list(speed.factors)}
                for name, speed in speeds.items()
                if speed is not None
            },
        },
    )


def _thresholds(results: Results, reference: str) -> list[float] | None:
    """The reference's best smoothed Dice for each seed."""
    row = next(row for row in results.plan.variants if row.name == reference)
    runs = results.finetunings(row)
    return None if runs is None else [float(smooth(run.curve).max()) for run in runs]


def _speed(results: Results, row: Variant, reference: str, thresholds: list[float] | None) -> Speed | None:
    own = results.finetunings(row)
    other = results.finetunings(next(item for item in results.plan.variants if item.name == reference))
    if own is None or other is None or thresholds is None:
        return None
    steps = [
        [first_reached(run.curve_steps, run.curve, value) for run, value in zip(runs, thresholds, strict=True)]
        for runs in (own, other)
    ]
    interval = own[0].curve_steps[1] - own[0].curve_steps[0]
    return Speed(tuple(steps[0]), tuple(step for step in steps[1] if step is not None), interval)


def _say_speed(name: str, reference: str, speed: Speed) -> str:
    found = [factor for factor in speed.factors if factor is not None]
    if len(speed.factors) == 1:
        return f"with one seed no difference in speed is shown between {name} and {reference}, {speed.shown}"
    if not found:
        return f"{name} never reached the best validation score of {reference}"
    gains = [other - step for step, other in zip(speed.steps, speed.reference, strict=True) if step is not None]
    every = len(found) == len(speed.factors)
    if every and (min(gains) > speed.interval or max(gains) < -speed.interval):
        word = "faster" if min(gains) > 0 else "more slowly"
        return f"{name} reached the best validation score of {reference} {word} with every seed, {speed.shown}"
    return f"no difference in speed shown between {name} and {reference}, {speed.shown}"


def _table(results: Results, reference: str, speeds: dict[str, Speed | None]) -> Table:
    rows = []
    for row in results.plan.variants:
        speed = speeds[row.name]
        steps = MISSING if speed is None else ", ".join(NOT_REACHED if s is None else str(s) for s in speed.steps)
        pretraining = results.pretraining(row)
        rows.append(
            (
                row.name,
                *dice_cells(results, row),
                steps,
                MISSING if speed is None else speed.shown,
                minutes(pretraining),
                mean_minutes(results.finetunings(row)),
            )
        )
    columns = (
        "start",
        "Dice [95 % interval]",
        "range over seeds",
        f"steps to the best of {reference}, each seed",
        "speed-up, median (range)",
        "minutes of pre-training",
        "minutes of fine-tuning",
    )
    return Table("Starts", columns, tuple(rows))


def _figures(results: Results, thresholds: list[float] | None) -> tuple[Figure, ...]:
    plan = results.plan
    curves = [
        Curve(row.name, run.curve_steps, run.curve)
        for row in plan.variants
        for seed in plan.design.seeds
        if (run := results.finetuning(row, seed)) is not None
    ]
    found = [(row.name, item) for row in plan.variants if (item := results.estimate(row)) is not None]
    figures = []
    if curves:
        caption = (
            "Validation Dice while fine-tuning, one line a seed: as measured, and smoothed, with the reference's best "
            "as dotted lines. Curves of finished runs only."
        )
        draw = partial(draw_convergence, curves=curves, thresholds=thresholds or [], floor=plan.design.floor)
        figures.append(Figure("curves", caption, draw))
    if found:
        names, estimates = zip(*found, strict=True)
        caption = "Final Dice: mean and 95 % interval over subjects, small dots the seeds."
        draw = partial(draw_estimates, names=names, estimates=estimates, floor=plan.design.floor)
        figures.append(Figure("dice", caption, draw))
    return tuple(figures)
