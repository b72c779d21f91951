"""Scores of a cross-validation, and whether the start helped: paired over subjects, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels import Label
from mimseg.studies.statistics import Comparison, Pair, compare, format_p
from mimseg.training.validation import summarize

NAMES = {"start": "this start", "scratch": "from scratch", "without-own": "without the pre-training on own volumes"}
# The smallest two-sided p of n paired signs is 2 / 2^n.
FEWEST_SUBJECTS = 6


def cross_validation_scores(
    rows: Mapping[str, Sequence[dict[str, Any]]], labels: Sequence[Label], subjects: Sequence[str], folds: int
) -> dict[str, Any]:
    """What the model carries as its scores.

    Args:
        rows: Scores of every case and structure by arm; `start` is the model's own recipe.
        labels: The structures.
        subjects: Subject of case 1, 2, ...
        folds: Number of folds.

    Returns:
        `method`, `validation`, `summary`, and with several arms `comparison` and `verdict`.
    """
    summary = summarize(rows["start"], labels)
    scores: dict[str, Any] = {
        "method": f"{folds}-fold cross-validation by subject; the model itself was trained on all cases",
        "summary": summary,
        "validation": list(rows["start"]),
    }
    others = [arm for arm in rows if arm != "start"]
    if not others:
        return scores
    dice = {arm: case_dice(rows[arm], len(subjects)) for arm in rows}
    numbers = [sorted(set(subjects)).index(subject) for subject in subjects]
    pairs = [Pair(NAMES["start"], NAMES[arm], dice["start"][None], dice[arm][None]) for arm in others]
    comparisons = compare(pairs, numbers)
    scores["comparison"] = {
        NAMES[arm]: {
            "mean Dice": round(float(dice[arm].mean()), 4),
            "worst case": round(float(dice[arm].min()), 4),
        }
        for arm in rows
    }
    scores["verdict"] = " ".join(verdict(comparison, len(set(subjects))) for comparison in comparisons)
    return scores


def case_dice(rows: Sequence[dict[str, Any]], cases: int) -> NDArray[np.float64]:
    """Mean Dice over the structures of case 1, 2, ...; a structure that is absent and was not found is left out."""
    means = []
    for number in range(1, cases + 1):
        own = [row["dice"] for row in rows if row["case"] == number and row["dice"] is not None]
        means.append(float(np.mean(own)) if own else 1.0)
    return np.array(means)


def verdict(comparison: Comparison, subjects: int) -> str:
    """One sentence that claims no more than was measured."""
    low, high = comparison.interval
    figures = f"{comparison.effect:+.3f} Dice, 95 % interval {low:+.3f} to {high:+.3f}, {subjects} subjects"
    against = f"{comparison.first} against {comparison.second}"
    if subjects < FEWEST_SUBJECTS:
        return f"{against}: {figures}; with fewer than {FEWEST_SUBJECTS} subjects no difference can be shown."
    if comparison.corrected < 0.05:
        word = "better" if comparison.effect > 0 else "worse"
        return f"{against}: {word} on these cases ({figures}, {format_p(comparison.corrected)})."
    return f"{against}: no difference shown ({figures}, {format_p(comparison.corrected)})."
