"""Decoding pixels with GDCM."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg.data.reading.plain_path import plain_path
from mimseg.errors import UserError


def decode(path: Path, named: Path) -> NDArray:
    """Pixels `(row, column)`, or `(frame, row, column)`, after the file's rescale slope and intercept.

    Args:
        path: The file to decode.
        named: The file to name in messages.

    Raises:
        UserError: They cannot be decoded.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.LoadPrivateTagsOff()
    with plain_path(path) as name:
        reader.SetFileName(name)
        try:
            return sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as fault:
            raise unreadable(named) from fault


def unreadable(path: Path) -> UserError:
    """The error for pixels that are cut off or cannot be decoded."""
    return UserError(
        f"The pixels of {path} cannot be read: they are cut off or compressed in an unknown way.",
        "Export or copy the series again; without this slice the volume is incomplete.",
        "unreadable",
    )
