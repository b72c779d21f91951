"""Writing a PNG picture with the standard library (ISO/IEC 15948: 8-bit RGB, one filterless zlib stream)."""

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


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
