"""Labels on another grid whose axes are parallel to theirs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimseg.data.volume import Grid, Volume


def label_on_grid(label: Volume, grid: Grid) -> NDArray:
    """Labels at the voxel centres of `grid`, nearest neighbour.

    Args:
        label: Labelmap `(i, j, k)`.
        grid: A grid whose axes are those of the labelmap, permuted, flipped, scaled or shifted.
    """
    relation = np.linalg.inv(label.grid.affine) @ grid.affine
    result = label.array
    partner = np.abs(relation[:3, :3]).argmax(axis=0)  # source axis of each new axis
    indices: list[NDArray] = [np.empty(0)] * 3
    for axis in range(3):
        source = int(partner[axis])
        position = relation[source, axis] * np.arange(grid.size[axis]) + relation[source, 3]
        indices[source] = np.clip(np.floor(position + 0.5 - 1e-6), 0, label.array.shape[source] - 1).astype(np.intp)
    return np.ascontiguousarray(result[np.ix_(*indices)].transpose(partner))
