"""The header of a MetaImage file (`.mha`, `.mhd`), and whether its data are complete and whole.

ITK reads a damaged or cut stream as far as it goes and leaves zeros, and does not count the files of a list.
Format: https://itk.org/Wiki/MetaIO/Documentation.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from mimseg.data.reading.inflate import Damaged
from mimseg.data.reading.parts import Part, patterned

_TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4", "ULONG": "u4",
    "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip
_MOST_HEADER = 1 << 20
_MOST_AXES = 10
_PER_AXIS = ("Offset", "Position", "Origin", "ElementSpacing", "ElementSize", "CenterOfRotation")
_PER_PAIR = ("TransformMatrix", "Rotation", "Orientation")


def read_header(path: Path) -> tuple[dict[str, str], int, list[str]]:
    """Keys and values up to `ElementDataFile`, where the header ends, and the lines behind it if that says LIST.

    Raises:
        Damaged: There is no such header.
    """
    with path.open("rb") as file:
        start = file.read(_MOST_HEADER)
    fields: dict[str, str] = {}
    position = 0
    while (end := start.find(b"\n", position)) >= 0 or position < len(start):
        end = end if end >= 0 else len(start)
        key, separator, value = os.fsdecode(start[position:end]).partition("=")
        position = min(end + 1, len(start))
        if not separator:
            if key.strip():
                break
            continue
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            rest = os.fsdecode(start[position:]).splitlines() if value.split()[:1] == ["LIST"] else []
            return fields, position, [line.strip() for line in rest if line.strip()]
    raise Damaged("it has no MetaImage header, or one without ElementDataFile")


def _check_counts(fields: dict[str, str], size: list[int]) -> None:
    """MetaIO writes beyond its arrays where a header has more axes, or more numbers for them, than there can be."""
    axes = len(size)
    if not 1 <= axes <= _MOST_AXES or min(size) < 1 or fields.get("NDims") != str(axes):
        raise Damaged("its header gives sizes that do not fit the number of axes")
    for key, count in {**dict.fromkeys(_PER_AXIS, axes), **dict.fromkeys(_PER_PAIR, axes * axes)}.items():
        if key in fields and len(fields[key].split()) != count:
            raise Damaged(f"its header gives {key} for another number of axes")


def says_orientation(fields: dict[str, str]) -> bool:
    """True if the header says how the axes run."""
    return any(key in fields for key in _PER_PAIR)


def voxel_type(fields: dict[str, str]) -> np.dtype:
    """Of the stored numbers; KeyError if the header names none."""
    most_significant_first = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    kind = _TYPES[fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")]
    return np.dtype((">" if most_significant_first[:1] in "Tt1" else "<") + kind)


def data_parts(path: Path) -> list[Part]:
    """The pieces of files that together are the voxels.

    Raises:
        Damaged: The header contradicts itself, or a list names too few files.
    """
    fields, begin, lines = read_header(path)
    try:
        size = [int(edge) for edge in fields["DimSize"].split()]
        each = voxel_type(fields).itemsize
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        header_size = int(fields.get("HeaderSize", "0"))
        compressed_size = int(float(fields.get("CompressedDataSize", "0")))
    except (KeyError, ValueError) as fault:
        raise Damaged("its header lacks the size or type of the voxels") from fault
    _check_counts(fields, size)
    needed = math.prod(size) * each * channels
    text = fields.get("BinaryData", "True")[:1] not in "Tt1"
    encoding = "text" if text else "gzip" if fields.get("CompressedData", "False")[:1] in "Tt1" else "raw"
    word, *options = fields["ElementDataFile"].split() or [""]
    if word.upper() == "LOCAL":
        # Text is counted in numbers, not in bytes.
        return [Part(path, needed // each if text else needed, encoding, begin, compressed_size)]
    if word == "LIST":
        inner = int(options[0].rstrip("Dd")) if options and options[0].rstrip("Dd").isdigit() else len(size) - 1
        files, count = lines, math.prod(size[inner:])
    elif "%" in word and len(options) >= 2:
        files = patterned(word, options)
        count = len(files)
        if math.prod(size) % max(1, count) or not count:
            raise Damaged("its header names a number of files that does not fit its size")
    else:
        files, count = [fields["ElementDataFile"]], 1
    if len(files) < count:
        raise Damaged(f"it names {len(files)} files of slices, but has {count} slices")
    share = needed // count
    found = [path.parent / name for name in files[:count]]
    skipped = -1 if header_size < 0 else header_size
    return [Part(file, share // each if text else share, encoding, skipped, 0) for file in found]
