"""Compressed data with their checksums and ends verified, which ITK's readers of NRRD and MetaImage leave out."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator
from typing import BinaryIO

_READ, _GROW = 1 << 20, 8 << 20
_GZIP = b"\x1f\x8b"
# zlib's own number for "a gzip or a zlib stream, whichever it is".
_EITHER = 47


class Damaged(Exception):
    """Data are not what was written; the text completes "<file> is damaged (...)"."""


class Inflated:
    """The content of a compressed stream in pieces, each at most 8 MiB; iterate over it once.

    Attributes:
        trailing: Bytes behind the end of the stream that belong to nothing; known at the end.
    """

    def __init__(self, file: BinaryIO, bzip2: bool = False) -> None:
        self._file, self._bzip2 = file, bzip2
        self.trailing = 0

    def __iter__(self) -> Iterator[bytes]:
        """Raise `Damaged` if a checksum is wrong or the stream does not go on to its end."""
        try:
            yield from self._bunzipped() if self._bzip2 else self._inflated()
        except (zlib.error, EOFError, OSError) as fault:
            raise Damaged(_plain(fault)) from fault

    def _inflated(self) -> Iterator[bytes]:
        waiting = self._file.read(_READ)
        while True:
            stream = zlib.decompressobj(_EITHER)
            while not stream.eof:
                if not waiting and not (waiting := self._file.read(_READ)):
                    raise EOFError("its compressed data are cut off")
                yield stream.decompress(waiting, _GROW)
                waiting = stream.unconsumed_tail
            waiting = stream.unused_data
            if len(waiting) < 2:
                waiting += self._file.read(_READ)
            if not waiting.startswith(_GZIP):
                break
        self.trailing = len(waiting)
        while more := self._file.read(_READ):
            self.trailing += len(more)

    def _bunzipped(self) -> Iterator[bytes]:
        with bz2.open(self._file, "rb") as stream:
            while piece := stream.read(_GROW):
                yield piece


def is_gzip(start: bytes) -> bool:
    """True if a file that begins like this is a gzip stream."""
    return start.startswith(_GZIP)


def _plain(fault: Exception) -> str:
    text = str(fault).lower()
    if "incorrect data check" in text or "crc" in text or "length check" in text:
        return "a checksum in it does not fit"
    if "cut off" in text or "end-of-stream" in text or "ended before" in text:
        return "its compressed data are cut off"
    return "its compressed data are no valid stream"
