"""What is done with one case: read it, look whether it fits the model, write its result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.bundle.description import Description
from mimseg.commands.segment.outputs import Job
from mimseg.data.cases import Case
from mimseg.data.cases.images import read_images
from mimseg.data.intensity import HIGHEST_CT_MINIMUM, low_value
from mimseg.data.labels.drawn import Algorithm, Overlapping
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Volume
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.inference.known_volumes import known_volumes
from mimseg.inference.locating import is_larger_than_trained
from mimseg.memory import memory_errors_named
from mimseg.reports.pictures import write_png
from mimseg.reports.preview import draw_preview

# What is brighter, in HU, is bone or metal: a smaller share of any scan, also of one that shows no air and no fat.
BRIGHT, BRIGHT_SHARE = 300, 0.2


def read_case(job: Job, frame: int | None, reporter: Reporter, orientation: str = "") -> Volume:
    """The case's volume, `(i, j, k)` or `(C, i, j, k)`.

    Raises:
        UserError: It cannot be read.
        OutOfMemory: Memory ran out.
    """
    stopping.check()
    with memory_errors_named(f"read {job.inputs[0]}"):
        if job.channels == 1:
            return read_volume(job.inputs[0], frame, reporter, orientation)
        case = Case(job.name, job.inputs, None, channels=job.channels, orientation=orientation)
        return read_images(case, frame, reporter)


def write_case(
    job: Job,
    volume: Volume,
    labels: NDArray[np.integer],
    kept: Sequence[Label],
    description: Description,
    overlapping: Overlapping | None = None,
) -> None:
    """Write picture and labels, the labels last: where they exist, the case is complete.

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
    with memory_errors_named(f"write {job.output}"):
        if job.preview is not None:
            image = volume.array if volume.array.ndim == 3 else volume.array[0]
            shown = description.preprocessing.intensity.shown
            write_png(job.preview, draw_preview(image, labels, volume.grid, kept, shown))
        algorithm = Algorithm(description.name, description.version)
        write_labelmap(job.output, labels, volume.grid, kept, algorithm, overlapping)


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


def check_fit(volume: Volume, scan: str, description: Description, has_region: bool, reporter: Reporter) -> None:
    """Tell the user when the scan is hardly what the model was trained on.

    Args:
        volume: The scan.
        scan: What it is called in messages.
        description: Of the model.
        has_region: Boxes are segmented, not the whole scan.
        reporter: Is told.

    Raises:
        UserError: It is CT that cannot be in Hounsfield units, of which the model sees a window.
    """
    extent = sorted(n * s for n, s in zip(volume.grid.size, volume.grid.spacing, strict=True))
    usual = description.field_of_view_mm
    if usual is not None and not has_region and is_larger_than_trained(volume.grid, description):
        reporter.warning(
            "field-of-view",
            f"{scan} spans {_millimetres(extent)}, but {description.name} was trained on volumes of "
            f"{_millimetres(sorted(usual))}: expect false structures. Give the part to segment with --roi.",
        )
    if description.preprocessing.intensity.kind == "robust":  # for scans of any kind
        return
    low = low_value(volume.array)
    if description.modality == "CT" and low > HIGHEST_CT_MINIMUM:
        if description.preprocessing.intensity.kind == "window":
            _refuse_shifted(volume, scan, description)
            if not has_region and known_volumes(description):
                _refuse_without_air(scan, description)
        reporter.warning(
            "modality",
            f"{scan} has hardly a value below {HIGHEST_CT_MINIMUM:.0f}, but {description.name} wants CT in "
            "Hounsfield units, where air is about -1000.",
        )
    if description.modality == "MR" and low <= -900:
        reporter.warning("modality", f"{scan} looks like CT (its air has {low:.0f}); {description.name} wants MR.")


def _refuse_shifted(volume: Volume, scan: str, description: Description) -> None:
    """Raise UserError for CT without air and fat of which much is brighter than soft tissue ever is.

    Often 1000 or 1024 was added. A model that looks at a window of Hounsfield units would see a body of one grey and
    paint organs into it.
    """
    limit = max(description.preprocessing.intensity.upper, BRIGHT)
    bright = float((volume.array > limit).mean())
    if bright > BRIGHT_SHARE:
        raise UserError(
            f"{scan} is not in Hounsfield units: hardly one of its values is below {HIGHEST_CT_MINIMUM:.0f}, and "
            f"{bright:.0%} of them are above {limit:.0f}, as only bone is. {description.name} knows air as -1000 and "
            "water as 0.",
            "Load the scan again from its original DICOM files. If it is shifted (air is 0 and water 1000 or 1024), "
            "subtract that.",
            "not-hounsfield",
        )


def _refuse_without_air(scan: str, description: Description) -> None:
    """Raise UserError: a whole body shows air and fat. Into MR of heads a model of the abdomen painted organs."""
    raise UserError(
        f"{scan} has hardly a value below {HIGHEST_CT_MINIMUM:.0f}, so it is no CT in Hounsfield units, where air "
        f"is about -1000 and fat about -100. {description.name} knows nothing else.",
        "Choose a model for such scans, or load the scan again from its original DICOM files. If only its low values "
        "were cut off, give a box around what is to be segmented.",
        "not-hounsfield",
    )


def _millimetres(extent: Sequence[float]) -> str:
    return " x ".join(f"{length:.0f}" for length in extent) + " mm"
