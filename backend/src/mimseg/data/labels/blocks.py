"""From the probabilities of a small block of working voxels to the labels of the scan's voxels inside it.

Interpolating every class of a whole volume is what costs time and memory; most blocks lie inside one structure, and few
hold more than three. Which classes can win in a block follows from their bounds, without interpolating any.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimseg.data.resampling import AxisPart, resample_block

# Bounds and interpolated values are rounded differently.
_ROUNDING = 1e-6


def most_probable(probabilities: NDArray[np.float32], parts: Sequence[AxisPart]) -> NDArray[np.intp] | int:
    """The class of largest interpolated probability at each target voxel; of equal ones the first.

    Args:
        probabilities: `(K, x, y, z)`, contiguous.
        parts: Along x, y, z.

    Returns:
        `(X, Y, Z)`, or one number if the class is the same everywhere.
    """
    candidates = possible_winners(probabilities.reshape(len(probabilities), -1))
    if len(candidates) == 1:
        return int(candidates[0])
    chosen = probabilities if len(candidates) == len(probabilities) else probabilities[candidates]
    interpolated = resample_block(chosen, parts)
    winner = np.full(interpolated.shape[1:], candidates[0])
    best = interpolated[0]
    for number, channel in zip(candidates[1:], interpolated[1:], strict=True):
        np.copyto(winner, number, where=channel > best)
        best = np.maximum(best, channel)
    return winner


def possible_winners(probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
    """Classes `(K, n)` that may have the largest value in some weighted mean of voxels, ascending.

    A mean of voxels lies between the least and the largest of their values. So the winner has at least the least value
    of any one class, and at least the mean over any set of classes; a class that stays below that cannot win.
    """
    largest = probabilities.max(axis=1)
    leading = probabilities[largest >= min(0.5, float(largest.max()))]
    floor = max(float(probabilities.min(axis=1).max()), float(leading.sum(axis=0).min()) / len(leading))
    return np.flatnonzero(largest >= floor - _ROUNDING)


def inside_structures(
    probabilities: NDArray[np.float32], parts: Sequence[AxisPart]
) -> list[tuple[int, NDArray[np.bool_]]]:
    """Structures `(K, x, y, z)` whose interpolated probability is above 0.5 somewhere, and where `(X, Y, Z)` it is."""
    flat = probabilities.reshape(len(probabilities), -1)
    present = np.flatnonzero(flat.max(axis=1) > 0.5)
    if not len(present):
        return []
    return list(zip(present.tolist(), resample_block(probabilities[present], parts) > 0.5, strict=True))
