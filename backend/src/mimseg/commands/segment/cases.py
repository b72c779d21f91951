"""What is done with one case: read it, write its result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.bundle.description import Description
from mimseg.commands.segment.outputs import Job
from mimseg.data.cases import Case
from mimseg.data.cases.images import read_images
from mimseg.data.labels.drawn import Algorithm, Overlapping
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Volume
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError, of_case
from mimseg.events import Reporter
from mimseg.memory import memory_errors_named
from mimseg.reports.pictures import write_png
from mimseg.reports.preview import draw_preview


def read_case(job: Job, reporter: Reporter, orientation: str = "") -> Volume:
    """The case's volume, `(i, j, k)` or `(C, i, j, k)`.

    Raises:
        UserError: It cannot be read.
        OutOfMemory: Memory ran out.
    """
    stopping.check()
    with memory_errors_named(f"read {job.inputs[0]}"):
        if job.channels == 1:
            return read_volume(job.inputs[0], job.frame, reporter, orientation)
        case = Case(job.name, job.inputs, None, channels=job.channels, orientation=orientation)
        return read_images(case, job.frame, reporter)


def write_case(
    job: Job,
    volume: Volume,
    labels: NDArray[np.integer],
    kept: Sequence[Label],
    algorithm: Algorithm,
    shown: tuple[float, float] | None,
    reporter: Reporter,
    overlapping: Overlapping | None = None,
) -> Path | None:
    """Write picture and labels, the labels last: where they exist, the case is complete.

    Returns:
        The picture; None if there is none. If it cannot be drawn or written, the reporter is told.

    Raises:
        UserError: A file cannot be written.
        OutOfMemory: Memory ran out.
        Stopped: The user asked to stop before.
    """
    stopping.check()
    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(
            f"The folder {job.output.parent} cannot be made ({fault.strerror}).", "Choose another.", "cannot-write"
        ) from fault
    picture = _write_preview(job, volume, labels, kept, shown, reporter)
    with memory_errors_named(f"write {job.output}"):
        write_labelmap(job.output, labels, volume.grid, kept, algorithm, overlapping)
    return picture


def _write_preview(
    job: Job,
    volume: Volume,
    labels: NDArray[np.integer],
    kept: Sequence[Label],
    shown: tuple[float, float] | None,
    reporter: Reporter,
) -> Path | None:
    if job.preview is None:
        return None
    image = volume.array if volume.array.ndim == 3 else volume.array[0]
    try:
        with memory_errors_named(f"draw {job.preview}"):
            write_png(job.preview, draw_preview(image, labels, volume.grid, kept, shown))
    except Exception as fault:  # Labels that took minutes are not lost for a picture.
        reporter.warning("no-preview", f"There is no picture of {job.name}: {of_case(fault)} The labels are written.")
        return None
    return job.preview


def choose_structures(description: Description, names: Sequence[str]) -> tuple[Label, ...]:
    """The model's structures of these names, whatever their case; all of them if `names` is empty.

    Raises:
        UserError: The model has no such structure.
    """
    if not names:
        return description.labels
    by_name = {label.name.casefold(): label for label in description.labels}
    unknown = [name for name in names if name.strip().casefold() not in by_name]
    if unknown:
        raise UserError(
            f"The model {description.name} has no structure {', '.join(repr(name) for name in unknown)}.",
            f"It has: {', '.join(label.name for label in description.labels)}.",
            code="unknown-label",
        )
    wanted = {by_name[name.strip().casefold()].value for name in names}
    return tuple(label for label in description.labels if label.value in wanted)
