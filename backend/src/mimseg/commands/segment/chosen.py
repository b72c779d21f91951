"""What a model found, as the structures that were asked for: their values, and how large each is.

A label map shows one structure a voxel. Where a model's structures overlap (tumor core inside of whole tumor), what the
map shows of the outer one is hollow, so they are chosen and measured from a note of all structures of each voxel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.description import Description
from mimseg.commands.segment.volume_table import StructureVolume, measure, measure_overlapping
from mimseg.data.labels.drawn import Overlapping
from mimseg.data.labels.structures import Label
from mimseg.data.preprocessing import largest_first
from mimseg.data.volume import Grid


def note_for(description: Description, labels: Sequence[Label], grid: Grid) -> Overlapping | None:
    """Where to note all structures of each voxel; None for a model whose structures exclude each other.

    Args:
        description: Of the model.
        labels: All that may be found, in the order of the class indices.
        grid: Of the scan.
    """
    if not description.multilabel:
        return None
    bits = np.zeros((-(-len(labels) // 8), *grid.size), np.uint8)
    return Overlapping(bits, tuple(label.value for label in labels))


def label_values(
    classes: NDArray[np.integer],
    labels: Sequence[Label],
    kept: Sequence[Label],
    overlapping: Overlapping | None = None,
) -> NDArray[np.integer]:
    """The values of the structures in `kept`, 0 elsewhere; of several in one voxel the smallest of those kept.

    Args:
        classes: Class indices `(i, j, k)`: 0 background, n the structure `labels[n - 1]`.
        labels: All that may be found.
        kept: Those to keep.
        overlapping: Where each structure is, if they may overlap.
    """
    dtype = np.uint16 if max(label.value for label in labels) > 255 else np.uint8
    if overlapping is None or len(kept) == len(labels):
        values = np.zeros(len(labels) + 1, dtype)
        for index, label in enumerate(labels, start=1):
            if label in kept:
                values[index] = label.value
        return values[classes]
    shown = np.zeros(classes.shape, dtype)
    sizes = [int(np.count_nonzero(overlapping.of(label.value))) for label in kept]
    for number in largest_first(sizes):
        shown[overlapping.of(kept[number].value)] = kept[number].value
    return shown


def volumes_of(
    values: NDArray[np.integer], overlapping: Overlapping | None, grid: Grid, kept: Sequence[Label]
) -> list[StructureVolume]:
    """Volume of each structure in `kept`, the same in whatever format it is written."""
    return measure(values, grid, kept) if overlapping is None else measure_overlapping(overlapping, grid, kept)
