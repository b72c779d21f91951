"""Slicer segmentations written by hand: any segments, any layers, with or without names and codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from mimseg.data.images import image_of
from mimseg.data.volume import Grid


def write_segmentation(path: Path, layers: Sequence[np.ndarray], segments: Sequence[dict[str, str]]) -> None:
    """Layers `(i, j, k)` in RAS orientation, and for each segment its metadata without the `Segment0_` before it."""
    grid = Grid(layers[0].shape, direction=np.diag([-1.0, -1.0, 1.0]))
    images = [image_of(np.asarray(layer, np.uint8), grid) for layer in layers]
    image = sitk.Compose(images) if len(images) > 1 else images[0]
    for index, segment in enumerate(segments):
        for key, value in segment.items():
            image.SetMetaData(f"Segment{index}_{key}", value)
    sitk.WriteImage(image, str(path), True)


def segment(name: str, value: int, layer: int = 0, code: str = "", modifier: str = "") -> dict[str, str]:
    """Metadata of a segment; `code` and `modifier` are SNOMED CT values."""
    entry = {"ID": f"id {name} {value}", "Name": name, "LabelValue": str(value), "Layer": str(layer)}
    if code:
        more = f"SCT^{modifier}^side" if modifier else "^^"
        kind = f"SCT^123037004^Anatomical Structure~SCT^{code}^thing~{more}"
        entry["Tags"] = f"Segmentation.Status:inprogress|TerminologyEntry:list~{kind}~list~^^~^^|"
    return entry
