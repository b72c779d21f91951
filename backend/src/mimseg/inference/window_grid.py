"""Where the windows of a volume lie, and which voxels are finished once a window was added.

Along one axis, neighbouring windows overlap; in three, a voxel lies in several. Windows are visited so that the last
axis changes fastest. Each window is then the last one that touches its core: the voxels from its start to the next
start along all axes. So cores are finished one after the other, and only what later windows touch again must be kept.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]
Span = tuple[int, int]


def window_starts(size: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along an axis; negative where the volume is smaller than one window.

    The positions are those of MONAI 1.6 `dense_patch_slices`, so that an exported bundle computes the same.
    """
    if size <= window:
        return [-((window - size) // 2)]
    step = max(1, int(window * (1 - overlap)))
    count = -(-(size - window) // step) + 1
    return [min(index * step, size - window) for index in range(count)]


@dataclass(frozen=True)
class AxisWindows:
    """The windows along one axis, and the axis cut into cells at every bound of a window or core.

    Attributes:
        size: Voxels of the volume.
        window: Voxels of a window.
        starts: First voxel of each window, ascending.
        margin: Voxels before a core that its consumer needs, too: 0 or 1.
    """

    size: int
    window: int
    starts: tuple[int, ...]
    margin: int = 0

    def core(self, index: int) -> Span:
        """Voxels for which window `index` is the last."""
        last = index + 1 == len(self.starts)
        return max(0, self.starts[index]), self.size if last else self.starts[index + 1]

    def region(self, index: int) -> Span:
        """The core with the margin before it."""
        start, stop = self.core(index)
        return max(0, start - self.margin), stop

    def inside(self, index: int) -> Span:
        """The voxels of the volume in window `index`."""
        return max(0, self.starts[index]), min(self.size, self.starts[index] + self.window)

    def touching(self, span: Span) -> range:
        """Windows that share a voxel with `span`."""
        hits = [i for i, start in enumerate(self.starts) if start < span[1] and start + self.window > span[0]]
        return range(hits[0], hits[-1] + 1)

    @cached_property
    def bounds(self) -> list[int]:
        """Where cells begin and end: every bound of a window or region, ascending."""
        spans = [span(index) for index in range(len(self.starts)) for span in (self.inside, self.region)]
        return sorted({0, self.size, *itertools.chain.from_iterable(spans)})

    def cells_in(self, span: Span) -> range:
        """Numbers of the cells inside `span`, which begins and ends at bounds; cell n ends at bound n + 1."""
        return range(bisect_left(self.bounds, span[0]), bisect_left(self.bounds, span[1]))

    @cached_property
    def released(self) -> list[list[int]]:
        """Numbers of the cells that no core after this one needs, for each window."""
        last = {cell: index for index in range(len(self.starts)) for cell in self.cells_in(self.region(index))}
        return [[cell for cell, index in last.items() if index == own] for own in range(len(self.starts))]

    @property
    def carried(self) -> int:
        """Most voxels along this axis that wait for the next window."""
        return max((max(0, s + self.window - after) for s, after in itertools.pairwise(self.starts)), default=0)

    @property
    def longest_core(self) -> int:
        """Voxels of the longest core."""
        return max(stop - start for start, stop in map(self.core, range(len(self.starts))))


@dataclass(frozen=True)
class WindowGrid:
    """The windows of a volume.

    Attributes:
        axes: The windows along x, y, z.
        order: Axes from the slowest to the fastest in the order of visits.
    """

    axes: tuple[AxisWindows, AxisWindows, AxisWindows]
    order: Triple = field(default=(0, 1, 2))

    @classmethod
    def plan(
        cls, size: Sequence[int], window: Sequence[int], overlap: float, margins: Sequence[int] = (0, 0, 0)
    ) -> WindowGrid:
        """The windows that cover a volume, visited in the order that needs the least memory."""
        x, y, z = (
            AxisWindows(edge, w, tuple(window_starts(edge, w, overlap)), margin)
            for edge, w, margin in zip(size, window, margins, strict=True)
        )
        grids = [cls((x, y, z), (a, b, c)) for a, b, c in itertools.permutations(range(3))]
        return min(grids, key=lambda grid: grid.waiting_voxels)

    @property
    def waiting_voxels(self) -> int:
        """About how many voxels wait for a later window at a time."""
        a, b, c = (self.axes[axis] for axis in self.order)
        return (
            a.carried * b.size * c.size
            + a.longest_core * b.carried * c.size
            + a.longest_core * b.longest_core * c.carried
        )

    def __iter__(self) -> Iterator[Triple]:
        """Numbers of the windows along x, y, z, in the order of visits."""
        for numbers in itertools.product(*(range(len(self.axes[axis].starts)) for axis in self.order)):
            index = [0, 0, 0]
            for axis, number in zip(self.order, numbers, strict=True):
                index[axis] = number
            yield index[0], index[1], index[2]

    def starts(self, index: Triple) -> Triple:
        """First voxel of a window."""
        x, y, z = (axis.starts[number] for axis, number in zip(self.axes, index, strict=True))
        return x, y, z

    def inside(self, index: Triple) -> tuple[slice, ...]:
        """The voxels of the volume in a window."""
        return tuple(slice(*axis.inside(number)) for axis, number in zip(self.axes, index, strict=True))

    def with_foreground(self, foreground: NDArray[np.bool_] | None) -> set[Triple]:
        """The windows with a true voxel of `foreground` `(x, y, z)`; all if it is None."""
        return {index for index in self if foreground is None or foreground[self.inside(index)].any()}
