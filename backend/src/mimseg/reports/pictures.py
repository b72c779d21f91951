"""PNG pictures in memory and in files, with the standard library (ISO/IEC 15948: 8-bit RGB, one filterless stream).

ITK's writer is not used: it writes files only, which pages with pictures inside do not want, and opens them by a C
function that on Windows fails in folders with other than ASCII characters in their names.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.files import write_bytes


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """A PNG file of `picture` `(rows, columns, 3)`, red, green, blue."""
    rows, columns, _ = picture.shape
    # Each row starts with its filter type, 0: none.
    lines = np.zeros((rows, 1 + 3 * columns), np.uint8)
    lines[:, 1:] = picture.reshape(rows, -1)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write `picture` `(rows, columns, 3)` as PNG; the file appears complete or not at all.

    Raises:
        UserError: The file cannot be written.
    """
    write_bytes(path, encode_png(picture))


def halved(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Half as high and wide, each pixel the mean of four."""
    rows, columns = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
    blocks = picture[:rows, :columns].astype(np.uint16).reshape(rows // 2, 2, columns // 2, 2, 3)
    return (blocks.sum(axis=(1, 3)) // 4).astype(np.uint8)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
