"""Volumes as cubes of few voxels: enough to see how a case lies and whether two are the same."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SIDE = 16
_MANY = 10
# How the axes of a cube can be permuted and flipped: (axes, signs); the first one leaves it as it is.
ORIENTATIONS = tuple(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def shrink(array: NDArray) -> NDArray[np.float32]:
    """`(x, y, z)` as a cube of `SIDE` voxels an edge, each the mean of what it covers."""
    cube = np.asarray(array, np.float32)
    for axis in range(3):
        cube = np.moveaxis(np.tensordot(_covered(cube.shape[axis]), cube, (1, axis)), 0, axis)
    return np.ascontiguousarray(cube)


def coarse_image(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(x, y, z)` as one standardised row of `SIDE ** 3` values, without the extremes of its brightness.

    Not ranks, though scanners differ in contrast: those of the noise in air would look like anatomy.
    """
    cube = shrink(np.clip(image, *np.percentile(image, (0.5, 99.5)))).reshape(1, -1)
    return standardized(cube)[0]


def standardized(rows: NDArray) -> NDArray[np.float32]:
    """Rows `(n, f)` with mean 0 and length 1, so that products are correlations; constant rows become 0."""
    rows = np.asarray(rows, np.float32)
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


@dataclass(frozen=True)
class Fit:
    """How cases fit the mean of the others, in each of `ORIENTATIONS`; arrays `(n, 48)`.

    Attributes:
        alike: Correlation.
        own_side: Correlation of only that part which the orientation changes: 1 where a case is asymmetric just as the
            others are, -1 where it is so the other way round. What is symmetric (the outline of a head) counts not.
        agreed: Median of `own_side` of the other cases among themselves.
    """

    alike: NDArray[np.float32]
    own_side: NDArray[np.float32]
    agreed: NDArray[np.float32]


def fit_to_others(rows: NDArray[np.float32]) -> Fit:
    """Compare each case with the others.

    Args:
        rows: Standardised cubes `(n, SIDE ** 3)`, three or more.
    """
    alike, own_side = _fit(rows)
    if len(rows) > _MANY:
        return Fit(alike, own_side, np.broadcast_to(np.median(own_side, axis=0), own_side.shape))
    # Among few, one odd case makes the others look odd too.
    without = [np.median(_fit(np.delete(rows, row, axis=0))[1], axis=0) for row in range(len(rows))]
    return Fit(alike, own_side, np.stack(without))


def _fit(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`alike` and `own_side` of `Fit`."""
    total = rows.sum(axis=0)
    references = standardized(total - rows)
    mean = standardized(total[None])[0]
    alike, own, changed = [], [], []
    for order in orders():
        turned = rows[:, order]
        alike.append(np.einsum("nf,nf->n", turned, references))
        own.append(np.einsum("nf,nf->n", turned, rows))
        changed.append(1 - float(mean[order] @ mean))
    similar = np.stack(alike, axis=1)
    # <x - gx, r - gr> = 2 (<x, r> - <gx, r>) for flips g; the lengths are sqrt(2 - 2 <gx, x>) and the same of r.
    lengths = np.sqrt(np.maximum(1 - np.stack(own, axis=1), 0) * np.maximum(np.array(changed), 0))
    return similar, (similar[:, :1] - similar) / np.maximum(lengths, 1e-3)


@lru_cache(maxsize=1)
def orders() -> tuple[NDArray[np.intp], ...]:
    """For each of `ORIENTATIONS`, the flat indices that turn a cube to it."""
    index = np.arange(SIDE**3).reshape(SIDE, SIDE, SIDE)
    return tuple(index.transpose(axes)[:: s[0], :: s[1], :: s[2]].ravel() for axes, s in ORIENTATIONS)


@lru_cache(maxsize=64)
def _covered(edge: int) -> NDArray[np.float32]:
    """Weights `(SIDE, edge)`: the share of each source voxel in each target voxel."""
    ends = np.linspace(0, edge, SIDE + 1)
    start = np.arange(edge)
    shared = np.minimum(ends[1:, None], start + 1) - np.maximum(ends[:-1, None], start)
    weights = np.clip(shared, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
