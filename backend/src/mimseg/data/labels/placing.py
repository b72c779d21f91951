"""Whether labels lie on an image, and labels that cover another part of its voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.data.nifti.placement import grids_of
from mimseg.data.orientation import AxisTurn
from mimseg.data.volume import Grid
from mimseg.events import Reporter

# A label map may lie this share of a voxel beside its image: headers are rounded, and nothing is drawn finer.
_BESIDE_VOXELS = 0.1
# Voxels of two grids are the same ones up to this share of a voxel.
_SAME_VOXELS = 0.01


def lies_on(grid: Grid, like: Grid, path: Path, reporter: Reporter) -> bool:
    """True if labels lie on the image, by either transform of either file; the reporter is told of small steps.

    Args:
        grid: Of the labels.
        like: Of the image.
        path: The labels, for messages.
        reporter: Is told.
    """
    if grid.same_as(like):
        return True
    if grid.size != like.size:
        return False
    pairs = [(own, its) for own in grids_of(grid) for its in grids_of(like)]
    if any(own.same_as(its) for own, its in pairs[1:]):
        reporter.warning(
            "other-transform",
            f"{path}: these labels were placed by the other of the image's two transforms (qform and sform); voxel by "
            "voxel they fit it.",
        )
        return True
    beside = min(own.apart_from(its) for own, its in pairs)
    if beside > _BESIDE_VOXELS * min(like.spacing):
        return False
    reporter.warning("beside-image", f"{path}: these labels lie {beside:.2g} mm beside the image; they count as on it.")
    return True


def turned_like(labels: NDArray, grid: Grid, like: Grid) -> tuple[NDArray, Grid]:
    """Labels and their grid with axes that run as those of an image, if flips and swaps make them so; else as given.

    Programs that turn every volume to one orientation save the same voxels in another order.
    """
    relation = np.rint(np.asarray(like.direction).T @ np.asarray(grid.direction))
    if not np.array_equal(np.abs(relation) @ np.abs(relation).T, np.eye(3)):
        return labels, grid
    a, b, c = (int(axis) for axis in np.abs(relation).argmax(axis=1))
    flips = (bool(relation[0, a] < 0), bool(relation[1, b] < 0), bool(relation[2, c] < 0))
    turn = AxisTurn((a, b, c), flips, grid.size)
    return np.ascontiguousarray(turn.apply(labels)), turn.apply_to_grid(grid)


def place(labels: NDArray, grid: Grid, like: Grid) -> NDArray | None:
    """Labels on `like` if their voxels coincide with some of its voxels; None if they do not."""
    start = _first_voxel(grid, like)
    if start is None:
        return None
    placed = np.zeros(like.size, labels.dtype)
    last = start + grid.size - 1
    low, high = np.maximum(start, 0), np.minimum(last + 1, like.size)
    if np.any(low >= high):
        return placed
    target = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    source = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    placed[target] = labels[source]
    return placed


def union_of(first: Grid, second: Grid) -> Grid | None:
    """The smallest grid that holds all voxels of both; None if their voxels do not coincide."""
    start = _first_voxel(second, first)
    if start is None:
        return None
    low, high = np.minimum(start, 0), np.maximum(start + second.size, first.size)
    i, j, k = (int(edge) for edge in high - low)
    x, y, z = (float(value) for value in first.to_point(low[None].astype(float))[0])
    return Grid((i, j, k), first.spacing, (x, y, z), first.direction)


def _first_voxel(grid: Grid, like: Grid) -> NDArray[np.intp] | None:
    """Index of the first voxel of a grid among the voxels of another; None if their voxels do not coincide."""
    corners = np.array([np.zeros(3), np.asarray(grid.size) - 1.0])
    indices = like.to_index(grid.to_point(corners))
    start, last = np.rint(indices).astype(np.intp)
    if np.abs(indices - np.rint(indices)).max() > _SAME_VOXELS or np.any(last - start + 1 != grid.size):
        return None
    return start
