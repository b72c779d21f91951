"""Linear resampling between grids that share their axes, one plane or block at a time.

Preprocessing changes only the spacing, so interpolation is separable: three weighted sums of two neighbours.
Working plane by plane needs memory for one plane instead of one more volume. Parts of a volume are resampled by small
matrix products, which for a few voxels and many classes is faster than to gather neighbours.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping


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
    """All planes of the resampled `array` `(x, y, z)` along its first axis; may raise Stopped between two."""
    for index in range(len(weights[0].lower)):
        stopping.check()
        yield resample_plane(array, index, weights)


def resample(array: NDArray, weights: Sequence[AxisWeights]) -> NDArray[np.float32]:
    """Resample `(C, x, y, z)` to a contiguous float32 `(C, X, Y, Z)`; may raise Stopped between two planes."""
    size = tuple(len(along.lower) for along in weights)
    resampled = np.empty((array.shape[0], *size), np.float32)
    for channel, target in zip(array, resampled, strict=True):
        if all(along.identity for along in weights):
            target[...] = channel
            continue
        for plane, filled in zip(resample_planes(channel, weights), target, strict=True):
            filled[...] = plane
    return resampled


@dataclass(frozen=True)
class AxisPart:
    """Neighbouring target samples along one axis, and the source samples that they are mixed from.

    Attributes:
        source: Source samples; only the first may belong to the part before, too.
        target: Target samples, possibly none.
        own: How many of the source samples, the last ones, belong to no other part.
        matrix: `(targets, sources)` float32, weights of the source samples; None if they are the targets.
    """

    source: slice
    target: slice
    own: int
    matrix: NDArray[np.float32] | None


def axis_parts(along: AxisWeights, start: int, stop: int, edge: int) -> list[AxisPart]:
    """All that can be made of source samples `start <= index < stop` and the one before, in equal parts.

    A target sample belongs to the part of the last source sample it needs, so it is made once, wherever one cuts.

    Args:
        along: Weights along the axis.
        start: First source sample.
        stop: One past the last source sample.
        edge: Most source samples of a part, without the one it shares.
    """
    last = np.where(along.weight == 0, along.lower, along.upper)
    count = -(-(stop - start) // edge)
    bounds = [start + (stop - start) * number // count for number in range(count + 1)]
    parts = []
    for low, high in itertools.pairwise(bounds):
        first, end = (int(index) for index in np.searchsorted(last, (low, high)))
        parts.append(_axis_part(along, last, slice(first, end), low, high))
    return parts


def _axis_part(along: AxisWeights, last: NDArray[np.intp], target: slice, low: int, high: int) -> AxisPart:
    lower, weight = along.lower[target], along.weight[target]
    first = min(low, int(lower[0])) if len(lower) else low
    matrix = np.zeros((len(lower), high - first), np.float32)
    rows = np.arange(len(lower))
    matrix[rows, lower - first] = 1 - weight
    matrix[rows, last[target] - first] += np.where(weight == 0, 0, weight)
    same = matrix.shape[0] == matrix.shape[1] and bool((matrix == np.eye(len(lower), dtype=np.float32)).all())
    return AxisPart(slice(first, high), target, high - low, None if same else matrix)


def resample_block(block: NDArray[np.float32], parts: Sequence[AxisPart]) -> NDArray[np.float32]:
    """The target samples of three parts, from their source samples.

    Args:
        block: `(C, x, y, z)`, contiguous.
        parts: Along x, y, z.

    Returns:
        `(C, X, Y, Z)`; `block` itself if nothing is to be mixed.
    """
    growth = [1.0 if part.matrix is None else part.matrix.shape[0] / part.matrix.shape[1] for part in parts]
    # The axis that grows least goes first: fewer values to mix along the others.
    for axis in sorted(range(3), key=lambda axis: growth[axis]):
        matrix = parts[axis].matrix
        if matrix is None:
            continue
        if axis == 0:
            flat = block.reshape(*block.shape[:2], -1)
            block = np.matmul(matrix, flat).reshape(len(block), len(matrix), *block.shape[2:])
        else:
            block = np.matmul(matrix, block) if axis == 1 else np.matmul(block, matrix.T)
    return block
