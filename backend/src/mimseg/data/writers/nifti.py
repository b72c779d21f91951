"""Labels and maps as NIfTI-1, placed as the file they belong to."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from mimseg import formats
from mimseg.data.labels.drawn import Drawn
from mimseg.data.nifti.header import encode_header
from mimseg.data.nifti.placement import transforms_of
from mimseg.data.volume import Grid


def write(path: Path, drawn: Drawn) -> None:
    """Write labels, with the mark of what drew them; NIfTI has no place for the names of the values."""
    write_voxels(path, drawn.labels, drawn.grid, drawn.mark)


def write_voxels(path: Path, array: NDArray, grid: Grid, description: str = "") -> None:
    """Write numbers `(i, j, k)` as they are, compressed if the name ends in `.gz`.

    If the grid was read from a NIfTI file, both transforms and both codes are the same as there.

    Raises:
        OSError: They cannot be written.
    """
    voxel_type = array.dtype.newbyteorder("<")
    header = encode_header(grid.size, np.dtype(voxel_type), transforms_of(grid), description)
    with path.open("wb") as file:
        if formats.ending_of(path) != ".nii.gz":
            _write(file, header, array.astype(voxel_type, copy=False))
            return
        # No name and no time in the stream: equal volumes make equal files, and a temporary name is nobody's business.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0) as stream:
            _write(cast(BinaryIO, stream), header, array.astype(voxel_type, copy=False))


def _write(file: BinaryIO, header: bytes, array: NDArray) -> None:
    file.write(header)
    for k in range(array.shape[2]):
        file.write(array[:, :, k].tobytes(order="F"))
