"""Sliding-window inference that hands over each part of a volume as soon as no further window touches it.

Memory does not grow with the volume times the classes: it holds what waits for a later window, which is about the
overlap of two windows times the volume's other two edges. Where the network ends in a linear head, its input is summed
instead of its output (the mean of linear functions is the function of the mean), so that memory does not grow with the
number of classes either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.events import Reporter
from mimseg.inference.constant_windows import ConstantWindows
from mimseg.inference.engines.linear_head import head_of
from mimseg.inference.sliding_window import Predict, importance_map
from mimseg.inference.window_grid import Span, Triple, WindowGrid


@dataclass(frozen=True)
class FinishedBox:
    """A part of the volume that no further window touches.

    Attributes:
        index: Number of its core along x, y, z.
        start: First voxel of `sums`: that of the core, or the voxel before it.
        sums: Weighted sums of the windows' values, float32 `(F, x, y, z)`.
        weight: Sums of the weights `(x, y, z)`; 0 where no window was computed.
    """

    index: Triple
    start: Triple
    sums: NDArray[np.float32]
    weight: NDArray[np.float32]


def finished_boxes(
    array: NDArray[np.float32],
    predict: Predict,
    grid: WindowGrid,
    foreground: NDArray[np.bool_] | None = None,
    reporter: Reporter | None = None,
    phase: str = "segment",
) -> Iterator[FinishedBox]:
    """Sums of every part of a volume that some window with foreground touches.

    Args:
        array: Preprocessed volume, float32 `(C, x, y, z)`.
        predict: Maps a batch `(1, C, *window)` to logits `(1, K, *window)`; if it has a linear head, `features` is
            called instead.
        grid: The windows.
        foreground: `(x, y, z)`; windows without any true voxel are not computed.
        reporter: Receives the progress.
        phase: Name of the progress.

    Raises:
        Stopped: The user asked to stop.
    """
    reporter = reporter or Reporter()
    computed = grid.with_foreground(foreground)
    run = ConstantWindows(predict if head_of(predict) is None else predict.features)  # type: ignore[attr-defined]
    sums = _WaitingSums(grid, computed)
    done, total = 0, max(1, len(computed))
    reporter.progress(phase, 0, total)
    for index in grid:
        stopping.check()
        if index in computed:
            sums.add(index, run(_window(array, grid, index)))
            done += 1
            reporter.progress(phase, done, total)
        box = sums.finished(index)
        if box is not None:
            yield box
    if not computed:
        reporter.progress(phase, 1, 1)


class _WaitingSums:
    """Weighted sums, kept in cells that are made when a window first touches them and released one by one."""

    def __init__(self, grid: WindowGrid, computed: set[Triple]) -> None:
        self._grid = grid
        self._computed = computed
        self._importance = importance_map([axis.window for axis in grid.axes])
        self._scratch = np.empty_like(self._importance)
        self._cells: dict[Triple, NDArray[np.float32]] = {}

    def add(self, index: Triple, values: NDArray[np.float32]) -> None:
        """Add one window's values `(F, *window)`."""
        starts = self._grid.starts(index)
        spans = [axis.inside(number) for axis, number in zip(self._grid.axes, index, strict=True)]
        targets = []
        for cell, start, stop in self._cells_in(spans):
            part = self._scratch[_relative(start, stop, starts)]
            new = cell not in self._cells
            if new:
                size = [high - low for low, high in zip(start, stop, strict=True)]
                self._cells[cell] = np.empty((len(values), *size), np.float32)
            targets.append((self._cells[cell], part, new))
        for number, channel in enumerate(values):
            np.multiply(channel, self._importance, out=self._scratch)
            for target, part, new in targets:
                if new:
                    target[number] = part
                else:
                    target[number] += part

    def finished(self, index: Triple) -> FinishedBox | None:
        """The core of a visited window, or None if no computed window touches it; frees what no later core needs."""
        regions = [axis.region(number) for axis, number in zip(self._grid.axes, index, strict=True)]
        start, _ = _ends(regions)
        box = None
        held = [(cell, low, high) for cell, low, high in self._cells_in(regions) if cell in self._cells]
        if held:
            channels = len(self._cells[held[0][0]])
            sums = np.zeros((channels, *(high - low for low, high in regions)), np.float32)
            for cell, low, high in held:
                a, b, c = _relative(low, high, start)
                sums[:, a, b, c] = self._cells[cell]
            box = FinishedBox(index, start, sums, self._weight(regions))
        released = (axis.released[number] for axis, number in zip(self._grid.axes, index, strict=True))
        for x, y, z in itertools.product(*released):
            self._cells.pop((x, y, z), None)
        return box

    def _cells_in(self, spans: Sequence[Span]) -> Iterator[tuple[Triple, Triple, Triple]]:
        """Number, first voxel and end of the cells inside three spans."""
        axes = self._grid.axes
        for x, y, z in itertools.product(*(axis.cells_in(span) for axis, span in zip(axes, spans, strict=True))):
            start = axes[0].bounds[x], axes[1].bounds[y], axes[2].bounds[z]
            yield (x, y, z), start, (axes[0].bounds[x + 1], axes[1].bounds[y + 1], axes[2].bounds[z + 1])

    def _weight(self, regions: Sequence[Span]) -> NDArray[np.float32]:
        """Sum of the weights of the computed windows."""
        start, stop = _ends(regions)
        weight = np.zeros([high - low for low, high in regions], np.float32)
        axes = self._grid.axes
        for x, y, z in itertools.product(*(axis.touching(span) for axis, span in zip(axes, regions, strict=True))):
            if (x, y, z) not in self._computed:
                continue
            first = self._grid.starts((x, y, z))
            low = tuple(max(a, b) for a, b in zip(start, first, strict=True))
            high = tuple(min(a, b + axis.window) for a, b, axis in zip(stop, first, axes, strict=True))
            weight[_relative(low, high, start)] += self._importance[_relative(low, high, first)]
        return weight


def _ends(spans: Sequence[Span]) -> tuple[Triple, Triple]:
    (a, b), (c, d), (e, f) = spans
    return (a, c, e), (b, d, f)


def _relative(start: Sequence[int], stop: Sequence[int], origin: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(low - o, high - o) for low, high, o in zip(start, stop, origin, strict=True))


def _window(array: NDArray[np.float32], grid: WindowGrid, index: Triple) -> NDArray[np.float32]:
    """A window of `(C, x, y, z)`, with zeros where it reaches beyond the volume."""
    x, y, z = inside = grid.inside(index)
    cut = array[:, x, y, z]
    size = [axis.window for axis in grid.axes]
    if cut.shape[1:] == tuple(size):
        return np.ascontiguousarray(cut)
    window = np.zeros((len(array), *size), np.float32)
    low, high = [part.start for part in inside], [part.stop for part in inside]
    x, y, z = _relative(low, high, grid.starts(index))
    window[:, x, y, z] = cut
    return window
