"""Between SimpleITK images and arrays indexed (i, j, k)."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg.data.volume import Grid


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
