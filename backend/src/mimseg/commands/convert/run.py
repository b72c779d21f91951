"""`mimseg convert`: labels that were drawn anywhere, in another format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mimseg import formats
from mimseg.bundle.checked_folder import refuse_inside_model
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.labels.redrawing import read_drawn
from mimseg.data.overwriting import refuse_overwriting
from mimseg.data.volumes import read_volume
from mimseg.data.writers.dicom_seg import refuse_other_sources
from mimseg.errors import UserError
from mimseg.events import Reporter


@dataclass(frozen=True)
class ConvertSettings:
    """What to convert.

    Attributes:
        labels: A labelmap or segmentation.
        output: The file to write; its ending says the format.
        scan: What the labels were drawn on; None takes the labels' own grid.
        frame: Which volume of a 4D scan.
        orientation: How the axes run in files that do not say it; empty for RAS.
    """

    labels: Path
    output: Path
    scan: Path | None = None
    frame: int | None = None
    orientation: str = ""


def convert(settings: ConvertSettings, reporter: Reporter) -> Path:
    """Write the labels, on the scan's grid if one is given, and return the file.

    Raises:
        UserError: A file cannot be read or written, the labels lie on another grid than the scan, or a DICOM
            segmentation is wanted of what is no DICOM, or the output is an input or DICOM that mimseg did not write.
    """
    reporter.start("convert", labels=str(settings.labels), output=str(settings.output))
    found = formats.format_of(settings.output)
    if found is None or not found.writer or settings.output.is_dir():
        raise UserError(
            f"{settings.output} has an ending that labels cannot be written to.",
            f"Use one of {formats.listed(formats.LABELS_WRITTEN)}.",
            "bad-output",
        )
    refuse_inside_model(settings.output)
    refuse_overwriting([settings.output], [path for path in (settings.labels, settings.scan) if path])
    refuse_other_sources(settings.scan or settings.labels, settings.output, reporter)
    if found.dicom and settings.scan is None:
        raise UserError(
            f"{settings.output} cannot be a DICOM segmentation: such a file must quote the series that it belongs to.",
            "Give the folder with the DICOM series by --scan, or write .seg.nrrd or .nii.gz.",
            "not-dicom",
        )
    reporter.progress("read", 0, 2)
    grid = None
    if settings.scan is not None:
        grid = read_volume(settings.scan, settings.frame, reporter, settings.orientation).grid
    drawn = read_drawn(settings.labels, grid, reporter, settings.orientation)
    if drawn.overlapping is not None and not found.overlapping:
        reporter.warning(
            "overlap",
            f"{settings.labels}: segments overlap, which {found.ending} cannot hold here; the later segment keeps "
            "the voxels.",
        )
    reporter.progress("write", 1, 2)
    write_labelmap(
        settings.output,
        drawn.labels,
        drawn.grid,
        drawn.table,
        overlapping=drawn.overlapping,
        algorithms=drawn.algorithms,
    )
    reporter.progress("write", 2, 2)
    return settings.output
