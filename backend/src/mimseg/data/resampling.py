"""Linear resampling between grids that share their axes, one plane at a time.

Preprocessing changes only the spacing, so interpolation is separable: three weighted sums of two neighbours.
Working plane by plane needs memory for one plane instead of one more volume.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AxisWeights:
    """Which two source samples make each target sample along one axis.

    Attributes:
        lower: Index of the first source sample of each target sample.
        upper: Index of the second.
        weight: Weight of the second, 0..1, float32.
        identity: True if target and source samples are the same.
    """

    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    weight: NDArray[np.float32]
    identity: bool


def resampled_size(size: int, spacing: float, target: float) -> int:
    """Samples at distance `target` from the first to (about) the last of `size` samples at distance `spacing`.

    The rule, rounding of halves included, is that of MONAI's `compute_shape_offset`.
    """
    return int(np.round((size - 1) * spacing / target + 1.0))


def axis_weights(source_size: int, target_size: int, step: float) -> AxisWeights:
    """Weights for target samples at source positions 0, step, 2 step, ...; positions past the end are clamped."""
    positions = np.clip(np.arange(target_size) * step, 0, source_size - 1)
    # Without this, 2.9999999999 would mix in a trace of sample 2 and an exact zero would be zero no more.
    nearest = np.round(positions)
    positions = np.where(np.abs(positions - nearest) < 1e-6, nearest, positions)
    lower = np.floor(positions).astype(np.intp)
    upper = np.minimum(lower + 1, source_size - 1)
    identity = source_size == target_size and bool((positions == np.arange(target_size)).all())
    return AxisWeights(lower, upper, (positions - lower).astype(np.float32), identity)


def _mix(first: NDArray, second: NDArray, weight: NDArray[np.float32] | np.float32) -> NDArray[np.float32]:
    mixed = first.astype(np.float32)
    mixed += (second - mixed) * weight
    return mixed


def _resample_rows(plane: NDArray[np.float32], along: AxisWeights) -> NDArray[np.float32]:
    if along.identity:
        return plane
    return _mix(plane[along.lower], plane[along.upper], along.weight[:, None])


def _resample_columns(plane: NDArray[np.float32], along: AxisWeights) -> NDArray[np.float32]:
    if along.identity:
        return plane
    return _mix(plane.take(along.lower, axis=1), plane.take(along.upper, axis=1), along.weight)


def resample_plane(array: NDArray, index: int, weights: Sequence[AxisWeights]) -> NDArray[np.float32]:
    """Plane `index` along the first axis of the resampled `array` `(x, y, z)`, as float32 `(Y, Z)`."""
    x, y, z = weights
    if x.weight[index] == 0:
        plane = array[x.lower[index]].astype(np.float32)
    else:
        plane = _mix(array[x.lower[index]], array[x.upper[index]], x.weight[index])
    # The axis that grows least goes first: fewer values to mix along the other one.
    if len(y.lower) * array.shape[2] <= len(z.lower) * array.shape[1]:
        return _resample_columns(_resample_rows(plane, y), z)
    return _resample_rows(_resample_columns(plane, z), y)


def resample_planes(array: NDArray, weights: Sequence[AxisWeights]) -> Iterator[NDArray[np.float32]]:
    """All planes of the resampled `array` `(x, y, z)` along its first axis."""
    for index in range(len(weights[0].lower)):
        yield resample_plane(array, index, weights)


def resample(array: NDArray, weights: Sequence[AxisWeights]) -> NDArray[np.float32]:
    """Resample `(C, x, y, z)` to a contiguous float32 `(C, X, Y, Z)`."""
    size = tuple(len(along.lower) for along in weights)
    resampled = np.empty((array.shape[0], *size), np.float32)
    for channel, target in zip(array, resampled, strict=True):
        if all(along.identity for along in weights):
            target[...] = channel
            continue
        for plane, filled in zip(resample_planes(channel, weights), target, strict=True):
            filled[...] = plane
    return resampled
