"""Between SimpleITK images and arrays indexed (i, j, k), and writing scalar volumes."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg.data.reading.plain_path import is_plain
from mimseg.data.volume import Grid


def grid_of(image: sitk.Image) -> Grid:
    """The grid of a three-dimensional image."""
    return Grid(
        tuple(image.GetSize()),  # type: ignore[arg-type]
        tuple(image.GetSpacing()),  # type: ignore[arg-type]
        tuple(image.GetOrigin()),  # type: ignore[arg-type]
        np.array(image.GetDirection(), float).reshape(3, 3),
    )


def array_of(image: sitk.Image) -> NDArray:
    """Voxels as `(i, j, k)`, or `(C, i, j, k)` if a voxel has several components."""
    array = sitk.GetArrayFromImage(image)
    return array.transpose(3, 2, 1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else array.transpose(2, 1, 0)


def image_of(array: NDArray, grid: Grid) -> sitk.Image:
    """SimpleITK image of voxels `(i, j, k)` on `grid`."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(tuple(float(value) for value in grid.spacing))
    image.SetOrigin(tuple(float(value) for value in grid.origin))
    image.SetDirection(tuple(np.asarray(grid.direction, float).ravel().tolist()))
    return image


def save_with_itk(path: Path, image: sitk.Image) -> None:
    """Write with compression to an existing temporary file. ITK does not say when a disk is full: verify what it wrote.

    Raises:
        RuntimeError, OSError: ITK noticed that it could not write.
    """
    if is_plain(path):
        sitk.WriteImage(image, str(path), useCompression=True)
        return
    with tempfile.TemporaryDirectory(prefix="mimseg-") as folder:
        plain = Path(folder) / f"image{''.join(path.suffixes)}"
        sitk.WriteImage(image, str(plain), useCompression=True)
        shutil.copyfile(plain, path)


def last_sentence(text: str) -> str:
    """The part of an ITK message that a person can use: without addresses of objects and source files."""
    line = text.strip().splitlines()[-1] if text.strip() else "no reason given"
    for mark in ("ITK ERROR: ", "sitk::ERROR: ", "): "):
        line = line.rsplit(mark, 1)[-1]
    return line.strip().rstrip(".")
