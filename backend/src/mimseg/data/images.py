"""Between image files, SimpleITK images and arrays indexed (i, j, k)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg.data.nifti import readable_nifti
from mimseg.data.volume import Grid
from mimseg.errors import UserError

IMAGE_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


def suffix_of(path: Path) -> str:
    """The ending that names the format, in lower case: `.nii.gz` and `.seg.nrrd` count as one; `` if unknown."""
    name = path.name.lower()
    return next((end for end in (".nii.gz", ".seg.nrrd", *IMAGE_SUFFIXES) if name.endswith(end)), "")


def open_reader(path: Path) -> sitk.ImageFileReader:
    """A SimpleITK reader that has read the header of `path` and nothing else.

    Raises:
        UserError: The file is missing, has an unsupported ending, or its header cannot be read.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist.", "Check the path.", "file-missing")
    if not suffix_of(path):
        raise UserError(
            f"{path} has an ending that is not supported.",
            f"Give a file ending in {', '.join(IMAGE_SUFFIXES)}, or a folder with one DICOM series.",
            "unsupported-format",
        )
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as fault:
        raise _unreadable(path, fault) from fault
    return reader


def read_with_header(path: Path, choose: Callable[[sitk.ImageFileReader], None]) -> sitk.Image:
    """Read an image; `choose` sees the header first, may raise UserError, and may set the region to extract.

    Raises:
        UserError: The file cannot be read, or what `choose` raises.
    """
    with readable_nifti(path) as (readable, non_finite), _itk_warnings_off():
        try:
            reader = open_reader(readable)
        except UserError as fault:
            raise UserError(fault.message.replace(str(readable), str(path)), fault.hint, fault.code) from fault
        choose(reader)
        try:
            image = reader.Execute()
        except RuntimeError as fault:
            if "bad_alloc" in str(fault) or "allocate memory" in str(fault):
                raise MemoryError(f"{path} does not fit into memory") from fault
            raise _unreadable(path, fault) from fault
        if non_finite is None or image.GetNumberOfComponentsPerPixel() > 1:
            return image
        frame = reader.GetExtractIndex()[3] if len(reader.GetExtractIndex()) > 3 else 0
        return _with_nan(image, non_finite, frame)


def _with_nan(image: sitk.Image, non_finite: NDArray[np.bool_], frame: int) -> sitk.Image:
    """Put back the NaN and infinite voxels that ITK read as 0, all as NaN."""
    array = sitk.GetArrayFromImage(image)
    array.reshape(-1)[non_finite[frame * array.size : (frame + 1) * array.size]] = np.nan
    restored = sitk.GetImageFromArray(array, isVector=False)
    restored.CopyInformation(image)
    return restored


@contextmanager
def _itk_warnings_off() -> Iterator[None]:
    """ITK prints its warnings on stderr in its own words; what matters is told through the reporter."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _unreadable(path: Path, fault: Exception) -> UserError:
    reason, lower = _last_sentence(str(fault)), str(fault).lower()
    if suffix_of(path) in (".mha", ".mhd"):
        # ITK gives the operating system's last error here, which has nothing to do with it.
        reason = "its header is not valid, or its data are missing or shorter than the header says"
    elif "unable to determine imageio" in lower:
        reason = "its content is not what its ending says"
    if "orthonormal" in lower or "determinant" in lower or "zero-valued spacing" in lower:
        return UserError(
            f"{path} has axes that are not at right angles (or have no length) in its header.",
            "Resample it on a regular grid, e.g. in 3D Slicer with 'Resample Scalar/Vector/DWI Volume', "
            "or repair qform and sform.",
            "bad-geometry",
        )
    return UserError(
        f"{path} cannot be read ({reason}).",
        "The file may be damaged, cut off, or not what its ending says: copy or convert it again.",
        "unreadable",
    )


def _last_sentence(text: str) -> str:
    """The part of an ITK message that a person can use: without addresses of objects and source files."""
    line = text.strip().splitlines()[-1] if text.strip() else "no reason given"
    for mark in ("ITK ERROR: ", "sitk::ERROR: "):
        line = line.rsplit(mark, 1)[-1]
    if "): " in line:
        line = line.rsplit("): ", 1)[-1]
    return line.strip().rstrip(".")


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


def write_image(path: Path, image: sitk.Image) -> None:
    """Write under a temporary name in the same folder, then rename: there is never half a file at `path`.

    Raises:
        UserError: The folder does not exist or cannot be written to, or the disk is full.
    """
    suffix = suffix_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".mimseg-", suffix=suffix, dir=path.parent)
        os.close(handle)
    except OSError as fault:
        raise UserError(
            f"{path} cannot be written ({fault.strerror}).", "Choose another folder.", "not-writable"
        ) from fault
    temporary = Path(name)
    try:
        sitk.WriteImage(image, str(temporary), useCompression=suffix != ".nii")
        _give_usual_permissions(temporary)
        os.replace(temporary, path)
    except (RuntimeError, OSError) as fault:
        raise UserError(
            f"{path} cannot be written ({_last_sentence(str(fault))}).",
            "Check that the disk is not full and that no other program holds the file.",
            "not-writable",
        ) from fault
    finally:
        temporary.unlink(missing_ok=True)


def _give_usual_permissions(path: Path) -> None:
    """mkstemp makes files private; outputs follow the user's umask like any other file."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)
