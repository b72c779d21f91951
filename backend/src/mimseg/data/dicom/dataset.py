"""Whole DICOM objects, for what GDCM does not show: sequences, and objects that are no images."""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimseg.errors import UserError
from mimseg.installation import remedy

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset


def read_dataset(path: Path, pixels: bool = False) -> FileDataset:
    """Read a DICOM file with pydicom.

    Args:
        path: The file.
        pixels: Read the pixel data as well.

    Raises:
        UserError: It is no DICOM file or damaged, or pydicom is missing.
    """
    pydicom = need("pydicom")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # About values against the standard, which they quote.
            return pydicom.dcmread(path, stop_before_pixels=not pixels, force=True)
    except Exception as fault:  # Damaged files fail in many ways.
        raise UserError(
            f"{path} is a damaged DICOM file.", "Export or copy it again from the archive.", "unreadable"
        ) from fault


def need(package: str) -> Any:
    """Import a package that only some DICOM objects need.

    Raises:
        UserError: It is missing or does not work.
    """
    try:
        return import_module("pydicom") if package == "pydicom" else import_module("highdicom")
    except ImportError as fault:
        if package == "highdicom":
            raise UserError(
                "DICOM segmentations need the package highdicom, which is not installed.",
                remedy("dicom"),
                "dicom-package-missing",
            ) from fault
        raise UserError(
            f"This DICOM object needs the package {package}, which is not installed.", remedy(), "package-missing"
        ) from fault
