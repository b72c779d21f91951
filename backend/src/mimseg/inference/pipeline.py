"""From a volume to its labels with a loaded model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.description import Description
from mimseg.data.preprocessing import prepare, restore
from mimseg.data.regions import Box
from mimseg.data.volume import Volume
from mimseg.events import Reporter
from mimseg.inference.probabilities import to_probabilities
from mimseg.inference.sliding_window import Predict, sliding_window
from mimseg.memory import memory_errors_named


def segment_volume(
    volume: Volume,
    description: Description,
    predict: Predict,
    regions: Sequence[Box] = (),
    overlap: float | None = None,
    reporter: Reporter | None = None,
) -> NDArray[np.integer]:
    """Class indices of a volume, on its own grid.

    Args:
        volume: `(i, j, k)` or `(C, i, j, k)`.
        description: Of the model.
        predict: The model's engine.
        regions: Segment only these boxes, each as if it were a volume of its own; where they overlap, an earlier
            box's structures stay. Empty: everything.
        overlap: Share of a window that its neighbour covers too; None takes the model's.
        reporter: Receives the progress.

    Returns:
        `(i, j, k)`, uint8 or uint16: 0 background, k the structure `description.labels[k - 1]`.

    Raises:
        OutOfMemory: Memory ran out.
        Stopped: The user asked to stop.
    """
    labels: NDArray[np.integer] | None = None
    for number, region in enumerate(regions or [None], start=1):
        phase = "segment" if len(regions) < 2 else f"segment region {number}"
        found = _segment_region(volume, description, predict, region, overlap, reporter, phase)
        labels = found if labels is None else np.where(labels == 0, found, labels)
    if labels is None:
        raise ValueError("there is always at least one region")
    return labels


def _segment_region(
    volume: Volume,
    description: Description,
    predict: Predict,
    region: Box | None,
    overlap: float | None,
    reporter: Reporter | None,
    phase: str,
) -> NDArray[np.integer]:
    size = "x".join(str(edge) for edge in (region.size if region else volume.grid.size))
    with memory_errors_named(f"segment {size} voxels with {len(description.labels)} structures"):
        prepared = prepare(volume, description.preprocessing, region)
        logits = sliding_window(
            prepared.array,
            predict,
            description.window,
            description.overlap if overlap is None else overlap,
            foreground=prepared.foreground,
            reporter=reporter,
            phase=phase,
            multilabel=description.multilabel,
        )
        probabilities = to_probabilities(logits, description.multilabel)
        return restore(probabilities, prepared, description.multilabel)
