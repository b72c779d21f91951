"""What can be said of differences between few trainings on few people.

Tests pair the scores of the same cases: scores are averaged over seeds, then over the cases of one subject, and the
signs of the subjects' differences are flipped (Fisher's randomisation test; Good, Permutation, Parametric and Bootstrap
Tests of Hypotheses, 2005, section 3.7). They say how far the result carries to other people of the same kind, not to
other seeds or data sets: therefore the spread over seeds stands beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimseg.metrics.bootstrap import bootstrap_interval, by_subject

SIGNIFICANCE = 0.05
EXACT_UP_TO = 14
FLIPS = 20_000
SMOOTHING = 3
ONE_SEED = "holds over cases, but with one seed: not shown"
TOO_FEW = "cannot be shown with so few subjects"


def smooth(values: ArrayLike, width: int = SMOOTHING) -> NDArray[np.float64]:
    """Mean of each value and the `width - 1` before it; shorter by `width - 1` than `values`."""
    sums = np.cumsum(np.concatenate([[0.0], np.asarray(values, float)]))
    return (sums[width:] - sums[:-width]) / width


def first_reached(steps: Sequence[int], values: Sequence[float], threshold: float) -> int | None:
    """The first step whose smoothed value is at least `threshold`; None if there is none. Nothing is interpolated."""
    for step, value in zip(steps[SMOOTHING - 1 :], smooth(values), strict=True):
        if value >= threshold - 1e-12:
            return int(step)
    return None


def sign_flip_test(differences: ArrayLike, seed: int = 0) -> float:
    """Two-sided p value of paired differences whose signs would be exchangeable if there were no effect.

    Exact up to 14 differences, otherwise from 20,000 random flips, the observed one counted among them.

    Args:
        differences: One number a subject.
        seed: Of the random flips.

    Returns:
        p; NaN without differences.
    """
    values = np.asarray(differences, float)
    if values.size == 0 or not np.isfinite(values).all():
        return math.nan
    observed = abs(values.mean()) - 1e-12
    if values.size <= EXACT_UP_TO:
        numbers = np.arange(2**values.size)[:, None]
        signs = 1.0 - 2.0 * ((numbers >> np.arange(values.size)) & 1)
        return float((abs(signs @ values / values.size) >= observed).mean())
    signs = np.random.default_rng(seed).choice((-1.0, 1.0), (FLIPS, values.size))
    return float((1 + np.count_nonzero(abs(signs @ values / values.size) >= observed)) / (1 + FLIPS))


def fewest_subjects(comparisons: int) -> int:
    """How many can show a difference: the smallest two-sided p of n paired signs is 2 / 2^n, and Holm multiplies it."""
    subjects = 2
    while comparisons * 2 / 2**subjects >= SIGNIFICANCE:
        subjects += 1
    return subjects


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm, Scandinavian Journal of Statistics 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, largest = [math.nan] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


@dataclass(frozen=True)
class Estimate:
    """Mean foreground Dice of one or several rows.

    Attributes:
        mean: Over seeds, then subjects.
        interval: 95 % bootstrap interval of the mean over subjects.
        seeds: Mean over subjects for each seed.
    """

    mean: float
    interval: tuple[float, float]
    seeds: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.interval[0]:.3f}, {self.interval[1]:.3f}]"

    @property
    def spread(self) -> str:
        """Lowest and highest seed."""
        return f"{min(self.seeds):.3f} to {max(self.seeds):.3f}"


def estimate(dice: NDArray[np.float64], subjects: Sequence[int]) -> Estimate:
    """Summary of the Dice `(seeds, cases)`, NaN where a seed has no score of a case; some case must have one."""
    seeds = tuple(float(by_subject(row, subjects).mean()) for row in dice)
    counts = np.isfinite(dice).sum(axis=0)
    over_seeds = np.where(counts, np.nan_to_num(dice).sum(axis=0) / np.maximum(counts, 1), np.nan)
    values = by_subject(over_seeds, subjects)
    return Estimate(float(values.mean()), bootstrap_interval(values), seeds)


@dataclass(frozen=True)
class Comparison:
    """A paired difference in Dice.

    Attributes:
        first: What is compared.
        second: With what.
        effect: Mean of first minus second over subjects.
        interval: 95 % bootstrap interval of the effect over subjects.
        p: Of the sign-flip test.
        corrected: p corrected for the number of comparisons in the study.
        seeds: Effect with each seed.
        too_few: There are too few subjects for any difference to be shown.
    """

    first: str
    second: str
    effect: float
    interval: tuple[float, float]
    p: float
    corrected: float
    seeds: tuple[float, ...]
    too_few: bool = False

    @property
    def shown(self) -> bool:
        """True if it holds over the cases with two seeds or more: one cannot tell a difference from its own chance."""
        return self.over_cases and len(self.seeds) > 1

    @property
    def over_cases(self) -> bool:
        """True if the corrected p is below 0.05 and every seed agrees: p does not know the chance of a seed."""
        return self.corrected < SIGNIFICANCE and self.agreeing == len(self.seeds)

    @property
    def result(self) -> str:
        """What may be said of it, for tables."""
        if self.over_cases and not self.shown:
            return ONE_SEED
        if self.too_few:
            return TOO_FEW
        return "shown" if self.shown else "no difference shown"

    @property
    def agreeing(self) -> int:
        """Number of seeds whose effect has the sign of the whole."""
        return sum(value * self.effect > 0 for value in self.seeds)

    @property
    def word(self) -> str:
        """`higher` or `lower`."""
        return "higher" if self.effect > 0 else "lower"

    @property
    def figures(self) -> str:
        """Effect, interval and p in words; and the seeds if they disagree."""
        low, high = self.interval
        text = f"{self.effect:+.3f} Dice, 95 % interval {low:+.3f} to {high:+.3f}, {format_p(self.corrected)}"
        if self.agreeing == len(self.seeds) or not self.effect:
            return text
        return f"{text}, {self.agreeing} of {len(self.seeds)} seeds {self.word}"


def format_p(value: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


@dataclass(frozen=True)
class Pair:
    """Two groups of runs to compare, Dice `(seeds, cases)` each, the same seeds and cases in both.

    A case without a score is NaN in all of them.
    """

    first: str
    second: str
    first_dice: NDArray[np.float64]
    second_dice: NDArray[np.float64]


def compare(pairs: Sequence[Pair], subjects: Sequence[int]) -> list[Comparison]:
    """Test all pairs of a study together.

    Args:
        pairs: Groups of runs.
        subjects: Number of the subject of each case.
    """
    differences = [pair.first_dice - pair.second_dice for pair in pairs]
    values = [by_subject(difference.mean(axis=0), subjects) for difference in differences]
    p_values = [sign_flip_test(value) for value in values]
    return [
        Comparison(
            pair.first,
            pair.second,
            float(value.mean()),
            bootstrap_interval(value),
            p,
            corrected,
            tuple(float(by_subject(row, subjects).mean()) for row in difference),
            not corrected < SIGNIFICANCE and len(value) < fewest_subjects(len(pairs)),
        )
        for pair, difference, value, p, corrected in zip(
            pairs, differences, values, p_values, holm(p_values), strict=True
        )
    ]
