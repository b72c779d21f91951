"""All scores of one case: each class of a label map against the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.typing import NDArray

from mimseg.metrics.overlap import overlaps, volume_error_ml, volume_error_percent, volume_ml
from mimseg.metrics.surface import surface_distances


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class in one case; NaN where a score is not defined.

    Attributes:
        dice: Dice coefficient; 0 if the class is in one label map only.
        hd95_mm: 95th-percentile Hausdorff distance; infinite if the class is in one label map only.
        surface_dice: Normalised surface distance at the tolerance; 0 if the class is in one only.
        predicted_ml: Volume in the prediction.
        reference_ml: Volume in the reference.
        volume_error_ml: Predicted minus reference volume.
        volume_error_percent: The same in percent of the reference; NaN if the reference has none.
    """

    dice: float
    hd95_mm: float
    surface_dice: float
    predicted_ml: float
    reference_ml: float
    volume_error_ml: float
    volume_error_percent: float

    @property
    def absolute_volume_error_percent(self) -> float:
        """Size of the relative volume error: errors of opposite sign do not cancel in its mean."""
        return abs(self.volume_error_percent)


def score_classes(
    predicted: NDArray,
    reference: NDArray,
    spacing: tuple[float, float, float],
    values: Sequence[int],
    tolerance_mm: float = 1.0,
) -> dict[int, ClassScores]:
    """Scores of the classes that are in at least one of the label maps.

    Args:
        predicted: `(i, j, k)` integer label map.
        reference: `(i, j, k)` integer label map on the same grid.
        spacing: Voxel edges along i, j, k in mm.
        values: Label values to score.
        tolerance_mm: Distance within which surfaces count as agreeing.

    Raises:
        ValueError: The shapes differ.
    """
    scores = {}
    for value, overlap in overlaps(predicted, reference, list(values)).items():
        if not overlap.predicted and not overlap.reference:
            continue
        distances = surface_distances(predicted == value, reference == value, spacing)
        scores[value] = ClassScores(
            dice=overlap.dice,
            hd95_mm=distances.hd95_mm(),
            surface_dice=distances.surface_dice(tolerance_mm),
            predicted_ml=volume_ml(overlap.predicted, spacing),
            reference_ml=volume_ml(overlap.reference, spacing),
            volume_error_ml=volume_error_ml(overlap, spacing),
            volume_error_percent=volume_error_percent(overlap),
        )
    return scores
