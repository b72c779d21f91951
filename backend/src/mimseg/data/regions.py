"""Boxes of voxels: regions of interest given in millimetres, foreground boxes, crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mimseg.data.volume import Grid
from mimseg.errors import UserError

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
# A box whose edges run off the axes by less of a voxel is not turned; and what a share may lie beyond 0 or 1.
_STRAIGHT, _ROUNDING = 0.1, 1e-6


@dataclass(frozen=True)
class Box:
    """Voxels `start <= index < stop` along three axes.

    Attributes:
        start: First index along each axis.
        stop: One past the last index along each axis.
        shares: Of a box that encloses a turned one, `(3, 4)`: rows that take `(i, j, k, 1)` of a voxel's centre to how
            far along each edge of the turned box it lies, 0 to 1 inside. None where both are the same.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    shares: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def whole(cls, size: Sequence[int]) -> Box:
        """The box of all voxels of an array of that size."""
        x, y, z = (int(edge) for edge in size)
        return cls((0, 0, 0), (x, y, z))

    @property
    def size(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        x, y, z = (high - low for low, high in zip(self.start, self.stop, strict=True))
        return x, y, z

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of the box in an array."""
        x, y, z = (slice(low, high) for low, high in zip(self.start, self.stop, strict=True))
        return x, y, z

    def shifted(self, offset: Sequence[int]) -> Box:
        """The same box, `offset` voxels further along each axis."""
        moved = [(low + o, high + o) for low, high, o in zip(self.start, self.stop, offset, strict=True)]
        (a, b), (c, d), (e, f) = moved
        return Box((a, c, e), (b, d, f))

    def erase_outside(self, start: Sequence[int], *arrays: NDArray) -> None:
        """Set to 0, in place, the voxels whose centres lie outside of the turned box, if this encloses one.

        Args:
            start: Index `(i, j, k)` of the first voxel of the arrays.
            arrays: `(..., i, j, k)`.
        """
        if self.shares is None:
            return
        planes, rows, columns = arrays[0].shape[-3:]
        j, k = np.arange(rows)[:, None] + start[1], np.arange(columns)[None, :] + start[2]
        for plane in range(planes):  # Plane by plane: whole arrays of coordinates would need far more memory.
            outside = np.zeros((rows, columns), bool)
            for a, b, c, d in self.shares:
                share = a * (plane + start[0]) + b * j + c * k + d
                outside |= (share < -_ROUNDING) | (share > 1 + _ROUNDING)
            for array in arrays:
                array[..., plane, :, :][..., outside] = 0


def box_from_ras(bounds: Sequence[float], grid: Grid) -> Box:
    """The smallest box of voxels of `grid` that encloses a box given in physical coordinates.

    Args:
        bounds: x0, x1, y0, y1, z0, z1 in mm, RAS, as 3D Slicer shows the bounds of an ROI; or, for a turned box,
            twelve numbers: one corner and the three edges that meet there, each x, y, z in mm, RAS.
        grid: The volume to cut from; the result encloses a box that is turned against the grid's axes, and knows it.

    Raises:
        UserError: The bounds are not six ascending numbers, or the box misses the volume.
    """
    values = np.asarray(bounds, float)
    if values.shape == (12,) and np.isfinite(values).all() and _volume(values) > 0:
        return _enclosing_box(values, bounds, grid)
    if values.shape != (6,) or not np.isfinite(values).all() or (values[0::2] >= values[1::2]).any():
        raise UserError(
            f"The region {_shown(bounds)} is not a box.",
            "Give x0,x1,y0,y1,z0,z1 in mm (RAS), each lower bound first, for example -45,-5,-45,5,-40,15.",
            code="bad-region",
        )
    edges = np.diag(values[1::2] - values[0::2])
    return _enclosing_box(np.concatenate([values[0::2], edges.ravel()]), bounds, grid)


def _volume(values: NDArray) -> float:
    return abs(float(np.linalg.det(values[3:].reshape(3, 3))))


def _enclosing_box(values: NDArray, bounds: Sequence[float], grid: Grid) -> Box:
    """The box around a corner and three edges, twelve numbers in RAS; `bounds` is what the user gave."""
    ends = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
    corners = values[:3] + ends @ values[3:].reshape(3, 3)
    indices = grid.to_index(corners * _RAS_TO_LPS)
    # Half a voxel further, each bound lies on the face between two voxels; a voxel belongs to the box if any
    # part of it does. The tolerance keeps a bound on a face from drawing in the voxel on its other side.
    low = np.floor(indices.min(axis=0) + 0.5 + 1e-6).astype(int)
    high = np.ceil(indices.max(axis=0) + 0.5 - 1e-6).astype(int)
    start, stop = np.maximum(low, 0), np.minimum(high, grid.size)
    if (start >= stop).any():
        centre = corners.mean(axis=0)
        raise UserError(
            f"The region {_shown(bounds)}, centred at RAS {_shown(centre)} mm, lies outside of the volume, which "
            f"spans RAS {_shown(ras_bounds(grid))} mm.",
            "Check the signs: coordinates are RAS (x grows to the right, y to the front, z upwards).",
            code="bad-region",
        )
    return Box(
        (int(start[0]), int(start[1]), int(start[2])), (int(stop[0]), int(stop[1]), int(stop[2])), _shares_of(indices)
    )


def _shares_of(corners: NDArray) -> NDArray[np.float64] | None:
    """See `Box.shares`; of corners `(8, 3)` in voxels: the edges at the first one end in those numbered 4, 2 and 1."""
    edges = (corners[[4, 2, 1]] - corners[0]).T
    if (np.sort(np.abs(edges), axis=0)[1] < _STRAIGHT).all():
        return None
    inverse = np.linalg.inv(edges)
    return np.column_stack([inverse, -inverse @ corners[0]])


def ras_bounds(grid: Grid) -> tuple[float, ...]:
    """x0, x1, y0, y1, z0, z1 in mm (RAS) of the axis-parallel box around all voxels of `grid`."""
    faces = [(-0.5, edge - 0.5) for edge in grid.size]
    corners = np.array([[i, j, k] for i in faces[0] for j in faces[1] for k in faces[2]])
    points = grid.to_point(corners) * _RAS_TO_LPS
    return tuple(float(v) for v in np.column_stack((points.min(axis=0), points.max(axis=0))).ravel())


def bounding_box(mask: NDArray[np.bool_]) -> Box | None:
    """The smallest box around the true voxels of `mask` `(x, y, z)`, or None if there are none."""
    start, stop = [], []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        hits = np.flatnonzero(mask.any(axis=others))
        if hits.size == 0:
            return None
        start.append(int(hits[0]))
        stop.append(int(hits[-1]) + 1)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _shown(numbers: Sequence[float] | NDArray) -> str:
    return ", ".join(f"{number:.4g}" if isinstance(number, (int, float)) else str(number) for number in numbers)
