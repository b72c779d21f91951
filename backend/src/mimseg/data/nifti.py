"""What ITK leaves to its caller with NIfTI files.

ITK reads a file that is cut off or damaged, NaN and infinity as zeros without an error, does not read NIfTI-2, silently
falls back from a sheared sform to the qform, and flips axes whose voxel size is negative. The header is
therefore read here as well. Layouts: https://nifti.nimh.nih.gov (nifti1.h, nifti2.h).
"""

from __future__ import annotations

import gzip
import math
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from mimseg.data.volume import Grid
from mimseg.errors import UserError

_MAGIC = {b"n+1\0": 1, b"n+2\0": 2}
_FLOATS = {16: "f4", 64: "f8"}
_CHUNK = 1 << 20


@dataclass(frozen=True)
class NiftiHeader:
    """Fields of a NIfTI-1 or NIfTI-2 header; `order` is `<` or `>`."""

    version: int
    order: str
    datatype: int
    bits: int
    size: tuple[int, ...]
    intent: tuple[float, float, float, int]
    pixdim: tuple[float, ...]
    offset: int
    scale: tuple[float, float]
    units: int
    codes: tuple[int, int]
    quaternion: tuple[float, ...]
    sform: tuple[float, ...]

    @property
    def bytes_needed(self) -> int:
        """Least length of the (decompressed) file."""
        return self.offset + math.prod(self.size) * self.bits // 8

    def as_nifti1(self) -> bytes:
        """The 352 bytes that stand before the voxels in a NIfTI-1 file."""
        dim = [len(self.size), *self.size] + [1] * (7 - len(self.size))
        pack = struct.Struct(f"{self.order}i36x8h3f4h8f3fhBB4f8x104x2h6f12f16x4s4x").pack
        return pack(
            348, *dim, *self.intent[:3], self.intent[3], self.datatype, self.bits, 0, *self.pixdim, 352.0,
            *self.scale, 0, 0, self.units, 0.0, 0.0, 0.0, 0.0, *self.codes, *self.quaternion, *self.sform, b"n+1\0",
        )  # fmt: skip


@contextmanager
def readable_nifti(path: Path) -> Iterator[tuple[Path, NDArray[np.bool_] | None]]:
    """A path that SimpleITK reads right, and what it will lose.

    The path is `path` itself, or a temporary NIfTI-1 copy of a NIfTI-2 file; files that are no NIfTI are
    passed through. ITK reads NaN and infinity as 0: the second item marks them in the order of the file,
    or is None if there are none.

    Raises:
        UserError: The file is damaged, shorter than its header says, or has voxel sizes that are not positive.
    """
    header = read_nifti_header(path)
    if header is None:
        yield path, None
        return
    non_finite = _check(header, path)
    if header.version == 1:
        yield path, non_finite
        return
    with tempfile.TemporaryDirectory(prefix="mimseg-") as folder:
        copy = Path(folder) / "volume.nii"
        with _open(path) as source, copy.open("wb") as target:
            target.write(header.as_nifti1())
            source.seek(header.offset)
            shutil.copyfileobj(source, target, _CHUNK)
        yield copy, non_finite


def read_nifti_header(path: Path) -> NiftiHeader | None:
    """The header, or None if the file is no single-file NIfTI."""
    if not path.name.lower().endswith((".nii", ".nii.gz")) or not path.is_file():
        return None
    try:
        with _open(path) as file:
            raw = file.read(540)
    except (OSError, EOFError, zlib.error):
        return None
    if len(raw) >= 348 and _MAGIC.get(raw[344:348]) == 1:
        return _parse_nifti1(raw)
    if len(raw) >= 540 and _MAGIC.get(raw[4:8]) == 2:
        return _parse_nifti2(raw)
    return None


def geometry_warnings(path: Path, grid: Grid) -> list[tuple[str, str]]:
    """Codes and messages where `grid`, as ITK read it, is not what the header says, or the header says nothing."""
    header = read_nifti_header(path)
    if header is None:
        return []
    if header.codes == (0, 0):
        return [("no-orientation", f"{path} does not say how it is oriented: left and right may be swapped.")]
    if header.codes[1] <= 0:
        return []
    affine = np.array(header.sform).reshape(3, 4) * {1: 1e3, 3: 1e-3}.get(header.units & 7, 1.0)
    affine[:2] *= -1
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(grid.size) - 1.0)
    apart = np.abs(corners @ affine[:, :3].T + affine[:, 3] - grid.to_point(corners)).max()
    if apart <= 0.1 * min(grid.spacing):
        return []
    return [
        (
            "sform-ignored",
            f"{path}: its sform is sheared or contradicts its voxel size, so the qform is used; "
            f"programs that use the sform show it up to {apart:.3g} mm elsewhere.",
        )
    ]


def _check(header: NiftiHeader, path: Path) -> NDArray[np.bool_] | None:
    """Refuse what ITK would read wrong; mark the non-finite voxels, None if there are none."""
    if any(not value > 0 or math.isinf(value) for value in header.pixdim[1 : 1 + min(3, len(header.size))]):
        shown = ", ".join(f"{value:g}" for value in header.pixdim[1:4])
        raise UserError(
            f"{path} has voxel sizes that are not positive ({shown}).", "Repair pixdim in its header.", "bad-geometry"
        )
    if header.version == 2 and max(header.size, default=0) > 32767:
        raise UserError(
            f"{path} is too large ({header.size}).", "Crop it to 32767 voxels an axis.", "unsupported-format"
        )
    try:
        length, non_finite = _scan(header, path)
    except (OSError, EOFError, zlib.error) as fault:
        raise UserError(
            f"{path} is damaged ({str(fault).rstrip('.')}).", "Copy or download it again.", "unreadable"
        ) from fault
    if length < header.bytes_needed:
        raise UserError(
            f"{path} is cut off: it has {length} of {header.bytes_needed} bytes.",
            "Copy or download it again.",
            "unreadable",
        )
    return non_finite


def _scan(header: NiftiHeader, path: Path) -> tuple[int, NDArray[np.bool_] | None]:
    """Length of the decompressed file and its non-finite voxels; reading to the end checks gzip's checksum."""
    kind = _FLOATS.get(header.datatype)
    with _open(path) as file:
        if kind is None and not isinstance(file, gzip.GzipFile):
            return path.stat().st_size, None
        length = len(file.read(header.offset))
        count = math.prod(header.size)
        marks: NDArray[np.bool_] | None = None
        first = 0
        while chunk := file.read(_CHUNK):
            length += len(chunk)
            if kind is None or first >= count:
                continue
            items = np.frombuffer(chunk, np.dtype(header.order + kind), len(chunk) // int(kind[1:]))
            bad = ~np.isfinite(items[: count - first])
            if bad.any():
                marks = np.zeros(count, bool) if marks is None else marks
                marks[first : first + bad.size] = bad
            first += items.size
    return length, marks


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb")) if compressed else path.open("rb")


def _parse_nifti1(raw: bytes) -> NiftiHeader:
    order = "<" if raw[:4] == struct.pack("<i", 348) else ">"

    def get(layout: str, start: int) -> tuple:
        return struct.unpack_from(order + layout, raw, start)

    dim = get("8h", 40)
    return NiftiHeader(
        version=1,
        order=order,
        datatype=get("h", 70)[0],
        bits=get("h", 72)[0],
        size=dim[1 : 1 + min(max(dim[0], 0), 7)],
        intent=(*get("3f", 56), get("h", 68)[0]),
        pixdim=get("8f", 76),
        offset=int(get("f", 108)[0]),
        scale=get("2f", 112),  # type: ignore[arg-type]
        units=raw[123],
        codes=get("2h", 252),  # type: ignore[arg-type]
        quaternion=get("6f", 256),
        sform=get("12f", 280),
    )


def _parse_nifti2(raw: bytes) -> NiftiHeader:
    order = "<" if raw[:4] == struct.pack("<i", 540) else ">"

    def get(layout: str, start: int) -> tuple:
        return struct.unpack_from(order + layout, raw, start)

    dim = get("8q", 16)
    return NiftiHeader(
        version=2,
        order=order,
        datatype=get("h", 12)[0],
        bits=get("h", 14)[0],
        size=dim[1 : 1 + min(max(dim[0], 0), 7)],
        intent=(*get("3d", 80), get("i", 504)[0]),
        pixdim=get("8d", 104),
        offset=get("q", 168)[0],
        scale=get("2d", 176),  # type: ignore[arg-type]
        units=get("i", 500)[0] & 0xFF,
        codes=get("2i", 344),  # type: ignore[arg-type]
        quaternion=get("6d", 352),
        sform=get("12d", 400),
    )
