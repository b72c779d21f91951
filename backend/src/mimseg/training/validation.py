"""Scores on whole validation cases, on each case's own grid: sliding window, then back to the scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mimseg.data.labels.connected import keep_main_piece
from mimseg.data.labels.scheme import IGNORED
from mimseg.data.labels.structures import Label
from mimseg.data.preprocessing import restore, restore_probability
from mimseg.events import Reporter
from mimseg.inference.probabilities import to_probabilities
from mimseg.inference.sliding_window import sliding_window
from mimseg.metrics.bootstrap import bootstrap_interval, by_subject
from mimseg.metrics.overlap import dice
from mimseg.metrics.surface import surface_distances
from mimseg.networks.settings import NetworkSettings
from mimseg.stopping import check
from mimseg.training.crops.cache import TrainingCase


def predict_case(
    network: nn.Module,
    case: TrainingCase,
    shape: NetworkSettings,
    overlap: float,
    pieces: Sequence[Sequence[int]] = (),
) -> NDArray[np.bool_]:
    """Each structure's voxels `(K, i, j, k)` on the case's own grid.

    A network with as many outputs as there are structures has no background class: its outputs are independent, and
    structures may overlap.

    Args:
        network: In evaluation mode.
        case: Loaded with what validation needs.
        shape: Of the network.
        overlap: Of windows.
        pieces: Groups of classes of which only the main piece stays, as in `Description.pieces`; none where structures
            may overlap.
    """
    device = next(network.parameters()).device

    def predict(batch: NDArray) -> NDArray:
        with torch.no_grad():
            return network(torch.from_numpy(batch).to(device)).float().cpu().numpy()

    if case.prepared is None or case.membership is None:
        raise ValueError("the case was loaded without what validation needs")
    structures = len(case.membership)
    multilabel = shape.classes == structures
    logits = sliding_window(case.prepared.array, predict, shape.window, overlap, multilabel=multilabel)
    probabilities = to_probabilities(logits, multilabel)
    if multilabel:
        return np.stack([restore_probability(channel, case.prepared) > 0.5 for channel in probabilities])
    labels = restore(probabilities, case.prepared)
    for group in pieces:
        keep_main_piece(labels, group)
    return np.stack([labels == index for index in range(1, structures + 1)])


def mean_dice(found: NDArray[np.bool_], case: TrainingCase) -> float:
    """Mean Dice over the structures `(K, i, j, k)`; one that is absent in both counts as 1."""
    scores = []
    for own, true in zip(*judged(found, case), strict=True):
        total = int(own.sum()) + int(true.sum())
        scores.append(2 * int((own & true).sum()) / total if total else 1.0)
    return float(np.mean(scores))


def judged(found: NDArray[np.bool_], case: TrainingCase) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Each structure's voxels as found and as they are true, `(K, i, j, k)`, both without those that are ignored."""
    if case.truth is None or case.membership is None:
        raise ValueError("the case was loaded without what validation needs")
    known = case.truth != IGNORED
    return found & known, case.membership[:, np.where(known, case.truth, 0)]


def score_cases(
    network: nn.Module,
    cases: Sequence[TrainingCase],
    labels: Sequence[Label],
    shape: NetworkSettings,
    overlap: float,
    reporter: Reporter,
    pieces: Sequence[Sequence[int]] = (),
) -> dict[str, Any]:
    """Dice, surface Dice at 1 mm, HD95 and volume error of every case and structure, and their summary.

    Cases are numbered, not named: the scores travel with the model. Boxes of one case have its number, and with it
    rows of their own; the case counts once, and so does a person with several cases. `pieces` is as for `predict_case`.
    """
    rows: list[dict[str, Any]] = []
    numbers: dict[str, int] = {}
    subjects = {case.identifier: case.subject or case.identifier for case in cases}
    for number, case in enumerate(cases):
        check()
        own_number = numbers.setdefault(case.identifier, len(numbers) + 1)
        reporter.progress("score", number, len(cases))
        found = predict_case(network, case, shape, overlap, pieces)
        spacing = case.prepared.source_grid.spacing  # type: ignore[union-attr]
        for label, own, true in zip(labels, *judged(found, case), strict=True):
            rows.append({"case": own_number, "label": label.name, **_measure(own, true, spacing)})
    reporter.progress("score", len(cases), len(cases))
    return {"validation": rows, "summary": summarize(rows, labels, list(subjects.values()))}


def _measure(found: NDArray, true: NDArray, spacing: tuple[float, float, float]) -> dict[str, float | None]:
    """Scores of one structure of one case; None where a score is undefined."""
    distances = surface_distances(found, true, spacing)
    scores = {
        "dice": dice(found, true),
        "surface_dice_1mm": distances.surface_dice(1.0),
        "hd95_mm": distances.hd95_mm(),
        "volume_error_ml": (int(found.sum()) - int(true.sum())) * float(np.prod(spacing)) / 1000,
    }
    return {name: round(value, 5) if np.isfinite(value) else None for name, value in scores.items()}


def summarize(rows: Sequence[dict[str, Any]], labels: Sequence[Label], subjects: Sequence[str]) -> dict[str, Any]:
    """Mean over cases per structure; median and worst of the cases' foreground Dice, its mean and bootstrap interval.

    The mean and its interval are over subjects, whose number is named where it is not that of the cases. A case that
    has no structure, and in which none was found, has no score; without any, the summary has None.

    Args:
        rows: Scores of every case and structure.
        labels: The structures.
        subjects: Subject of case 1, 2, ...; of a case without a known one, what stands for it alone.
    """
    per_label = {}
    for label in labels:
        own = [row for row in rows if row["label"] == label.name]
        per_label[label.name] = {
            key: _mean([row[key] for row in own]) for key in own[0] if key not in ("case", "label")
        }
    numbers = sorted({row["case"] for row in rows})
    by_case = [[row["dice"] for row in rows if row["case"] == number] for number in numbers]
    scores = {number: value for number, value in zip(numbers, map(_mean, by_case), strict=True) if value is not None}
    means = np.array(list(scores.values()))
    order = {subject: place for place, subject in enumerate(dict.fromkeys(subjects))}
    people = by_subject(means, [order[subjects[number - 1]] for number in scores])
    low, high = bootstrap_interval(people)
    scored = means.size > 0
    return {
        "cases": len(numbers),
        **({"subjects": len(order)} if len(order) < len(numbers) else {}),
        "mean_dice": float(people.mean()) if scored else None,
        "median_dice": float(np.median(means)) if scored else None,
        "worst_dice": float(means.min()) if scored else None,
        "interval_95": [low, high],
        "per_label": per_label,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the defined values, None if there are none."""
    defined = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(defined)) if defined else None
