"""mimseg for Python programs: read a scan, segment it, write the labels; without PyTorch.

What stands here is also in `mimseg` itself, which loads it when it is asked for: `mimseg.read`, `mimseg.open_model`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.locations import find_bundle
from mimseg.bundle.reader import Bundle, open_bundle
from mimseg.commands.segment.chosen import label_values, note_for, volumes_of
from mimseg.commands.segment.finder import Finder
from mimseg.commands.segment.fit import check_fit
from mimseg.data.labels.drawn import Algorithm, Overlapping
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.orientation import check_orientation
from mimseg.data.overwriting import refuse_overwriting
from mimseg.data.regions import box_from_ras
from mimseg.data.volume import Grid, Volume
from mimseg.data.volumes import read_volume
from mimseg.events import Reporter
from mimseg.inference.engines import Engine, open_engine
from mimseg.inference.known_volumes import refuse_nothing_known
from mimseg.inference.locating import segment_located
from mimseg.inference.pipeline import segment_volume


def read(path: str | os.PathLike[str], frame: int | None = None, orientation: str = "") -> Volume:
    """Read one three-dimensional scan: NIfTI, NRRD, MetaImage, or a folder with one DICOM series.

    Args:
        path: The file or folder.
        frame: Which volume of several (time points, b-values, echoes), from 0; None where there is one.
        orientation: How the axes run if the file does not say it, such as `LPS`; empty for RAS, with a warning.

    Returns:
        `array` `(i, j, k)` in the file's own numbers (CT: HU), and `grid`, which says where its voxels lie in mm.

    Warns:
        UserWarning: Something was corrected or is in doubt: orientation, NaN, gantry tilt.

    Raises:
        UserError: The input is not one readable, scalar, three-dimensional volume.
    """
    if orientation:
        check_orientation(orientation.upper())
    with _AsWarnings() as reporter:
        return read_volume(Path(path), frame, reporter, orientation.upper())


def open_model(name_or_path: str | os.PathLike[str], device: str = "auto", threads: int | None = None) -> Model:
    """Load a model for any number of scans.

    Args:
        name_or_path: A name that `mimseg models list` shows, a folder or a `.zip` file.
        device: `auto`, `cpu`, `cuda` or `mps`; the last two need PyTorch.
        threads: Processor threads; None takes one for each physical core.

    Raises:
        UserError: There is no such model, it is damaged, or the device is not available.
    """
    bundle = open_bundle(find_bundle(name_or_path))
    return Model(bundle, lambda opened: open_engine(opened, device, threads=threads))


@dataclass(frozen=True)
class Segmentation:
    """Labels of a scan.

    Attributes:
        array: `(i, j, k)` of whole numbers on the scan's own grid; 0 is background.
        grid: Where the voxels lie.
        labels: Value, name, colour and codes of each structure.
        algorithm: Name and version of the model that drew them; None for labels that somebody drew by hand.
        overlapping: Where each structure is if they may overlap; `array` shows the smallest one of a voxel.
        warnings: What was warned of. Python shows a warning once a line of code, so in a loop only the first scan's.
    """

    array: NDArray[np.integer]
    grid: Grid
    labels: tuple[Label, ...]
    algorithm: Algorithm | None = None
    overlapping: Overlapping | None = None
    warnings: tuple[str, ...] = ()

    def volumes(self) -> dict[str, float]:
        """Volume of each structure in mL, by its name."""
        return {row.label: row.ml for row in volumes_of(self.array, self.overlapping, self.grid, self.labels)}

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a labelmap, or a segmentation of 3D Slicer (`.seg.nrrd`) or DICOM (`.dcm`); the ending says which.

        Segmentations name the model.

        Raises:
            UserError: The ending is not supported, the file cannot be written, or there is one that may be a scan.
        """
        refuse_overwriting([Path(path)], [])
        write_labelmap(Path(path), self.array, self.grid, self.labels, self.algorithm, self.overlapping)


class Model:
    """A loaded model; see `open_model`."""

    def __init__(self, bundle: Bundle, open_for: Callable[[Bundle], Engine]) -> None:
        self._bundle = bundle
        self._open_for = open_for
        self._engine = open_for(bundle)
        self._locating: Engine | None = None

    @property
    def labels(self) -> tuple[Label, ...]:
        """The structures that it segments."""
        return self._bundle.description.labels

    def segment(self, scan: Volume, boxes: Sequence[Sequence[float]] = (), names: Sequence[str] = ()) -> Segmentation:
        """Segment a scan.

        Args:
            scan: What `read` returned.
            boxes: Segment only these: from x, to x, from y, to y, from z, to z in mm, RAS as 3D Slicer shows them.
                Empty: the whole scan, or, in a large one, the region that a model with a locator finds by itself.
            names: Structures to keep; empty keeps all.

        Warns:
            UserWarning: The scan is hardly what the model was trained on, a region was not found, or the model for
                finding it is missing.

        Raises:
            UserError: A box lies outside of the scan, the model has no such structure, its region is not found, the
                scan is CT that is not in Hounsfield units, or a whole scan shows nothing of what the model knows.
            OutOfMemory: Memory ran out.
        """
        with _AsWarnings() as reporter:
            found = self._segment(scan, boxes, names, reporter)
            return replace(found, warnings=tuple(reporter.messages))

    def _segment(
        self, scan: Volume, boxes: Sequence[Sequence[float]], names: Sequence[str], reporter: Reporter
    ) -> Segmentation:
        description = self._bundle.description
        finder = Finder(description, not boxes, names, reporter)
        check_fit(scan, "This scan", description, bool(boxes) or finder.runs_on(scan.grid), reporter)
        structures = finder.labels(scan.grid)
        overlapping = note_for(description, structures, scan.grid)
        bits = None if overlapping is None else overlapping.bits
        located = finder.boxes(scan, self._locator)
        if located:
            classes = segment_located(scan, description, self._engine, located, bits=bits)
        else:
            regions = [box_from_ras(tuple(box), scan.grid) for box in boxes]
            classes = segment_volume(scan, description, self._engine, regions, bits=bits)
            if not regions:
                refuse_nothing_known(classes, description, scan.grid, "this scan")
        kept = finder.kept(scan.grid)
        values = label_values(classes, structures, kept, overlapping)
        return Segmentation(values, scan.grid, kept, Algorithm(description.name, description.version), overlapping)

    def _locator(self, bundle: Bundle) -> Engine:
        """The engine of the model that shows where to look; opened when the first scan needs it."""
        if self._locating is None:
            self._locating = self._open_for(bundle)
        return self._locating


class _AsWarnings(Reporter):
    """Gives warnings by Python's `warnings` to the line that called the library, when the block ends."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def warning(self, code: str, message: str) -> None:
        self.messages.append(message)

    def __enter__(self) -> _AsWarnings:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        for message in self.messages:
            warnings.warn(message, stacklevel=3)
