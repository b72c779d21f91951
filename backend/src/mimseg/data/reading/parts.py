"""Checking that the pieces of files that hold an image's voxels are there, whole and long enough."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from mimseg.data.reading.inflate import Damaged, Inflated

_READ = 8 << 20


@dataclass(frozen=True)
class Part:
    """One piece.

    Attributes:
        path: The file that it lies in.
        needed: Bytes of it, after decompressing; numbers, if the encoding is `text`.
        encoding: `raw`, `gzip` (or zlib), `bzip2`, `text`, or another that is not checked.
        begin: Where it begins in the file; -1 if it is the file's end.
        stored: Bytes that it takes in the file, where the header says so; else 0.
        lines: Lines to skip from `begin` on.
        skipped: Bytes to skip after decompressing.
    """

    path: Path
    needed: int
    encoding: str
    begin: int = 0
    stored: int = 0
    lines: int = 0
    skipped: int = 0


def check_parts(parts: Sequence[Part]) -> int:
    """Read what has a checksum to its end and measure the rest.

    Returns:
        Bytes that stand behind the voxels and belong to nothing.

    Raises:
        Damaged: A piece is missing, too short, longer than it can be, or has a wrong checksum.
    """
    return sum(_check(part, None) for part in parts)


def inflate_parts(parts: Sequence[Part]) -> tuple[bytearray, int]:
    """All of the voxels, where every piece is compressed, and the bytes behind them that belong to nothing.

    Raises:
        Damaged: As for `check_parts`.
    """
    content = bytearray()
    return content, sum(_check(part, content) for part in parts)


def patterned(pattern: str, numbers: Sequence[str]) -> list[str]:
    """The names that a printf pattern such as `slice%03d.raw` and its first, last and step stand for.

    Raises:
        Damaged: They do not fit each other.
    """
    try:
        first, last, step = int(numbers[0]), int(numbers[1]), int(numbers[2]) if len(numbers) > 2 else 1
        if not 0 <= (last - first) // step < 100_000:
            raise ValueError(step)
        return [pattern % number for number in range(first, last + (1 if step > 0 else -1), step)]
    except (ValueError, TypeError, ZeroDivisionError, IndexError) as fault:
        raise Damaged("its header names its data files in a way that cannot be followed") from fault


def _check(part: Part, content: bytearray | None) -> int:
    try:
        with part.path.open("rb") as file:
            length = part.path.stat().st_size
            if part.begin >= 0:
                file.seek(part.begin)
                for _ in range(part.lines):
                    file.readline()
            if part.encoding in ("gzip", "bzip2"):
                return _check_compressed(part, file, length, content)
            if part.encoding == "text":
                found = sum(len(line.split()) for line in file)
            elif part.encoding == "raw":
                found = length - (file.tell() + part.skipped if part.begin >= 0 else 0)
            else:
                return 0
    except OSError as fault:
        raise Damaged(f"its data file {part.path.name} cannot be read: {fault.strerror}") from fault
    except ValueError as fault:  # no name of a file at all
        raise Damaged("its header names its data files in a way that cannot be followed") from fault
    if found < part.needed:
        raise Damaged(f"{found} of {part.needed} {'numbers' if part.encoding == 'text' else 'bytes'} are there")
    return 0 if part.begin < 0 else found - part.needed


def _check_compressed(part: Part, file: BinaryIO, length: int, content: bytearray | None) -> int:
    if part.stored and part.stored > length - file.tell():
        raise Damaged("its compressed data are cut off")
    stream = Inflated(cast(BinaryIO, _First(file, part.stored)) if part.stored else file, part.encoding == "bzip2")
    found = -part.skipped
    for piece in stream:
        # No more than is needed: a wrong header must not cost the memory.
        if content is not None and found + len(piece) > 0 and found < part.needed:
            content += piece[max(-found, 0) : part.needed - found]
        found += len(piece)
    if found != part.needed:
        raise Damaged(f"its compressed data hold {found} bytes, but its header says {part.needed}")
    return stream.trailing


class _First(io.RawIOBase):
    """The first `count` bytes of a file from where it stands."""

    def __init__(self, file: BinaryIO, count: int) -> None:
        super().__init__()
        self._file, self._left = file, count

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(piece)
        return piece
