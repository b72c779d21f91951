"""How like that of the training the arrangement of structures is, however a body is turned and large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.description import Description
from mimseg.data.volume import Grid

# In a description's `training`: what `places_record` gives.
ENTRY = "places_mm"
_AXES = ("left", "back", "up")
# Fewer cases do not tell how much places vary.
FEWEST_CASES = 3
# A body may be so many times larger or smaller than those of the training.
LARGEST_SCALE = 2.0
# What two models of heads found in heads and large parts of them has 0.72 and more, with a tumour or a stroke too; what
# they painted into other parts of a body, up to 0.52.
LIKE = 0.65
_ROUNDS = 5


@dataclass(frozen=True)
class Extents:
    """Where the classes of a label map lie.

    Attributes:
        voxels: Of each class, background first.
        middles: LPS millimetres `(classes, 3)`: medians of the voxels along the axes of the array, which a few stray
            voxels do not move; nan for a class without voxels.
    """

    voxels: NDArray[np.int64]
    middles: NDArray[np.float64]


def extents_of(classes: NDArray[np.integer], count: int, grid: Grid) -> Extents:
    """Volumes and middles of the classes 0 .. `count` - 1 of `(i, j, k)`, plane by plane to save memory."""
    along = [np.zeros((count, size), np.int64) for size in classes.shape]
    rows, columns = (np.arange(size) for size in classes.shape[1:])
    for number, plane in enumerate(classes):
        first = plane.astype(np.int64)
        along[0][:, number] = np.bincount(plane.ravel(), minlength=count)
        for axis, places in ((1, rows[:, None]), (2, columns[None, :])):
            size = classes.shape[axis]
            along[axis] += np.bincount((first * size + places).ravel(), minlength=count * size).reshape(count, size)
    voxels = along[0].sum(axis=1)
    indices = np.stack([_medians(counts) for counts in along], axis=1)
    middles = np.where(voxels[:, None] > 0, grid.to_point(indices), np.nan)
    return Extents(voxels, middles)


def places_record(names: Sequence[str], middles: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """What is kept of the places of the structures that every case of the training had.

    Args:
        names: Of the structures.
        middles: For each case the LPS millimetres `(K, 3)` of each structure's middle; nan where it is missing.

    Returns:
        Millimetres to the left, back and top of the middle of all structures, by structure; empty for too few cases,
        or if a case is unlike the others.
    """
    if len(middles) < FEWEST_CASES:
        return {}
    always = np.asarray(np.isfinite(np.stack(middles)).all(axis=(0, 2)), bool)
    if always.sum() < 2:
        return {}
    cases = [_centred(case[always]) for case in middles]
    mean = cases[0]
    for _ in range(_ROUNDS):
        mean = np.mean([case @ _rotation(case, mean) for case in cases], axis=0)
    if min(likeness(mean, case) for case in cases) < LIKE:
        return {}
    kept = [name for name, own in zip(names, always.tolist(), strict=True) if own]
    return {
        name: {axis: round(float(value), 1) for axis, value in zip(_AXES, place, strict=True)}
        for name, place in zip(kept, mean, strict=True)
    }


def known_places(description: Description) -> dict[int, NDArray[np.float64]]:
    """Places in the training by class index (from 1), of the structures that each of its cases had."""
    record = description.training.get(ENTRY)
    if not isinstance(record, Mapping):
        return {}
    found = {}
    for index, label in enumerate(description.labels, start=1):
        entry = record.get(label.name)
        values = [entry.get(axis) for axis in _AXES] if isinstance(entry, Mapping) else []
        if values and all(isinstance(value, (int, float)) for value in values):
            found[index] = np.array(values, float)
    return found


def seen_in(known: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
    """Places `(n, 3)` as a scan of this grid shows them.

    A scan that is shorter than they reach shows a slab of what is there, and what it cuts has its middle in the slab:
    along such an axis places are moved together until they fit, so that the other axes decide.
    """
    field = np.abs(np.asarray(grid.direction, float)) @ (np.asarray(grid.size, float) * np.asarray(grid.spacing, float))
    reach = np.maximum(np.ptp(known, axis=0), 1e-6)
    return known * np.minimum(1.0, field / reach)


def likeness(known: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Share of the spread of places `(n, 3)` that is explained by known ones, turned, moved and scaled to fit best.

    1 is the same arrangement; of many places that have nothing to do with one another, less than a half is.
    """
    known, found = _centred(known), _centred(found)
    spread, own = float((found**2).sum()), float((known**2).sum())
    if spread == 0 or own == 0:
        return 0.0
    common = float((known @ _rotation(known, found) * found).sum())
    scale = float(np.clip(common / own, 1 / LARGEST_SCALE, LARGEST_SCALE))
    return (2 * scale * common - scale**2 * own) / spread


def _centred(places: NDArray[np.float64]) -> NDArray[np.float64]:
    return places - places.mean(axis=0)


def _rotation(places: NDArray[np.float64], onto: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation R, no mirror image, for which `places @ R` fits best (Kabsch)."""
    first, _, second = np.linalg.svd(places.T @ onto)
    mirrored = np.linalg.det(first @ second) < 0
    return first @ np.diag([1.0, 1.0, -1.0 if mirrored else 1.0]) @ second


def _medians(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Median index of each row of counts by index."""
    summed = counts.cumsum(axis=1)
    return (2 * summed < summed[:, -1:]).sum(axis=1).astype(float)
