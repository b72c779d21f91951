"""Segments that may overlap, in as few layers as they need, described as 3D Slicer describes them in `.seg.nrrd`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels.seg_nrrd import terminology_entry
from mimseg.data.labels.structures import Label

Planes = Mapping[int, NDArray[np.bool_]]


class Layers:
    """Layers of label values that fill up as segments are added.

    Args:
        size: Voxels along i, j, k.
        highest: Largest label value.
    """

    def __init__(self, size: tuple[int, int, int], highest: int) -> None:
        self._size, self._type = size, np.dtype(np.uint8 if highest < 256 else np.uint16)
        self._layers: list[NDArray] = []

    def add(self, value: int, planes: Planes) -> int:
        """Draw a segment into the first layer in which it hits no other; the number of that layer.

        Args:
            value: Its label value.
            planes: `(i, j)` by k; planes without a voxel may be left out.
        """
        number = next((n for n, layer in enumerate(self._layers) if _is_free(layer, planes)), len(self._layers))
        if number == len(self._layers):
            self._layers.append(np.zeros(self._size, self._type))
        for k, plane in planes.items():
            self._layers[number][:, :, k][plane] = value
        return number

    def array(self) -> NDArray:
        """Label values `(i, j, k)`, or `(L, i, j, k)` if segments overlap."""
        if len(self._layers) > 1:
            return np.stack(self._layers)
        return self._layers[0] if self._layers else np.zeros(self._size, self._type)


def _is_free(layer: NDArray, planes: Planes) -> bool:
    return not any(layer[:, :, k][plane].any() for k, plane in planes.items())


def metadata_of(labels: Sequence[Label], layers: Sequence[int]) -> dict[str, str]:
    """What `seg_nrrd.read_segments` reads: segment `n` has the value of `labels[n]` in layer `layers[n]`."""
    metadata: dict[str, str] = {}
    for number, (label, layer) in enumerate(zip(labels, layers, strict=True)):
        prefix = f"Segment{number}_"
        metadata |= {
            f"{prefix}ID": f"Segment_{label.value}",
            f"{prefix}Name": label.name,
            f"{prefix}Color": " ".join(f"{channel / 255:.6g}" for channel in label.color),
            f"{prefix}LabelValue": str(label.value),
            f"{prefix}Layer": str(layer),
            f"{prefix}Tags": f"TerminologyEntry:{terminology_entry(label)}|",
        }
    return metadata
