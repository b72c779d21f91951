"""How uncertain a mean over few cases is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray


def by_subject(values: ArrayLike, subjects: Sequence[int]) -> NDArray[np.float64]:
    """Mean over the cases of each subject, in the order of their numbers; one without a scored case is left out.

    Args:
        values: One number a case, NaN for one without a score.
        subjects: Number of the subject of each case.
    """
    array, numbers = np.asarray(values, float), np.asarray(subjects)
    scored = np.isfinite(array)
    array, numbers = array[scored], numbers[scored]
    return np.array([array[numbers == number].mean() for number in np.unique(numbers)])


def bootstrap_interval(
    values: ArrayLike,
    seed: int = 0,
    statistic: Literal["mean", "median"] = "mean",
    resamples: int = 10_000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over cases.

    Cases are drawn with replacement; they are taken as independent, so two scans of one person make
    the interval too narrow: give the means of `by_subject` instead. Efron and Tibshirani, An
    Introduction to the Bootstrap (1993), chapter 13.

    Args:
        values: One number a case; numbers that are not finite are left out.
        seed: Seed of the resampling: the same values give the same interval.
        statistic: What is computed from each resample.
        resamples: Number of resamples.
        confidence: Share of the resamples between the two bounds.

    Returns:
        Lower and upper bound; NaN for both with fewer than two values.
    """
    sample = np.asarray(values, float)
    sample = sample[np.isfinite(sample)]
    if sample.size < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    results = []
    # In blocks, so that thousands of cases do not fill the memory.
    block = max(1, 4_000_000 // sample.size)
    for start in range(0, resamples, block):
        chosen = generator.integers(0, sample.size, (min(block, resamples - start), sample.size))
        drawn = sample[chosen]
        results.append(drawn.mean(axis=1) if statistic == "mean" else np.median(drawn, axis=1))
    tail = (1 - confidence) / 2 * 100
    lower, upper = np.percentile(np.concatenate(results), [tail, 100 - tail])
    return float(lower), float(upper)
