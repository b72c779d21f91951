"""From a volume to its labels with a loaded model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.description import Description
from mimseg.data.labels.connected import keep_main_piece
from mimseg.data.preprocessing import Prepared, label_type, prepare
from mimseg.data.regions import Box
from mimseg.data.volume import Volume
from mimseg.events import Reporter
from mimseg.inference.sliding_window import Predict
from mimseg.inference.streaming import stream_labels
from mimseg.memory import memory_errors_named


def segment_volume(
    volume: Volume,
    description: Description,
    predict: Predict,
    regions: Sequence[Box] = (),
    overlap: float | None = None,
    reporter: Reporter | None = None,
    phase: str = "segment",
    bits: NDArray[np.uint8] | None = None,
) -> NDArray[np.integer]:
    """Class indices of a volume, on its own grid; what hangs nowhere on a main piece is dropped if the model says so.

    Args:
        volume: `(i, j, k)` or `(C, i, j, k)`.
        description: Of the model.
        predict: The model's engine.
        regions: Segment only these boxes, each as if it were a volume of its own, and nothing beside a turned one
            that they enclose; where they overlap, an earlier box's structures stay. Empty: everything.
        overlap: Share of a window that its neighbour covers too; None takes the model's.
        reporter: Receives the progress.
        phase: Name of the progress.
        bits: Zeros `(ceil(K / 8), i, j, k)`, in which every structure of a voxel is noted if the model's K structures
            may overlap: bit `s % 8` of byte `s // 8` for `description.labels[s]`.

    Returns:
        `(i, j, k)`, uint8 or uint16: 0 background, k the structure `description.labels[k - 1]`.

    Raises:
        OutOfMemory: Memory ran out.
        Stopped: The user asked to stop.
    """
    labels = np.zeros(volume.grid.size, label_type(len(description.labels) + 1))
    for number, region in enumerate(regions or [None], start=1):
        name = phase if len(regions) < 2 else f"{phase} region {number}"
        wanted = bits is not None and description.multilabel
        prepared, found, noted = _segment_region(volume, description, predict, region, overlap, reporter, name, wanted)
        inside = labels[prepared.region.slices]
        if bits is not None and noted is not None:
            everywhere = (slice(None), *prepared.region.slices)
            np.copyto(bits[everywhere], noted, where=inside == 0)
        np.copyto(inside, found, where=inside == 0)
    return labels


def _segment_region(
    volume: Volume,
    description: Description,
    predict: Predict,
    region: Box | None,
    overlap: float | None,
    reporter: Reporter | None,
    phase: str,
    note: bool,
) -> tuple[Prepared, NDArray[np.integer], NDArray[np.uint8] | None]:
    size = "x".join(str(edge) for edge in (region.size if region else volume.grid.size))
    with memory_errors_named(f"segment {size} voxels with {len(description.labels)} structures"):
        prepared = prepare(volume, description.preprocessing, region)
        bits = np.zeros((-(-len(description.labels) // 8), *prepared.region.size), np.uint8) if note else None
        labels = stream_labels(
            prepared,
            predict,
            len(description.labels),
            description.window,
            description.overlap if overlap is None else overlap,
            description.multilabel,
            reporter,
            phase,
            bits,
        )
        if region is not None:
            region.erase_outside(prepared.region.start, labels, *([] if bits is None else [bits]))
        for group in description.pieces:
            keep_main_piece(labels, group)
        return prepared, labels, bits
