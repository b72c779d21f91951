"""The header of a NRRD file (`.nrrd`, `.nhdr`, `.seg.nrrd`), and whether its data are complete and whole.

ITK verifies no checksum of compressed data. Format: https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from mimseg.data.reading.inflate import Damaged
from mimseg.data.reading.parts import Part, patterned

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_ENCODINGS = {"raw": "raw", "txt": "text", "text": "text", "ascii": "text", "gz": "gzip", "gzip": "gzip",
              "bz2": "bzip2", "bzip2": "bzip2"}  # fmt: skip
_SPACES = {"right-anterior-superior", "left-anterior-superior", "left-posterior-superior", "ras", "las", "lps"}


def read_header(path: Path) -> tuple[dict[str, str], int, list[str]]:
    """Fields (in lower case, without blanks) and their values, where the header ends, and the files of a list.

    Raises:
        Damaged: There is no such header.
    """
    fields: dict[str, str] = {}
    files: list[str] = []
    with path.open("rb") as file:
        if not file.readline(64).startswith(b"NRRD"):
            raise Damaged("it has no NRRD header")
        while line := file.readline():
            text = os.fsdecode(line).strip("\r\n")
            if not text:
                break
            if "datafile" in fields and fields["datafile"].split()[:1] == ["LIST"]:
                files.append(text)
                continue
            key, separator, value = text.partition(":")
            if separator and not text.startswith("#") and not value.startswith("="):
                fields[key.strip().lower().replace(" ", "")] = value.strip()
        return fields, file.tell(), files


def says_orientation(fields: dict[str, str]) -> bool:
    """True if the header says how the axes run in the patient."""
    space = fields.get("space", "").lower().removesuffix("-time")
    # No space of four axes has a name; ITK, which writes such series, means LPS.
    return (space in _SPACES or fields.get("spacedimension") == "4") and "spacedirections" in fields


def voxel_type(fields: dict[str, str]) -> np.dtype:
    """Of the stored numbers; KeyError if the header names none."""
    kind = {name: kind for kind, names in _TYPES.items() for name in names}[fields["type"].lower()]
    return np.dtype((">" if fields.get("endian", "little").lower() == "big" else "<") + kind)


def data_parts(path: Path) -> list[Part]:
    """The pieces of files that together are the voxels.

    Raises:
        Damaged: The header contradicts itself, or names too few files.
    """
    fields, begin, files = read_header(path)
    try:
        size = [int(edge) for edge in fields["sizes"].split()]
        each = voxel_type(fields).itemsize
        skip = int(fields.get("byteskip", "0"))
        lines = int(fields.get("lineskip", "0"))
    except (KeyError, ValueError) as fault:
        raise Damaged("its header lacks the size or type of the voxels") from fault
    if min(size, default=0) < 1 or str(len(size)) != fields.get("dimension", str(len(size))):
        raise Damaged("its header gives sizes that do not fit the number of axes")
    encoding = _ENCODINGS.get(fields.get("encoding", "").lower(), "unknown")
    word, *options = fields.get("datafile", "").split() or [""]
    if not word:
        found = [path]
    elif word == "LIST":
        found = [path.parent / name for name in files]
    elif "%" in word and len(options) >= 3:
        found = [path.parent / name for name in patterned(word, options)]
    else:
        found, begin = [path.parent / fields["datafile"]], 0
    count = math.prod(size)
    if not found or count % len(found):
        raise Damaged(f"its header names {len(found)} data files, which does not fit its size")
    needed = count // len(found) * (1 if encoding == "text" else each)
    start = begin if found == [path] else 0
    if encoding == "raw" and skip < 0:
        return [Part(file, needed, encoding, -1) for file in found]
    return [Part(file, needed, encoding, start, 0, lines, max(skip, 0)) for file in found]
