"""Scores over many cases: means, medians, bootstrap intervals, and how many cases have none.

A class that is in neither file of a case has no score there; a class that is in one file only has
Dice 0, surface Dice 0 and an infinite HD95. Means and medians are taken over the finite scores, and
the numbers of undefined and infinite ones stand next to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from mimseg.metrics.bootstrap import bootstrap_interval
from mimseg.metrics.overlap import mean_of_defined
from mimseg.metrics.scores import ClassScores

SUMMARISED = (
    "dice",
    "surface_dice",
    "hd95_mm",
    "volume_error_ml",
    "volume_error_percent",
    "absolute_volume_error_percent",
)


@dataclass(frozen=True)
class CaseScores:
    """Scores of one case.

    Attributes:
        name: File name without extension.
        classes: Scores by class name; classes that are in neither file are missing.
        background_dice: Dice of what belongs to no scored class.
    """

    name: str
    classes: dict[str, ClassScores]
    background_dice: float

    def mean(self, metric: str) -> float:
        """Mean of a score over the classes where it is defined."""
        return mean_of_defined([getattr(scores, metric) for scores in self.classes.values()])

    def score(self, name: str, metric: str) -> float:
        """A score of one class; NaN if the class is in neither file."""
        return getattr(self.classes[name], metric) if name in self.classes else math.nan

    @property
    def dice_with_background(self) -> float:
        """Mean Dice over the classes and the background, as some papers report it."""
        return mean_of_defined([self.background_dice, *(scores.dice for scores in self.classes.values())])


@dataclass(frozen=True)
class Summary:
    """A score over cases.

    Attributes:
        mean: Mean of the finite values; NaN if there are none.
        median: Median of the finite values.
        interval: 95 % percentile bootstrap interval of the mean; NaN with fewer than two values.
        cases: Number of finite values.
        undefined: Cases without a value: the class is in neither file.
        infinite: Cases with an infinite value: the class is in one file only.
    """

    mean: float
    median: float
    interval: tuple[float, float]
    cases: int
    undefined: int
    infinite: int


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report holds.

    Attributes:
        tolerance_mm: Tolerance of the surface Dice.
        cases: Scores by case.
        overall: Summaries of the per-case means over classes, by score; `dice_with_background` among them.
        classes: Summaries by class and score.
        left_out: Cases that could not be scored.
    """

    tolerance_mm: float
    cases: tuple[CaseScores, ...]
    overall: dict[str, Summary]
    classes: dict[str, dict[str, Summary]]
    left_out: tuple[str, ...] = ()


def summarise(
    cases: Sequence[CaseScores], names: Sequence[str] | None, tolerance_mm: float, seed: int = 0
) -> Evaluation:
    """Summaries over cases.

    Args:
        cases: Scores by case.
        names: The classes in the report's order; None for all that occur.
        tolerance_mm: Tolerance that the surface Dice was computed with.
        seed: Seed of the bootstrap.
    """
    classes = list(dict.fromkeys(name for case in cases for name in case.classes)) if names is None else names
    overall = {metric: _summary([case.mean(metric) for case in cases], seed) for metric in SUMMARISED}
    overall["dice_with_background"] = _summary([case.dice_with_background for case in cases], seed)
    by_class = {
        name: {metric: _summary([case.score(name, metric) for case in cases], seed) for metric in SUMMARISED}
        for name in classes
    }
    return Evaluation(tolerance_mm, tuple(cases), overall, by_class)


def _summary(values: list[float], seed: int) -> Summary:
    finite = [value for value in values if math.isfinite(value)]
    return Summary(
        mean=fmean(finite) if finite else math.nan,
        median=median(finite) if finite else math.nan,
        interval=bootstrap_interval(finite, seed),
        cases=len(finite),
        undefined=sum(math.isnan(value) for value in values),
        infinite=sum(math.isinf(value) for value in values),
    )
