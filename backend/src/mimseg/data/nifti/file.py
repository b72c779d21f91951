"""One NIfTI file: its header first, then the voxels of one frame, decompressed once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels.drawn import MARK
from mimseg.data.nifti.header import HEADER_BYTES, OTHER_TYPES, TYPES, NiftiHeader, parse_header
from mimseg.data.nifti.placement import place
from mimseg.data.reading.inflate import Damaged, Inflated, is_gzip
from mimseg.data.reading.opened import ImageHeader, damaged, unreadable
from mimseg.data.volume import Grid
from mimseg.errors import UserError
from mimseg.events import Reporter

_READ = 8 << 20
# deflate shrinks by no more than this: a header that asks for more is wrong, and must not cost the memory.
_MOST_DEFLATED = 1040


class NiftiFile:
    """See `reading.opened.ImageFile`."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            UserError: The file is no single-file NIfTI, or holds voxels that are no single numbers.
        """
        self._path = path
        with path.open("rb") as file:
            self._compressed = is_gzip(file.read(2))
        raw = self._begin()
        header = parse_header(raw)
        if header is None:
            raise unreadable(path, "its content is not NIfTI, or its header is damaged")
        self._nifti = header
        self._check_fields(header)
        # Axes of one voxel behind the third say nothing; the fifth is that of vectors.
        size = _without_ones(header.size)
        components = 1
        if len(size) == 5:
            components, size = size[4], _without_ones(size[:4])
        self.header = ImageHeader(
            size=size,
            components=components,
            number=OTHER_TYPES.get(header.datatype, ""),
            stored=_stored(header),
            metadata={MARK: header.description},
        )

    def read(self, frame: int, orientation: str, reporter: Reporter) -> tuple[NDArray, Grid]:
        """See `ImageFile.read`; only three-dimensional frames of single numbers."""
        x, y, z = self.header.size[:3]
        grid, warnings = place(self._nifti.transforms, (x, y, z), orientation, self._path)
        flat = self._voxels(frame * x * y * z, x * y * z, reporter)
        for code, message in [*warnings, *self._scale_warnings()]:
            reporter.warning(code, message)
        return self._scaled(flat).reshape((x, y, z), order="F"), grid

    def verify(self) -> None:
        """See `ImageFile.verify`."""
        self._voxels(0, 0, Reporter())

    def _begin(self) -> bytes:
        """The first bytes of the decompressed file, as many as there are."""
        raw = b""
        try:
            for piece in self._pieces():
                raw += piece[:HEADER_BYTES]
                if len(raw) >= HEADER_BYTES:
                    break
        except Damaged as fault:
            if len(raw) < HEADER_BYTES:
                raise damaged(self._path, fault) from fault
        return raw

    def _pieces(self, notes: list[int] | None = None) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            if not self._compressed:
                while piece := file.read(_READ):
                    yield piece
                return
            stream = Inflated(file)
            yield from stream
            if notes is not None:
                notes.append(stream.trailing)

    def _check_fields(self, header: NiftiHeader) -> None:
        if any(edge < 1 for edge in header.size):
            shape = "x".join(str(edge) for edge in header.size)
            raise UserError(f"{self._path} is empty ({shape} voxels).", "Give a volume with voxels.", "empty")
        if max(header.size) > 32767:
            raise UserError(
                f"{self._path} is too large ({header.size}).", "Crop it to 32767 voxels an axis.", "unsupported-format"
            )
        if header.datatype not in TYPES and header.datatype not in OTHER_TYPES:
            raise unreadable(self._path, f"its header names a type of numbers that does not exist, {header.datatype}")
        try:
            header.first_voxel  # noqa: B018
        except ValueError as fault:
            raise unreadable(self._path, str(fault)) from fault

    def _voxels(self, first: int, count: int, reporter: Reporter) -> NDArray:
        """`count` stored numbers from the `first` on; the file is read to its end, which checks its checksum."""
        header, path = self._nifti, self._path
        itemsize = header.voxel_type.itemsize
        needed = header.first_voxel + math.prod(header.size) * itemsize
        length = path.stat().st_size
        if needed > length * (_MOST_DEFLATED if self._compressed else 1):
            raise _cut_off(path, length, needed)
        if not self._compressed:
            self._check_length(length, needed, 0, reporter)
            return np.fromfile(path, header.voxel_type, count, offset=header.first_voxel + first * itemsize)
        flat = np.empty(count * itemsize, np.uint8)
        begin = header.first_voxel + first * itemsize
        position, trailing = 0, [0]
        try:
            for piece in self._pieces(trailing):
                low, high = max(begin - position, 0), min(begin + flat.size - position, len(piece))
                if low < high:
                    flat[position + low - begin : position + high - begin] = np.frombuffer(piece, np.uint8)[low:high]
                position += len(piece)
        except Damaged as fault:
            raise damaged(path, fault) from fault
        if position < needed:
            raise _cut_off(path, position, needed)
        self._check_length(position, needed, trailing[-1], reporter)
        return flat.view(header.voxel_type)

    def _check_length(self, length: int, needed: int, trailing: int, reporter: Reporter) -> None:
        """Tell of bytes too many: a header that asks for too little would lay the voxels out wrong."""
        header = self._nifti
        if header.bits != header.voxel_type.itemsize * 8 and length != needed:
            raise unreadable(
                self._path, f"its header says {header.bits} bits a voxel, which does not fit its type of numbers"
            )
        if length > needed:
            reporter.warning(
                "more-than-header",
                f"{self._path} holds {length - needed} bytes more than its header says; they were left out. If the "
                "scan looks scrambled, its header is wrong.",
            )
        if trailing:
            reporter.warning(
                "trailing-bytes",
                f"{self._path}: {trailing} bytes stand behind the end of its compressed data; they were left out.",
            )

    def _scale_warnings(self) -> list[tuple[str, str]]:
        slope, intercept = self._nifti.scale
        if math.isfinite(slope) and math.isfinite(intercept):
            return []
        return [
            (
                "scale-ignored",
                f"{self._path}: its scaling (slope {slope:g}, intercept {intercept:g}) is no usable number and "
                "was left out.",
            )
        ]

    def _scaled(self, flat: NDArray) -> NDArray:
        """Stored numbers after slope and intercept, in the machine's byte order; float32 if anything was scaled."""
        scaling = self._nifti.scaling
        if scaling is None:
            return flat.astype(flat.dtype.newbyteorder("="), copy=False)
        slope, intercept = scaling
        scaled = np.empty(flat.shape, np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for begin in range(0, flat.size, _READ):
                part = slice(begin, begin + _READ)
                scaled[part] = flat[part].astype(np.float64) * slope + intercept
        return scaled


def _stored(header: NiftiHeader) -> str:
    if header.datatype in TYPES and (header.voxel_type.kind == "f" or header.scaling is not None):
        return "float64" if header.voxel_type.itemsize == 8 else "float32"
    return "whole numbers"


def _without_ones(size: tuple[int, ...]) -> tuple[int, ...]:
    last = max((axis for axis, edge in enumerate(size, start=1) if edge > 1), default=0)
    return size[: max(3, last)]


def _cut_off(path: Path, length: int, needed: int) -> UserError:
    return UserError(
        f"{path} is cut off, or its header is wrong: it has {length} of {needed} bytes.",
        "Copy or download it again.",
        "unreadable",
    )
