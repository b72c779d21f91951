"""The pixels of DICOM slices."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.data.dicom.headers import Slice
from mimseg.data.reading.plain_path import plain_path
from mimseg.errors import UserError

# Pixel data (7FE0,0010): tag, explicit type with two empty bytes or nothing, length.
_PIXEL_DATA = re.compile(rb"\xe0\x7f\x10\x00(?:O[BW]\x00\x00)?(.{4})", re.DOTALL)
# Photometric interpretation (0028,0004) in either byte order: tag, type, length, value.
_REVERSED = re.compile(rb"((?:\x28\x00\x04\x00|\x00\x28\x00\x04).{4}MONOCHROME)1", re.DOTALL)
_UNDEFINED_LENGTH = 0xFFFFFFFF
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"


def read_pixels(slices: Sequence[Slice]) -> list[NDArray]:
    """Pixels `(i, j)` of each slice after its own rescale slope and intercept.

    Raises:
        UserError: The pixels of a slice are cut off or cannot be decoded.
        Stopped: The user asked to stop.
    """
    # The first one alone, because ITK sets itself up with it. ITK lets go of Python's lock while it decodes.
    first = [_slice_pixels(part) for part in slices[:1]]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return first + list(threads.map(_slice_pixels, slices[1:]))


def _slice_pixels(part: Slice) -> NDArray:
    stopping.check()
    content = part.path.read_bytes()
    if is_cut_off(content, part.size[0] * part.size[1] * part.bits // 8):
        raise _unreadable(part.path)
    if not part.reversed_display:
        return _decode(part.path, part.path)
    # GDCM turns the numbers of such pictures round, so that they look right; it must not know.
    with tempfile.TemporaryDirectory(prefix="mimseg-") as folder:
        copy = Path(folder) / "slice.dcm"
        changed, count = _REVERSED.subn(rb"\g<1>2", content, count=1)
        if not count:
            raise _unreadable(part.path)
        copy.write_bytes(changed)
        return _decode(copy, part.path)


def _decode(path: Path, named: Path) -> NDArray:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.LoadPrivateTagsOff()
    with plain_path(path) as name:
        reader.SetFileName(name)
        try:
            array = sitk.GetArrayFromImage(reader.Execute())
        except RuntimeError as fault:
            raise _unreadable(named) from fault
    return array.reshape(array.shape[-2:]).T


def is_cut_off(content: bytes, pixel_bytes: int) -> bool:
    """True if the pixel data of a little-endian file do not go on to their end, which GDCM does not notice.

    Args:
        content: The file.
        pixel_bytes: Length of its pixels when they are not compressed; smaller preview pictures are passed over.
    """
    for match in _PIXEL_DATA.finditer(content):
        length = int.from_bytes(match[1], "little")
        if length == _UNDEFINED_LENGTH:
            return _SEQUENCE_END not in content[match.end() :]
        if pixel_bytes <= length <= pixel_bytes + 1:
            return match.end() + length > len(content)
    return False


def _unreadable(path: Path) -> UserError:
    return UserError(
        f"The pixels of {path} cannot be read: they are cut off or compressed in an unknown way.",
        "Export or copy the series again; without this slice the volume is incomplete.",
        "unreadable",
    )
