"""DICOM objects that hold structures: segmentations (SEG) and contours (RTSTRUCT)."""

from __future__ import annotations

from pathlib import Path

from mimseg.data.dicom import contours, segmentation
from mimseg.data.dicom.dataset import read_dataset
from mimseg.data.reading.opened import ImageFile
from mimseg.data.volume import Grid
from mimseg.errors import UserError


def holds_structures(sop_class: str) -> bool:
    """Whether a SOP Class UID is that of a segmentation or of contours."""
    return sop_class in (*segmentation.SOP_CLASSES, contours.SOP_CLASS)


def open_dicom(path: Path, like: Grid | None = None) -> ImageFile:
    """A segmentation or a structure set.

    Args:
        path: The file.
        like: The image's grid, on which contours are filled; None looks for the image beside them.

    Raises:
        UserError: It is another object, or not usable.
    """
    sop_class = str(read_dataset(path).get("SOPClassUID", ""))
    if sop_class in segmentation.SOP_CLASSES:
        return segmentation.SegmentationFile(path)
    if sop_class == contours.SOP_CLASS:
        return contours.ContourFile(path, like)
    raise UserError(
        f"{path} is DICOM, but neither a segmentation nor contours.",
        "Give the file with the structures (modality SEG or RTSTRUCT).",
        "dicom-no-structures",
    )
