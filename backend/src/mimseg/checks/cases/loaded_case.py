"""One case in memory, with what several checks need of it computed once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg.data.cases import Case
from mimseg.data.orientation import AxisTurn, turn_to
from mimseg.data.regions import Box
from mimseg.data.volume import Volume

# Statistics of intensities need no more voxels than this along each axis.
_SAMPLED_EDGE = 96


@dataclass(frozen=True)
class Structure:
    """Where one label value lies.

    Attributes:
        voxels: How many.
        box: Smallest box around them, as indices of the file's array.
    """

    voxels: int
    box: Box


@dataclass(frozen=True)
class LoadedCase:
    """A case while its voxels are in memory.

    Attributes:
        case: Files and names.
        volume: Array `(C, i, j, k)`.
        labels: Array `(i, j, k)` on the grid of `volume`; None if the labelmap is missing or not usable.
        segment_names: Name by value that the label file itself gives; empty for plain labelmaps.
        stored_type: Number type of the label file, e.g. `float32`; empty if unknown.
    """

    case: Case
    volume: Volume
    labels: NDArray[np.integer] | None = None
    segment_names: dict[int, str] = field(default_factory=dict)
    stored_type: str = ""

    @property
    def name(self) -> str:
        """Identifier of the case."""
        return self.case.identifier

    @cached_property
    def structures(self) -> dict[int, Structure]:
        """By label value, without background."""
        if self.labels is None:
            return {}
        statistics = sitk.LabelShapeStatisticsImageFilter()
        statistics.ComputePerimeterOff()
        # SimpleITK's axes are those of the transposed array.
        statistics.Execute(sitk.GetImageFromArray(np.ascontiguousarray(self.labels.transpose())))
        found = {}
        for value in statistics.GetLabels():
            i, j, k, width, height, depth = statistics.GetBoundingBox(value)
            box = Box((i, j, k), (i + width, j + height, k + depth))
            found[int(value)] = Structure(int(statistics.GetNumberOfPixels(value)), box)
        return found

    @cached_property
    def labelled_box(self) -> Box | None:
        """The smallest box around all structures, or None if there are none."""
        boxes = [structure.box for structure in self.structures.values()]
        if not boxes:
            return None
        low = np.min([box.start for box in boxes], axis=0)
        high = np.max([box.stop for box in boxes], axis=0)
        return Box((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return math.prod(self.volume.grid.spacing) / 1000

    @cached_property
    def turn(self) -> AxisTurn:
        """To RAS: axes that run to the patient's right, front and top."""
        return turn_to("RAS", self.volume.grid)

    @cached_property
    def step(self) -> tuple[slice, slice, slice]:
        """Every n-th voxel, so that no edge of a sample is longer than needed for statistics."""
        x, y, z = (slice(None, None, max(1, math.ceil(edge / _SAMPLED_EDGE))) for edge in self.volume.grid.size)
        return x, y, z

    @cached_property
    def sample(self) -> NDArray[np.float32]:
        """Some of the voxels of the first channel, `(i, j, k)` with larger steps."""
        return np.ascontiguousarray(self.volume.array[0][self.step], np.float32)

    @cached_property
    def label_sample(self) -> NDArray[np.integer] | None:
        """The labels of `sample`."""
        return None if self.labels is None else self.labels[self.step]
