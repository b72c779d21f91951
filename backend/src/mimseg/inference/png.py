"""Writing a PNG picture with the standard library (ISO/IEC 15948: 8-bit RGB, one filterless zlib stream)."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.errors import UserError


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(encode_png(picture))
        os.replace(temporary, path)
    except OSError as fault:
        temporary.unlink(missing_ok=True)
        raise UserError(
            f"The picture {path} cannot be written ({fault.strerror}).", "Choose another folder.", "cannot-write"
        ) from fault


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
