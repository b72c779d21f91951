"""The pixels of DICOM slices."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.data.dicom.decoding import decode, unreadable
from mimseg.data.dicom.headers import Slice
from mimseg.data.dicom.mosaic import cut_tile
from mimseg.data.dicom.multiframe import read_frame_pixels

# Photometric interpretation (0028,0004) in either byte order: tag, type, length, value.
_REVERSED = re.compile(rb"((?:\x28\x00\x04\x00|\x00\x28\x00\x04).{4}MONOCHROME)1", re.DOTALL)


def read_pixels(slices: Sequence[Slice]) -> list[NDArray]:
    """Pixels `(i, j)` of each slice after its own rescale slope and intercept.

    Raises:
        UserError: The pixels of a slice are cut off or cannot be decoded.
        Stopped: The user asked to stop.
    """
    if slices[0].part is not None:
        return _parts(slices)
    # The first one alone, because ITK sets itself up with it. ITK lets go of Python's lock while it decodes.
    first = [_slice_pixels(part) for part in slices[:1]]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return first + list(threads.map(_slice_pixels, slices[1:]))


def _parts(slices: Sequence[Slice]) -> list[NDArray]:
    """Pixels of frames, or of the tiles of mosaics; each file is read once."""
    found: dict[tuple[Path, int | None], NDArray] = {}
    for path in dict.fromkeys(part.path for part in slices):
        stopping.check()
        parts = [part for part in slices if part.path == path]
        if parts[0].tile:
            picture = _slice_pixels(parts[0])
            pixels = [cut_tile(picture, part) for part in parts]
        else:
            pixels = read_frame_pixels(path, parts)
        found.update({(path, part.part): plane for part, plane in zip(parts, pixels, strict=True)})
    planes = [found[part.path, part.part] for part in slices]
    common = np.result_type(*{plane.dtype for plane in planes})
    return [plane.astype(common, copy=False) for plane in planes]


def _slice_pixels(part: Slice) -> NDArray:
    stopping.check()
    content = part.path.read_bytes()
    if is_cut_off(content):
        raise unreadable(part.path)
    if not part.reversed_display:
        return _picture(part.path, part.path)
    # GDCM turns the numbers of such pictures round, so that they look right; it must not know.
    with tempfile.TemporaryDirectory(prefix="mimseg-") as folder:
        copy = Path(folder) / "slice.dcm"
        changed, count = _REVERSED.subn(rb"\g<1>2", content, count=1)
        if not count:
            raise unreadable(part.path)
        copy.write_bytes(changed)
        return _picture(copy, part.path)


def _picture(path: Path, named: Path) -> NDArray:
    array = decode(path, named)
    return array.reshape(array.shape[-2:]).T


def is_cut_off(content: bytes) -> bool:
    """True if a file holds fewer pixels than its header says, which GDCM fills with the rest of the file or with 0.

    Args:
        content: The file.
    """
    import pydicom  # Not above: runs on other formats need not load it.

    names = ["Rows", "Columns", "BitsAllocated", "PixelData"]
    try:
        data = pydicom.dcmread(BytesIO(content), force=True, specific_tags=list(names))
        pixels = data["PixelData"]
        if pixels.is_undefined_length:  # Compressed: it was read to its end.
            return False
        return 8 * len(pixels.value) < int(data.Rows) * int(data.Columns) * int(data.get("BitsAllocated") or 16)
    except Exception:  # A damaged file may make pydicom raise anything.
        return True
