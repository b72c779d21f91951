"""Pieces of label maps: how much of some structures hangs together, and dropping what hangs nowhere on the main piece.

A scan is walked through in slabs, whose pieces are joined where slabs meet: no array of numbered voxels of the whole
scan is ever there. Voxels that touch at a corner are connected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg.data.regions import bounding_box

# Voxels of a slab; their numbers take four bytes each, for a moment three times.
SLAB_VOXELS = 16_000_000
# What a network finds of one structure may fall apart where it is thin: pieces with this share of the largest one stay.
SHARE_OF_MAIN = 0.1


@dataclass(frozen=True)
class Pieces:
    """The pieces of a group of structures.

    Attributes:
        voxels: Of each piece by its number, 0 for numbers that are none.
        sides: Bits of the sides of the array that a piece reaches.
        numbers: Number of the piece that a number within a slab belongs to, slab after slab.
    """

    voxels: NDArray[np.int64]
    sides: NDArray[np.uint8]
    numbers: NDArray[np.int64]

    @property
    def main(self) -> int:
        """Number of the largest piece."""
        return int(self.voxels.argmax())

    @property
    def main_share(self) -> float:
        """Share of the voxels that the largest piece has; 1 where there are none."""
        return float(self.voxels.max() / self.voxels.sum()) if self.voxels.any() else 1.0

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return int(np.count_nonzero(self.voxels))


def keep_main_piece(classes: NDArray[np.integer], group: Sequence[int]) -> int:
    """Set to 0 what belongs to a group of classes and does not hang on the largest piece of the group.

    Where that piece is cut by a side of the array, others that are cut by the same side stay: they may hang together
    beyond it. Of a group of one class, other large pieces stay, too (`SHARE_OF_MAIN`).

    Args:
        classes: `(i, j, k)`, changed in place.
        group: Classes that together are one piece.

    Returns:
        How many voxels were dropped.
    """
    inside = _box_of(classes, group)
    if inside is None:
        return 0
    wanted = _table(classes, group)
    found = _pieces_in(classes, inside, wanted)
    kept = (found.sides & found.sides[found.main]) > 0
    if len(group) == 1:
        kept |= found.voxels >= SHARE_OF_MAIN * found.voxels[found.main]
    kept[found.main] = True
    kept[0] = False
    if not np.any(found.voxels[~kept]):
        return 0
    first = 0
    for part in _slabs(classes, inside):
        mask = wanted[part]
        numbered, count = _numbered(mask)
        pieces = np.concatenate([[0], found.numbers[first : first + count]])
        part[mask & ~kept[pieces][numbered]] = 0
        first += count
    return int(found.voxels[~kept].sum())


def pieces_of(classes: NDArray[np.integer], group: Sequence[int]) -> Pieces:
    """The pieces of a group of classes in `(i, j, k)`."""
    inside = _box_of(classes, group)
    if inside is None:
        return Pieces(np.zeros(1, np.int64), np.zeros(1, np.uint8), np.zeros(0, np.int64))
    return _pieces_in(classes, inside, _table(classes, group))


def _box_of(classes: NDArray[np.integer], group: Sequence[int]) -> tuple[slice, slice, slice] | None:
    box = bounding_box(_table(classes, group)[classes])
    return None if box is None else box.slices


def _table(classes: NDArray[np.integer], group: Sequence[int]) -> NDArray[np.bool_]:
    """True for the numbers of a group."""
    table = np.zeros(np.iinfo(classes.dtype).max + 1, bool)
    table[list(group)] = True
    return table


def _slabs(classes: NDArray[np.integer], inside: tuple[slice, slice, slice]) -> Iterator[NDArray[np.integer]]:
    part = classes[inside]
    thickness = max(1, SLAB_VOXELS // max(1, part[0].size))
    for start in range(0, len(part), thickness):
        yield part[start : start + thickness]


def _numbered(mask: NDArray[np.bool_]) -> tuple[NDArray[np.uint32], int]:
    """Voxels of a slab by the number of their piece in it, from 1, and how many there are."""
    image = sitk.ConnectedComponent(sitk.GetImageFromArray(np.ascontiguousarray(mask, np.uint8)), True)
    numbered = sitk.GetArrayFromImage(image)
    return numbered, int(numbered.max(initial=0))


def _pieces_in(classes: NDArray[np.integer], inside: tuple[slice, slice, slice], wanted: NDArray[np.bool_]) -> Pieces:
    joined = _Joined()
    voxels, sides = [np.zeros(1, np.int64)], [np.zeros(1, np.uint8)]
    reached = [(span.start == 0, span.stop == size) for span, size in zip(inside, classes.shape, strict=True)]
    before: NDArray[np.int64] | None = None
    first, slabs = 0, list(_slabs(classes, inside))
    for number, part in enumerate(slabs):
        numbered, count = _numbered(wanted[part])
        joined.add(count)
        voxels.append(np.bincount(numbered.ravel(), minlength=count + 1)[1:])
        ends = [reached[0][0] and number == 0, reached[0][1] and number == len(slabs) - 1, *reached[1], *reached[2]]
        sides.append(_sides(numbered, count, ends))
        own = np.where(numbered[0] > 0, numbered[0].astype(np.int64) + first, 0)
        if before is not None:
            joined.meet(before, own)
        before = np.where(numbered[-1] > 0, numbered[-1].astype(np.int64) + first, 0)
        first += count
    roots = joined.roots()
    return Pieces(
        np.bincount(roots, np.concatenate(voxels), len(roots)).astype(np.int64),
        _gathered(np.concatenate(sides), roots),
        roots[1:],
    )


def _sides(numbered: NDArray[np.uint32], count: int, ends: Sequence[bool]) -> NDArray[np.uint8]:
    """For each piece of a slab a bit for each side of the scan that it reaches; `ends`: which sides the slab has."""
    bits = np.zeros(count + 1, np.uint8)
    for bit, is_side in enumerate(ends):
        if is_side:
            bits[np.unique(np.take(numbered, -(bit % 2), axis=bit // 2))] |= 1 << bit
    return bits[1:]


def _gathered(bits: NDArray[np.uint8], roots: NDArray[np.int64]) -> NDArray[np.uint8]:
    together = np.zeros_like(bits)
    np.bitwise_or.at(together, roots, bits)
    return together


class _Joined:
    """Which numbers are of one piece; every number points to a lower or equal one of its piece."""

    def __init__(self) -> None:
        self._parents = [0]

    def add(self, count: int) -> None:
        """New numbers, each a piece of its own."""
        self._parents += range(len(self._parents), len(self._parents) + count)

    def meet(self, before: NDArray[np.int64], own: NDArray[np.int64]) -> None:
        """Join the pieces of two planes that lie upon each other."""
        rows, columns = own.shape
        wide = np.pad(before, 1)
        for row in range(3):
            for column in range(3):
                other = wide[row : row + rows, column : column + columns]
                touching = (own > 0) & (other > 0)
                for one, two in np.unique(np.stack([own[touching], other[touching]]), axis=1).T.tolist():
                    low, high = sorted((self._root(one), self._root(two)))
                    self._parents[high] = low

    def roots(self) -> NDArray[np.int64]:
        """For each number the lowest one of its piece."""
        return np.array([self._root(number) for number in range(len(self._parents))], np.int64)

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number
