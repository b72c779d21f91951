"""DICOM objects that hold structures: segmentations (SEG) and contours (RTSTRUCT)."""

from __future__ import annotations

import re
from pathlib import Path

from mimseg.data.dicom import contours, segmentation
from mimseg.data.dicom.dataset import read_dataset
from mimseg.data.reading.opened import ImageFile
from mimseg.data.volume import Grid
from mimseg.errors import UserError

_SOP_CLASS = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.[0-9.]*[0-9]")


def kind_of(path: Path) -> str:
    """What a DICOM file is by its first kilobytes: `structures`, `image` (or another object), or empty if unknown."""
    with path.open("rb") as file:
        found = _SOP_CLASS.search(file.read(4096))
    if not found:
        return ""
    return "structures" if found[0].decode() in (*segmentation.SOP_CLASSES, contours.SOP_CLASS) else "image"


def series_of(path: Path) -> tuple[str, str]:
    """Series Instance UID of a file, and of the images to which its structures belong; empty where it does not say.

    Raises:
        UserError: The file is damaged.
    """
    data = read_dataset(path)
    referenced = (data.get("ReferencedSeriesSequence") or [{}])[0].get("SeriesInstanceUID", "")
    return str(data.get("SeriesInstanceUID", "")), str(referenced) or contours.series_of(data)


def open_dicom(path: Path, like: Grid | None = None) -> ImageFile:
    """A segmentation or a structure set.

    Args:
        path: The file.
        like: The image's grid, on which contours are filled and whose planes segments lie on; None looks for the image
            beside contours.

    Raises:
        UserError: It is another object, or not usable.
    """
    sop_class = str(read_dataset(path).get("SOPClassUID", ""))
    if sop_class in segmentation.SOP_CLASSES:
        return segmentation.SegmentationFile(path, like)
    if sop_class == contours.SOP_CLASS:
        return contours.ContourFile(path, like)
    raise UserError(
        f"{path} is DICOM, but neither a segmentation nor contours.",
        "Give the file with the structures (modality SEG or RTSTRUCT).",
        "dicom-no-structures",
    )
