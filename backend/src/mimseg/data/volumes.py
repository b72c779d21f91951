"""Reading images: one volume, several channels, or whatever a folder holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg import formats
from mimseg.data.dicom.folder import read_dicom_file, read_dicom_folder
from mimseg.data.opening import open_image
from mimseg.data.reading.opened import ImageHeader
from mimseg.data.volume import Grid, Volume
from mimseg.errors import UserError
from mimseg.events import Reporter

# mm of the longest edge, and of the one after it, that a scan of a body can have: what is larger was not given in mm.
LARGEST_EXTENT, LARGEST_WIDTH = 3000.0, 1200.0


def read_volume(
    path: Path, frame: int | None = None, reporter: Reporter | None = None, orientation: str = ""
) -> Volume:
    """Read one three-dimensional volume.

    Args:
        path: A `.nii`, `.nii.gz`, `.nrrd`, `.nhdr`, `.mha` or `.mhd` file, a folder with one DICOM series, or one
            enhanced (multi-frame) DICOM file or Siemens mosaic.
        frame: Which volume of a series over time (4D), from 0; None where the file holds one volume.
        reporter: Is told what was corrected or is in doubt: non-finite values, gantry tilt, orientation.
        orientation: How the axes run if the file does not say, e.g. `LPS`; empty for RAS.

    Returns:
        Array `(i, j, k)` in the file's own type (float64 becomes float32) with finite values only.

    Raises:
        UserError: The input is not one readable, scalar, three-dimensional volume.
    """
    path, reporter = Path(path), reporter or Reporter()
    if path.is_dir():
        volume = read_dicom_folder(path, frame, reporter)
    elif formats.is_dicom(path):
        volume = read_dicom_file(path, frame, reporter)
    else:
        volume = _read_file(path, frame, reporter, orientation or formats.UNSAID_ORIENTATION)
    check_grid(volume.grid, path)
    return Volume(_finite(volume.array, path, reporter), volume.grid)


def read_channels(
    paths: Sequence[Path],
    frame: int | None = None,
    reporter: Reporter | None = None,
    orientation: str = "",
) -> Volume:
    """Read the channels of one case, each from its own file.

    Returns:
        Array `(C, i, j, k)` on the grid of the first channel.

    Raises:
        UserError: A channel cannot be read, or lies on another grid than the first.
    """
    volumes = [read_volume(path, frame, reporter, orientation) for path in paths]
    first = volumes[0]
    for path, volume in zip(paths, volumes, strict=True):
        if not volume.grid.same_as(first.grid):
            raise UserError(
                f"{path} lies on another grid ({describe_grid(volume.grid)}) than {paths[0]} "
                f"({describe_grid(first.grid)}).",
                "Channels of one case must be registered and resampled on one grid first.",
                "grid-mismatch",
            )
    return Volume(np.stack([volume.array for volume in volumes]), first.grid)


def describe_grid(grid: Grid) -> str:
    """Size, spacing and origin in words, for messages."""
    size = "x".join(str(value) for value in grid.size)
    spacing = "x".join(f"{value:.4g}" for value in grid.spacing)
    origin = ", ".join(f"{value:.4g}" for value in grid.origin)
    return f"{size} voxels of {spacing} mm at ({origin})"


def check_grid(grid: Grid, path: Path) -> None:
    """Refuse grids that are empty or flat, larger than any body, or whose axes have no length or no right angles.

    Raises:
        UserError: naming `path` and the fault.
    """
    numbers = np.concatenate([np.asarray(grid.spacing), np.asarray(grid.origin), np.ravel(grid.direction)])
    if not np.isfinite(numbers).all() or min(grid.spacing) <= 0:
        raise UserError(
            f"{path} has a spacing, origin or direction that is no usable number ({describe_grid(grid)}).",
            "Repair its header.",
            "bad-geometry",
        )
    extent = [float(size * spacing) for size, spacing in zip(grid.size, grid.spacing, strict=True)]
    if max(extent) > LARGEST_EXTENT or sorted(extent)[1] > LARGEST_WIDTH:
        raise UserError(
            f"{path} is {' x '.join(f'{edge / 1000:.2g}' for edge in extent)} metres large ({describe_grid(grid)}).",
            "Is its voxel size in mm? Repair its header.",
            "bad-geometry",
        )
    if np.abs(grid.direction.T @ grid.direction - np.eye(3)).max() > 1e-3:
        raise UserError(
            f"{path} has axes that are not at right angles.",
            "Resample it on a regular grid, e.g. in 3D Slicer with 'Resample Scalar/Vector/DWI Volume'.",
            "bad-geometry",
        )


def _read_file(path: Path, frame: int | None, reporter: Reporter, orientation: str) -> Volume:
    file = open_image(path)
    _refuse_all_but_scalars(file.header, path)
    _refuse_all_but_volumes(file.header.size, path, frame)
    array, grid = file.read(frame or 0, orientation, reporter)
    return Volume(array, grid)


def _refuse_all_but_scalars(header: ImageHeader, path: Path) -> None:
    if header.components > 1:
        raise UserError(
            f"{path} has {header.components} numbers in each voxel (colour, vectors or a deformation field).",
            "Give a volume with one number in each voxel.",
            "not-scalar",
        )
    if header.number:
        raise UserError(f"{path} has {header.number}.", "Give a volume of plain numbers.", "not-scalar")


def _refuse_all_but_volumes(size: tuple[int, ...], path: Path, frame: int | None) -> None:
    """Refuse what is neither 3D nor one frame of what is 4D."""
    shape = "x".join(str(value) for value in size)
    if 0 in size:
        raise UserError(f"{path} is empty ({shape} voxels).", "Give a volume with voxels.", "empty")
    frames = size[3] if len(size) == 4 else 1
    if len(size) < 3 or min(size[:3]) < 2:
        raise UserError(f"{path} is a flat picture ({shape}).", "Give a volume with several slices.", "not-3d")
    if len(size) > 4:
        raise UserError(f"{path} has {len(size)} dimensions ({shape}).", "Give a volume of three.", "not-3d")
    if frames > 1 and frame is None:
        raise UserError(
            f"{path} holds {frames} volumes ({shape}).",
            f"Choose one with --frame 0 to --frame {frames - 1}.",
            "needs-frame",
        )
    check_frame(frame, frames, path)


def check_frame(frame: int | None, frames: int, path: Path) -> None:
    """Refuse a frame number that `path` does not have.

    Raises:
        UserError: `frame` is not in 0..frames-1.
    """
    if frame is not None and not 0 <= frame < frames:
        raise UserError(
            f"{path} has no frame {frame}: it holds {frames}.", f"Choose one from 0 to {frames - 1}.", "no-such-frame"
        )


def _finite(array: NDArray, path: Path, reporter: Reporter) -> NDArray:
    """Replace what is no finite number and say so; float64 becomes float32.

    NaN stands for what was not measured, such as the outside of a skull-stripped brain: it becomes 0, the background of
    MR, or the lowest finite value where that is below 0 (air of CT, its padding). Infinity becomes the highest one.
    """
    if array.dtype.kind == "f":
        if array.dtype != np.float32:
            with np.errstate(over="ignore"):
                array = array.astype(np.float32)
        finite = np.isfinite(array)
        if not finite.any():
            raise UserError(f"{path} holds no finite number.", "Give a volume with intensities.", "empty")
        if not finite.all():
            low, high = min(float(array[finite].min()), 0.0), float(array[finite].max())
            count, bright = array.size - int(finite.sum()), np.isposinf(array)
            array = np.where(finite, array, np.where(bright, np.float32(high), np.float32(low)))
            became = [f"{value:g}" for value, any_of in ((low, count > bright.sum()), (high, bright.any())) if any_of]
            reporter.warning(
                "non-finite", f"{path}: {count} voxels were NaN or infinite and became {' or '.join(became)}."
            )
    if array.min() == array.max():
        reporter.warning("constant", f"{path}: all voxels have the same value ({array.flat[0]:g}).")
    return array
