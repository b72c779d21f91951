"""Labels as a segmentation of 3D Slicer, with names, colours and codes, in layers where structures overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg.data.dicom.layers import Layers
from mimseg.data.images import image_of
from mimseg.data.labels.drawn import MARK, Drawn
from mimseg.data.labels.seg_nrrd import segment_metadata
from mimseg.data.writers.plain import save_with_itk


def write(path: Path, drawn: Drawn) -> None:
    """Write labels with a segment for each structure of the table and for each value that it does not name."""
    labels, layers = _layers(drawn)
    if labels.ndim == 4:
        image = sitk.Compose([image_of(layer, drawn.grid) for layer in labels])
    else:
        image = image_of(labels, drawn.grid)
    for key, value in segment_metadata(labels, drawn.grid, drawn.table, drawn.drawer, layers).items():
        image.SetMetaData(key, value)
    if drawn.mark:
        image.SetMetaData(MARK, drawn.mark)
    save_with_itk(path, image)
    if labels.ndim == 4:
        # What 3D Slicer writes; ITK knows no other word than vector.
        path.write_bytes(path.read_bytes().replace(b"\nkinds: vector ", b"\nkinds: list ", 1))


def _layers(drawn: Drawn) -> tuple[NDArray, dict[int, int]]:
    """Labels `(i, j, k)`, or layers `(L, i, j, k)` where structures overlap, and the layer of each value."""
    whole = drawn.overlapping
    if whole is None:
        return drawn.labels, {}
    values = list(dict.fromkeys([*(label.value for label in drawn.table), *map(int, np.unique(drawn.labels))]))
    layers = Layers(drawn.grid.size, max(values))
    numbers = {}
    for value in filter(None, values):
        mask = whole.of(value) if value in whole.values else drawn.labels == value
        planes = np.flatnonzero(mask.any(axis=(0, 1)))
        numbers[value] = layers.add(value, {int(k): mask[:, :, k] for k in planes})
    return layers.array(), numbers
