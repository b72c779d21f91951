"""From a preprocessed scan to labels on the scan's own grid, part by part, so that no logits of the whole volume exist.

Each finished part is divided by its weights, turned into probabilities, interpolated to those voxels of the scan that
depend on nothing else, reduced to labels and released. The labels are those of `sliding_window`, `to_probabilities`
and `restore` in turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.data.labels.blocks import inside_structures, most_probable
from mimseg.data.preprocessing import BLOCK, Prepared, count_inside, inverse_weights, label_type, largest_first
from mimseg.data.resampling import AxisPart, AxisWeights, axis_parts
from mimseg.events import Reporter
from mimseg.inference.engines.linear_head import LinearHead, head_of
from mimseg.inference.finished_boxes import FinishedBox, finished_boxes
from mimseg.inference.probabilities import to_probabilities
from mimseg.inference.sliding_window import CERTAIN, Predict
from mimseg.inference.window_grid import WindowGrid

# A class whose logit lies this far below the largest adds less to a sum than float32 can show.
_NEGLIGIBLE = 24.0
# Less than any weight, so that nothing is divided by zero where no window was computed.
_TINY = np.float32(1e-9)

Parts = tuple[AxisPart, AxisPart, AxisPart]


def stream_labels(
    prepared: Prepared,
    predict: Predict,
    structures: int,
    window: Sequence[int],
    overlap: float = 0.5,
    multilabel: bool = False,
    reporter: Reporter | None = None,
    phase: str = "segment",
    bits: NDArray[np.uint8] | None = None,
) -> NDArray[np.integer]:
    """Class indices of a preprocessed scan.

    Args:
        prepared: What `prepare` returned.
        predict: Maps a batch `(1, C, *window)` to logits `(1, K, *window)`.
        structures: Number of structures, background not counted.
        window: Size of a window along x, y, z.
        overlap: Share of a window that its neighbour covers too.
        multilabel: Channels are independent and none of them is background.
        reporter: Receives the progress.
        phase: Name of the progress.
        bits: Zeros `(ceil(structures / 8), i, j, k)`, in which every structure of a voxel is noted with `multilabel`:
            bit `s % 8` of byte `s // 8`.

    Returns:
        `(i, j, k)` of `prepared.region`, uint8 or uint16, as `restore` gives them there.

    Raises:
        Stopped: The user asked to stop.
    """
    along = inverse_weights(prepared)
    margins = [0 if weights.identity else 1 for weights in along]
    grid = WindowGrid.plan(prepared.array.shape[1:], window, overlap, margins)
    labels = np.zeros(prepared.region.size, label_type(structures + 1))
    # The turn's flips and permutation hold for any size.
    target = prepared.turn.apply(labels)
    noted = None if bits is None else prepared.turn.apply(bits)
    collect: _MostProbable | _Structures = (
        _Structures(target, structures, noted) if multilabel else _MostProbable(target, structures + 1)
    )
    cuts = _Cuts(grid, along)
    head = head_of(predict)

    def label(box: FinishedBox) -> None:
        for parts in cuts.blocks(box):
            stopping.check()
            values, computed = _means(box, parts)
            if computed.any():
                collect.add(_logits(values, computed, head, multilabel), parts)

    # One box is labelled while the next windows are computed; the block's end waits for the thread.
    with ThreadPoolExecutor(1, "mimseg-label") as labeller:
        labelling: Future[None] | None = None
        for box in finished_boxes(prepared.array, predict, grid, prepared.foreground, reporter, phase):
            if labelling is not None:
                labelling.result()
            labelling = labeller.submit(label, box)
        if labelling is not None:
            labelling.result()
    collect.finish()
    return labels


class _Cuts:
    """The blocks of working voxels in which a finished box is labelled."""

    def __init__(self, grid: WindowGrid, along: Sequence[AxisWeights]) -> None:
        self._parts = [
            [axis_parts(weights, *axis.core(number), BLOCK) for number in range(len(axis.starts))]
            for axis, weights in zip(grid.axes, along, strict=True)
        ]

    def blocks(self, box: FinishedBox) -> Iterator[Parts]:
        """All blocks whose own voxels lie in the box's core."""
        x, y, z = (parts[number] for parts, number in zip(self._parts, box.index, strict=True))
        yield from itertools.product(x, y, z)


class _MostProbable:
    """Labels of classes that exclude each other, class 0 being background."""

    def __init__(self, target: NDArray[np.integer], classes: int) -> None:
        self._target = target
        self._classes = classes

    def add(self, logits: NDArray[np.float32], parts: Parts) -> None:
        """Label the voxels of one block from its logits `(K, x, y, z)`, which are overwritten."""
        labelled = self._target[tuple(part.target for part in parts)]
        if not labelled.size:
            return
        flat = logits.reshape(len(logits), -1)
        flat -= flat.max(axis=0)
        classes = np.flatnonzero(flat.max(axis=1) > -_NEGLIGIBLE)
        if len(classes) == 1:
            labelled[...] = classes[0]
            return
        chosen = np.exp(flat[classes])
        chosen /= chosen.sum(axis=0)
        labelled[...] = classes[most_probable(chosen.reshape(-1, *logits.shape[1:]), parts)]

    def finish(self) -> None:
        """Nothing is left to do."""


class _Structures:
    """Labels of structures that may overlap: the smallest of a voxel, which is known only at the end.

    Until then one bit tells for each voxel of the scan and each structure whether it lies inside.
    """

    def __init__(self, target: NDArray[np.integer], structures: int, bits: NDArray[np.uint8] | None = None) -> None:
        self._target = target
        # Memory that is never written to, because no structure lies there, is never taken either.
        self._bits = np.zeros((-(-structures // 8), *target.shape), np.uint8) if bits is None else bits
        self._sizes = np.zeros(structures, np.int64)

    def add(self, logits: NDArray[np.float32], parts: Parts) -> None:
        """Note the structures of one block from its logits `(K, x, y, z)`, which are overwritten."""
        if logits.max() <= 0:
            return
        probabilities = to_probabilities(logits, multilabel=True)
        x, y, z = (slice(-part.own, None) for part in parts)
        self._sizes += count_inside(probabilities[:, x, y, z])
        place = tuple(part.target for part in parts)
        for structure, inside in inside_structures(probabilities, parts):
            self._bits[structure // 8][place] |= inside.astype(np.uint8) << np.uint8(structure % 8)

    def finish(self) -> None:
        """Turn the noted structures into labels."""
        order = [structure for structure in largest_first(self._sizes.tolist()) if self._sizes[structure]]
        for plane in range(len(self._target)):
            stopping.check()
            for structure in order:
                inside = self._bits[structure // 8, plane] & np.uint8(1 << structure % 8)
                np.copyto(self._target[plane], structure + 1, where=inside != 0)


def _means(box: FinishedBox, parts: Parts) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values of a block `(F, x, y, z)`, and where they were computed `(x, y, z)`."""
    x, y, z = (
        slice(part.source.start - first, part.source.stop - first) for part, first in zip(parts, box.start, strict=True)
    )
    weight = box.weight[x, y, z]
    return box.sums[:, x, y, z] / np.maximum(weight, _TINY), weight > 0


def _logits(
    values: NDArray[np.float32], computed: NDArray[np.bool_], head: LinearHead | None, multilabel: bool
) -> NDArray[np.float32]:
    """Logits `(K, x, y, z)` of a block; background where nothing was computed."""
    logits = values if head is None else head(values)
    if not computed.all():
        logits[:, ~computed] = -CERTAIN
        if not multilabel:
            logits[0, ~computed] = 0
    return logits
