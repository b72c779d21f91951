"""Opening an image file, whatever its format."""

from __future__ import annotations

from pathlib import Path

from mimseg import formats
from mimseg.data.dicom.structures import open_dicom
from mimseg.data.nifti.file import NiftiFile
from mimseg.data.reading.itk_file import ItkFile
from mimseg.data.reading.opened import ImageFile, unreadable
from mimseg.data.volume import Grid
from mimseg.errors import UserError


def open_image(path: Path, like: Grid | None = None) -> ImageFile:
    """An image file whose header was read, and nothing else.

    Args:
        path: The file: an image, a labelmap, or a DICOM object that holds structures.
        like: The image's grid, for contours, which have none of their own (None looks for the image beside them), and
            for DICOM segmentations, which need not say how far apart slices lie.

    Raises:
        UserError: The file is missing, has an unsupported ending, or its header cannot be read.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist.", "Check the path.", "file-missing")
    if formats.is_dicom(path):
        return open_dicom(path, like)
    ending = formats.ending_of(path)
    if not ending:
        raise UserError(
            f"{path} has an ending that is not supported.",
            f"Give a file ending in {formats.listed(formats.IMAGES)}, or a folder with one DICOM series.",
            "unsupported-format",
        )
    try:
        return NiftiFile(path) if ending.startswith(".nii") else ItkFile(path)
    except OSError as fault:
        raise unreadable(path, (fault.strerror or str(fault)).lower()) from fault
