"""What a file said beyond its grid, for results that must say the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class NiftiTransforms:
    """The two placements of a NIfTI file, as they stand in its header.

    Attributes:
        pixdim: qfac (-1 or 1), then the voxel size along i, j, k.
        units: `xyzt_units`.
        codes: `qform_code`, `sform_code`.
        quaternion: `quatern_b`, `c`, `d`, `qoffset_x`, `y`, `z`.
        sform: `srow_x`, `srow_y`, `srow_z`.
    """

    pixdim: tuple[float, ...]
    units: int
    codes: tuple[int, int]
    quaternion: tuple[float, ...]
    sform: tuple[float, ...]


@dataclass(frozen=True)
class Source:
    """Where a volume was read from, as far as writers need it.

    Attributes:
        nifti: Both transforms, if it was a NIfTI file.
        dicom: The DICOM files of a series in ascending order along k; a multi-frame file is the only one.
        planes: Each of the DICOM files became one plane of the grid, where it lies.
    """

    nifti: NiftiTransforms | None = None
    dicom: tuple[Path, ...] = ()
    planes: bool = False
