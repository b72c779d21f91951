"""Turning a volume's axes to anatomical directions by permuting and flipping them, which is exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimseg.data.regions import Box
from mimseg.data.volume import Grid
from mimseg.errors import UserError

# Letter -> (axis of LPS space, sign along it).
_LETTERS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True)
class AxisTurn:
    """How the axes of a source array map to those of a turned array.

    Attributes:
        source_axes: Source axis that becomes turned axis 0, 1, 2.
        flipped: True where the turned axis runs against its source axis.
        source_size: Size of the source array.
    """

    source_axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    source_size: tuple[int, int, int]

    @property
    def size(self) -> tuple[int, int, int]:
        """Size of the turned array."""
        x, y, z = (self.source_size[axis] for axis in self.source_axes)
        return x, y, z

    def apply(self, array: NDArray) -> NDArray:
        """Turn the last three axes of `array`; a view."""
        lead = array.ndim - 3
        turned = array.transpose([*range(lead), *(axis + lead for axis in self.source_axes)])
        x, y, z = (slice(None, None, -1 if flip else 1) for flip in self.flipped)
        return turned[..., x, y, z]

    def inverse(self) -> AxisTurn:
        """The turn back: `turn.inverse().apply(turn.apply(array))` is `array`."""
        a, b, c = (int(axis) for axis in np.argsort(self.source_axes))
        return AxisTurn((a, b, c), (self.flipped[a], self.flipped[b], self.flipped[c]), self.size)

    def apply_to_grid(self, grid: Grid) -> Grid:
        """The grid of the turned array."""
        direction = np.asarray(grid.direction, float)[:, self.source_axes]
        direction = direction * np.where(self.flipped, -1.0, 1.0)
        first = np.zeros(3)
        for axis, flip in zip(self.source_axes, self.flipped, strict=True):
            first[axis] = grid.size[axis] - 1 if flip else 0
        x, y, z = (float(value) for value in grid.to_point(first[None])[0])
        a, b, c = (float(grid.spacing[axis]) for axis in self.source_axes)
        return Grid(self.size, (a, b, c), (x, y, z), direction)

    def apply_to_box(self, box: Box) -> Box:
        """The same voxels as indices of the turned array."""
        bounds = []
        for axis, flip, edge in zip(self.source_axes, self.flipped, self.size, strict=True):
            low, high = box.start[axis], box.stop[axis]
            bounds.append((edge - high, edge - low) if flip else (low, high))
        (a, b), (c, d), (e, f) = bounds
        return Box((a, c, e), (b, d, f))


def check_orientation(orientation: str) -> None:
    """Raise UserError unless `orientation` is a code such as RAS or LPS."""
    if len(orientation) != 3 or {_LETTERS.get(letter, (None,))[0] for letter in orientation} != {0, 1, 2}:
        raise UserError(
            f"{orientation!r} is not an orientation.",
            "Use three letters, one each of R/L, A/P and S/I, for example RAS.",
            code="bad-preprocessing",
        )


def turn_to(orientation: str, grid: Grid) -> AxisTurn:
    """The turn that brings the array axes of `grid` nearest to `orientation`.

    Ties and oblique directions are settled as in nibabel's `io_orientation` (closest rotation by singular
    value decomposition, most certain axis first), so that MONAI's Orientationd gives the same array.
    """
    check_orientation(orientation)
    left, _, right = np.linalg.svd(np.asarray(grid.direction, float) * np.array([[-1.0], [-1.0], [1.0]]))
    rotation = left @ right
    nearest: dict[int, tuple[int, float]] = {}
    for source_axis in np.argsort(np.min(-(rotation**2), axis=0), kind="stable"):
        column = rotation[:, source_axis]
        space_axis = int(np.argmax(np.abs(column)))
        nearest[space_axis] = (int(source_axis), float(np.sign(column[space_axis])))
        rotation[space_axis, :] = 0
    axes, flips = [], []
    for letter in orientation:
        space_axis, lps_sign = _LETTERS[letter]
        ras_sign = lps_sign if space_axis == 2 else -lps_sign
        source_axis, sign = nearest[space_axis]
        axes.append(source_axis)
        flips.append(bool(sign != ras_sign))
    return AxisTurn((axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2]), grid.size)


def vectors_of(orientation: str) -> NDArray[np.float64]:
    """3x3; column a is the LPS unit vector of letter a of an orientation code."""
    vectors = np.zeros((3, 3))
    for axis, letter in enumerate(orientation):
        space_axis, sign = _LETTERS[letter]
        vectors[space_axis, axis] = sign
    return vectors
