"""Scores of a cross-validation, and whether the start helped: paired over subjects, in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels.structures import Label
from mimseg.metrics.bootstrap import by_subject
from mimseg.studies.statistics import SIGNIFICANCE, TOO_FEW, Comparison, Pair, compare, format_p
from mimseg.training.validation import summarize

NAMES = {"start": "this start", "scratch": "from scratch", "without-own": "without the pre-training on own volumes"}
NOT_COUNTED = (
    "The time of the pre-training on own volumes came on top of that of its arm; the others had nothing in its place."
)


def cross_validation_scores(
    rows: Mapping[str, Sequence[dict[str, Any]]],
    labels: Sequence[Label],
    subjects: Sequence[str],
    folds: int,
    unknown: int = 0,
    steps: Mapping[str, Sequence[int]] = MappingProxyType({}),
    pretrained: bool = False,
) -> dict[str, Any]:
    """What the model carries as its scores.

    Args:
        rows: Scores of every case and structure by arm; `start` is the model's own recipe.
        labels: The structures.
        subjects: Subject of case 1, 2, ...; of a case without a known one, what stands for it alone.
        folds: Number of folds.
        unknown: How many cases have no known subject.
        steps: Of the training of each fold, by arm.
        pretrained: `start` was pre-trained on own volumes first.

    Returns:
        `method`, `validation`, `summary`, `steps`, and with several arms `comparison` and `verdict`. Means of cases and
        the 95 % bootstrap intervals beside them are over subjects; those of single structures are over cases.
    """
    summary = summarize(rows["start"], labels, subjects)
    numbers = [sorted(set(subjects)).index(subject) for subject in subjects]
    spread = _spread(rows["start"], len(subjects))
    summary.update(spread, subjects=len(set(subjects)), per_label=_per_label(rows["start"], labels))
    summary["scored_by"] = "cases" if unknown == len(subjects) else "subjects"
    scores: dict[str, Any] = {
        "method": f"{folds}-fold cross-validation {by_whom(len(subjects), unknown)}; the model itself was "
        "trained on all cases",
        "summary": summary,
        "steps": {NAMES[arm]: _between(own) for arm, own in steps.items()},
        "validation": list(rows["start"]),
    }
    others = [arm for arm in rows if arm != "start"]
    if not others:
        return scores
    every = {arm: case_dice(rows[arm], len(subjects)) for arm in rows}
    scored = np.isfinite(list(every.values())).any(axis=0)
    # Where nothing is to be found, an arm that finds nothing is right if another finds something.
    dice = {arm: np.nan_to_num(own[scored], nan=1.0) for arm, own in every.items()}
    pairs = [Pair(NAMES["start"], NAMES[arm], dice["start"][None], dice[arm][None]) for arm in others]
    scored_numbers = np.asarray(numbers)[scored].tolist()
    comparisons = compare(pairs, scored_numbers)
    scores["comparison"] = {
        NAMES[arm]: {
            "mean Dice": round(float(by_subject(dice[arm], scored_numbers).mean()), 4),
            "worst case": round(float(dice[arm].min()), 4),
        }
        for arm in rows
    }
    people = f"{len(set(scored_numbers))} {summary['scored_by']}"
    sentences = [verdict(comparison, people) for comparison in comparisons]
    scores["verdict"] = " ".join([*sentences, NOT_COUNTED] if pretrained else sentences)
    return scores


def _between(steps: Sequence[int]) -> str:
    low, high = min(steps), max(steps)
    return f"{low}" if low == high else f"{low} to {high}"


def by_whom(cases: int, unknown: int) -> str:
    """What folds are made of, in words that claim no subjects where none are known."""
    if unknown == cases:
        return "by case, since no subject is known: each case counts as one"
    if unknown:
        return f"by subject; {unknown} of {cases} cases without a known subject count as subjects of their own"
    return "by subject"


def worst_case(rows: Sequence[dict[str, Any]]) -> int:
    """Number of the case with the lowest mean Dice; the first of equal ones, or of all where none has a score."""
    numbers = sorted({row["case"] for row in rows})
    return numbers[int(np.argmin(np.nan_to_num([_mean_dice(rows, number) for number in numbers], nan=np.inf)))]


def _spread(rows: Sequence[dict[str, Any]], cases: int) -> dict[str, Any]:
    """How much cases differ, and which is worst."""
    every = case_dice(rows, cases)
    dice = every[np.isfinite(every)]
    lower, upper = np.percentile(dice, [25, 75])
    return {
        "standard_deviation_dice": float(dice.std(ddof=1)) if len(dice) > 1 else None,
        "quartiles_dice": [float(lower), float(upper)],
        "worst_case": worst_case(rows),
    }


def _per_label(rows: Sequence[dict[str, Any]], labels: Sequence[Label]) -> dict[str, dict[str, Any]]:
    """Mean, median and worst of each structure; a score that is undefined in a case is left out, and counted."""
    table = {}
    for label in labels:
        own = [row for row in rows if row["label"] == label.name]
        dice, surface, distance, error = (
            np.array([row[key] for row in own if row.get(key) is not None], float)
            for key in ("dice", "surface_dice_1mm", "hd95_mm", "volume_error_ml")
        )
        table[label.name] = {
            "dice": _of(np.mean, dice),
            "median_dice": _of(np.median, dice),
            "worst_dice": _of(np.min, dice),
            "surface_dice_1mm": _of(np.mean, surface),
            "hd95_mm": _of(np.mean, distance),
            "median_hd95_mm": _of(np.median, distance),
            "volume_error_ml": _of(np.mean, error),
            "absolute_volume_error_ml": _of(np.mean, np.abs(error)),
            "cases_without_hd95": len(own) - len(distance),
        }
    return table


def _of(statistic: Any, values: NDArray[np.float64]) -> float | None:
    return float(statistic(values)) if values.size else None


def _mean_dice(rows: Sequence[dict[str, Any]], number: int) -> float:
    own = [row["dice"] for row in rows if row["case"] == number and row["dice"] is not None]
    return float(np.mean(own)) if own else math.nan


def case_dice(rows: Sequence[dict[str, Any]], cases: int) -> NDArray[np.float64]:
    """Mean Dice over the structures of case 1, 2, ...; a structure that is absent and was not found is left out.

    NaN for a case in which that holds for all.
    """
    return np.array([_mean_dice(rows, number) for number in range(1, cases + 1)])


def verdict(comparison: Comparison, people: str) -> str:
    """One sentence that claims no more than was measured.

    Args:
        comparison: Of two arms.
        people: How many subjects score it, in words.
    """
    low, high = comparison.interval
    figures = f"{comparison.effect:+.3f} Dice, 95 % interval {low:+.3f} to {high:+.3f}, {people}"
    against = f"{comparison.first} against {comparison.second}"
    if comparison.too_few:
        return f"{against}: {figures}; a difference {TOO_FEW}."
    if comparison.corrected < SIGNIFICANCE:
        word = "better" if comparison.effect > 0 else "worse"
        return f"{against}: {word} on these cases ({figures}, {format_p(comparison.corrected)})."
    return f"{against}: no difference shown ({figures}, {format_p(comparison.corrected)})."
