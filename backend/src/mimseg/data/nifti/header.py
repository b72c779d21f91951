"""The header of a NIfTI file."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np

from mimseg.data.source import NiftiTransforms

# Files renamed from a pair of header and image keep the pair's mark.
_MAGIC = {b"n+1\0": 1, b"ni1\0": 1, b"n+2\0": 2, b"ni2\0": 2}
# Bytes of the header, with the four that say whether extensions follow.
FIRST_VOXEL = {1: 352, 2: 544}
HEADER_BYTES = 544
# NumPy types by NIfTI's data type; those of several numbers in each voxel in words.
TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
OTHER_TYPES = {
    1: "single bits", 32: "complex numbers", 128: "colours (RGB)", 1536: "128-bit numbers", 1792: "complex numbers",
    2048: "complex numbers", 2304: "colours (RGBA)",
}  # fmt: skip
# Layout and first byte of each field that is read, in NIfTI-1 and NIfTI-2; neighbours of one kind are read as one.
_FIELDS = {
    1: {
        "dim": ("8h", 40), "datatype": ("h", 70), "bitpix": ("h", 72), "pixdim": ("4f", 76),
        "vox_offset": ("f", 108), "scl": ("2f", 112), "xyzt_units": ("B", 123), "descrip": ("80s", 148),
        "codes": ("2h", 252), "quatern": ("6f", 256), "srow": ("12f", 280),
    },
    2: {
        "dim": ("8q", 16), "datatype": ("h", 12), "bitpix": ("h", 14), "pixdim": ("4d", 104),
        "vox_offset": ("q", 168), "scl": ("2d", 176), "xyzt_units": ("i", 500), "descrip": ("80s", 240),
        "codes": ("2i", 344), "quatern": ("6d", 352), "srow": ("12d", 400),
    },
}  # fmt: skip


@dataclass(frozen=True)
class NiftiHeader:
    """Fields of a NIfTI-1 or NIfTI-2 header.

    Attributes:
        version: 1 or 2.
        order: Byte order, `<` or `>`.
        datatype, bits: As in the header.
        size: Voxels along each axis, as many as `dim[0]` says.
        offset: `vox_offset` as it stands there, which may be no usable number.
        scale: `scl_slope`, `scl_inter`.
        transforms: What says where the voxels lie.
        description: What the program that wrote it said of it.
    """

    version: int
    order: str
    datatype: int
    bits: int
    size: tuple[int, ...]
    offset: float
    scale: tuple[float, float]
    transforms: NiftiTransforms
    description: str = ""

    @property
    def voxel_type(self) -> np.dtype:
        """Of the stored numbers; KeyError if `datatype` is not one number a voxel."""
        return np.dtype(self.order + TYPES[self.datatype])

    @property
    def first_voxel(self) -> int:
        """Where the voxels begin. An offset of 0 means right behind the header: nowhere else can it be.

        Raises:
            ValueError: The offset is no number, or lies inside the header.
        """
        if self.offset == 0:
            return FIRST_VOXEL[self.version]
        if not math.isfinite(self.offset) or self.offset < FIRST_VOXEL[self.version]:
            raise ValueError(f"vox_offset is {self.offset:g}, but voxels begin at {FIRST_VOXEL[self.version]} or later")
        return int(self.offset)

    @property
    def scaling(self) -> tuple[float, float] | None:
        """Slope and intercept, or None where the standard says that there is none: the slope is 0.

        A slope or an intercept that is no number counts as absent.
        """
        slope, intercept = self.scale
        if slope == 0 or not math.isfinite(slope):
            return None
        intercept = intercept if math.isfinite(intercept) else 0.0
        return None if (slope, intercept) == (1.0, 0.0) else (slope, intercept)


def parse_header(raw: bytes) -> NiftiHeader | None:
    """The header at the begin of a (decompressed) file, or None if this is no single-file NIfTI."""
    if len(raw) >= 348 and _MAGIC.get(raw[344:348]) == 1:
        version = 1
    elif len(raw) >= 540 and _MAGIC.get(raw[4:8]) == 2:
        version = 2
    else:
        return None
    for order in "<>":
        field = {name: struct.unpack_from(order + kind, raw, start) for name, (kind, start) in _FIELDS[version].items()}
        # As in nifti1.h: the byte order is the one in which the number of axes makes sense.
        axes, *edges = field["dim"]
        if 1 <= axes <= 7:
            break
    else:
        return None
    return NiftiHeader(
        version=version,
        order=order,
        datatype=field["datatype"][0],
        bits=field["bitpix"][0],
        size=tuple(edges[:axes]),
        offset=float(field["vox_offset"][0]),
        scale=field["scl"],  # type: ignore[arg-type]
        transforms=NiftiTransforms(
            field["pixdim"],
            field["xyzt_units"][0] & 0xFF,
            field["codes"],
            field["quatern"],
            field["srow"],  # type: ignore[arg-type]
        ),
        description=field["descrip"][0].split(b"\0")[0].decode("ascii", "replace"),
    )


def encode_header(
    size: tuple[int, ...], voxel_type: np.dtype, transforms: NiftiTransforms, description: str = ""
) -> bytes:
    """The 352 bytes before the voxels of a little-endian NIfTI-1 file of unscaled numbers.

    The description has room for 79 letters of ASCII.
    """
    code = next(code for code, name in TYPES.items() if name == voxel_type.str[1:])
    dim = [len(size), *size] + [1] * (7 - len(size))
    # NIfTI-2 has room for more; the outermost ones here mean as little.
    codes = [max(-32768, min(code, 32767)) for code in transforms.codes]
    return struct.pack(
        "<i36x8h14xhhh8f3f3xB24x80s24x2h6f12f16x4s4x",
        348, *dim, code, voxel_type.itemsize * 8, 0, *transforms.pixdim, 0.0, 0.0, 0.0, 0.0,
        352.0, 1.0, 0.0, transforms.units, description.encode("ascii", "replace")[:79],
        *codes, *transforms.quaternion, *transforms.sform, b"n+1\0",
    )  # fmt: skip
