"""Writing volumes: verified after writing, then renamed."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import NDArray

from mimseg import formats
from mimseg.data.opening import open_image
from mimseg.data.volume import Grid
from mimseg.data.writers import nifti
from mimseg.errors import UserError
from mimseg.files import Incomplete, replacing


def write_map(path: Path, array: NDArray, grid: Grid) -> None:
    """Write a map of numbers `(i, j, k)` on `grid` as NIfTI (`.nii.gz`, `.nii`).

    Raises:
        UserError: The file cannot be written.
    """
    with replacing(path, lambda written: check_volume(written, grid.size)) as temporary:
        nifti.write_voxels(temporary, array, grid)


def check_volume(path: Path, size: tuple[int, ...]) -> None:
    """Read a volume back: its header, its checksum, its number of voxels.

    Raises:
        Incomplete: It is not a whole volume of that size (`.seg.nrrd`: of that size in each layer). `size` may end
            before the last axis.
    """
    try:
        file = open_image(path)
        file.verify()
    except UserError as fault:
        raise Incomplete(f"what was written cannot be read back, {path.stat().st_size} bytes") from fault
    if file.header.size[: len(size)] != tuple(size):
        raise Incomplete("what was written has another size")


def is_whole(path: Path) -> bool:
    """True if a file is a volume that can be read to its end, with its checksum; False for empty and cut ones.

    Of formats that are only written, all that can be told is that the file is not empty.
    """
    found = formats.format_of(path)
    if found is not None and not found.labels:
        return path.stat().st_size > 0
    try:
        open_image(path).verify()
    except UserError:
        return False
    return True
