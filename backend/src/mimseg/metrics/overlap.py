"""Overlap and volume of label maps, all classes from one pass over the voxels.

Rule for empty classes: absent from both label maps, a class has no score (NaN) and is left out of
means; absent from one of them only, its Dice is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of one class.

    Attributes:
        predicted: Voxels of the class in the prediction.
        reference: Voxels of the class in the reference.
        common: Voxels of the class in both.
    """

    predicted: int
    reference: int
    common: int

    @property
    def dice(self) -> float:
        """Dice coefficient 2|A∩B| / (|A|+|B|); NaN if the class is in neither, 0 if in one only."""
        total = self.predicted + self.reference
        return 2.0 * self.common / total if total else math.nan


def overlaps(predicted: NDArray, reference: NDArray, values: list[int]) -> dict[int, Overlap]:
    """Counts of each class in `values`.

    Args:
        predicted: Integer label map, any shape, values >= 0.
        reference: Integer label map of the same shape.
        values: Label values; may contain 0, the background.

    Raises:
        ValueError: The shapes differ.
    """
    if predicted.shape != reference.shape:
        raise ValueError(f"label maps of shapes {predicted.shape} and {reference.shape} cannot be compared")
    length = max(values, default=0) + 1
    agreeing = reference[predicted == reference]
    counts = [_count(labels, length) for labels in (predicted, reference, agreeing)]
    return {value: Overlap(*(int(count[value]) for count in counts)) for value in values}


def dice(predicted: NDArray, reference: NDArray) -> float:
    """Dice coefficient of two masks of the same shape; NaN if both are empty, 0 if one is."""
    return overlaps(np.asarray(predicted, bool), np.asarray(reference, bool), [1])[1].dice


def volume_ml(voxels: int, spacing: tuple[float, float, float]) -> float:
    """Volume in mL of a number of voxels with edges `spacing` in mm."""
    return voxels * math.prod(spacing) / 1000.0


def volume_error_ml(overlap: Overlap, spacing: tuple[float, float, float]) -> float:
    """Predicted minus reference volume in mL: positive if too much was segmented."""
    return volume_ml(overlap.predicted - overlap.reference, spacing)


def volume_error_percent(overlap: Overlap) -> float:
    """Predicted minus reference volume in percent of the reference; NaN if the reference is empty."""
    if not overlap.reference:
        return math.nan
    return 100.0 * (overlap.predicted - overlap.reference) / overlap.reference


def mean_of_defined(scores: list[float]) -> float:
    """Mean of the scores that are not NaN; NaN if none is left."""
    defined = [score for score in scores if not math.isnan(score)]
    return sum(defined) / len(defined) if defined else math.nan


def _count(labels: NDArray, length: int) -> NDArray[np.int64]:
    flat = labels.reshape(-1, order="A") if labels.flags.f_contiguous else labels.reshape(-1)
    if flat.dtype.kind == "b":
        flat = flat.view(np.uint8)
    # In slices: bincount converts its input to 64-bit integers.
    counts = np.zeros(length, np.int64)
    for start in range(0, flat.size, 1 << 22):
        part = flat[start : start + (1 << 22)]
        counts += np.bincount(part[part < length], minlength=length)
    return counts
