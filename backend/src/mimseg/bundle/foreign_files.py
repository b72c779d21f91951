"""Looking into files of unknown origin without executing anything: safetensors and torch checkpoints."""

from __future__ import annotations

import io
import json
import pickletools
import re
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mimseg.errors import UserError

# All that zipfile raises on damaged archives.
ZIP_FAULTS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)

_LARGEST_HEADER = 64 * 1024 * 1024
_LARGEST_RATIO = 4
_TYPE_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}

# What torch.save writes for a dictionary of tensors, and nothing that could do more.
_GLOBALS = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2"}
_STORAGE = re.compile(r"torch (?:Double|Float|Half|BFloat16|Long|Int|Short|Char|Byte|Bool)Storage")
# fmt: off
_OPCODES = frozenset({
    "PROTO", "EMPTY_DICT", "EMPTY_TUPLE", "MARK", "BINUNICODE", "GLOBAL", "BINPUT", "LONG_BINPUT", "BINGET",
    "LONG_BINGET", "BININT", "BININT1", "BININT2", "LONG1", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPERSID",
    "REDUCE", "NEWTRUE", "NEWFALSE", "NONE", "SETITEM", "SETITEMS", "STOP",
})
# fmt: on


class Stored(NamedTuple):
    """A tensor in a file of weights.

    Attributes:
        first: Its first byte in the file.
        length: In bytes.
        shape: As in the file.
    """

    first: int
    length: int
    shape: tuple[int, ...]


def check_safetensors(path: Path) -> dict[str, Stored]:
    """Check that a file is exactly a table of tensors and their values.

    Returns:
        The tensors by name.

    Raises:
        UserError: It is not.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(size - 8, _LARGEST_HEADER):
            raise refused(path, "has no header of tensors")
        try:
            header = json.loads(stream.read(length))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            spans = sorted(_span(entry) for entry in entries.values())
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
            raise refused(path, f"has an unusable header of tensors ({fault})") from fault
    end = 0
    for first, last in spans:
        if first != end:
            raise refused(path, "has tensors that overlap or leave gaps")
        end = last
    if not entries or end != size - 8 - length:
        raise refused(path, "does not have the length that its header tells")
    return {name: _stored(entry, 8 + length) for name, entry in entries.items()}


def check_checkpoint(path: Path) -> None:
    """Check that a `.pt` file can only rebuild tensors, by reading its pickle's instructions one by one.

    The file is not opened with torch and its pickle is not run.

    Raises:
        UserError: It is of another kind, or has an instruction that a dictionary of tensors does not need.
    """
    with path.open("rb") as stream:
        # torch takes a file that does not begin like a zip for a bare pickle.
        if stream.read(4) != b"PK\x03\x04":
            raise refused(path, "is no torch checkpoint of the tensors-only kind")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist()]
            pickles = [name for name in names if PurePosixPath(name).name == "data.pkl"]
            wrong = [name for name in names if not _is_checkpoint_part(name)]
            bounded = unpacks_within_bounds(archive, path)
            if len(pickles) != 1 or wrong or not bounded or len(set(names)) != len(names):
                raise refused(path, "is no torch checkpoint of the tensors-only kind")
            if archive.getinfo(pickles[0]).file_size > _LARGEST_HEADER:
                raise refused(path, "has an unusually large pickle")
            instructions = archive.read(pickles[0])
    except ZIP_FAULTS as fault:
        raise refused(path, f"cannot be read ({fault})") from fault
    _check_pickle(instructions, path)


def unpacks_within_bounds(archive: zipfile.ZipFile, path: Path) -> bool:
    """Say whether what a checkpoint unpacks to is in proportion to its file, so that no small file fills the memory.

    torch stores tensors as they are, earlier versions of this program packed them; values of weights pack by a tenth.
    """
    return sum(entry.file_size for entry in archive.infolist()) <= _LARGEST_RATIO * path.stat().st_size


def _span(entry: dict[str, Any]) -> tuple[int, int]:
    """First byte and end of a tensor, which must fit its type and shape."""
    first, end = entry["data_offsets"]
    size = _TYPE_SIZES[entry["dtype"]]
    for edge in entry["shape"]:
        if type(edge) is not int or edge < 0:
            raise ValueError(f"shape {entry['shape']}")
        size *= edge
    if type(first) is not int or type(end) is not int or first < 0 or end - first != size:
        raise ValueError(f"data_offsets {entry['data_offsets']}")
    return first, end


def _stored(entry: dict[str, Any], start: int) -> Stored:
    first, end = entry["data_offsets"]
    return Stored(start + first, end - first, tuple(entry["shape"]))


def _is_checkpoint_part(name: str) -> bool:
    parts = PurePosixPath(name).parts
    if len(parts) == 2:
        return parts[1] in {"data.pkl", "version", "byteorder", ".format_version", ".storage_alignment"}
    return len(parts) == 3 and (
        (parts[1] == "data" and parts[2].isdecimal()) or parts[1:] == (".data", "serialization_id")
    )


def _check_pickle(instructions: bytes, path: Path) -> None:
    end = 0
    try:
        for opcode, argument, position in pickletools.genops(io.BytesIO(instructions)):
            if opcode.name not in _OPCODES:
                raise refused(path, f"holds the pickle instruction {opcode.name}, which tensors do not need")
            if opcode.name == "GLOBAL" and argument not in _GLOBALS and not _STORAGE.fullmatch(str(argument)):
                raise refused(path, f"would run code of its own ({argument})")
            end = (position or 0) + 1
    except (ValueError, IndexError, OverflowError) as fault:
        raise refused(path, f"has a damaged pickle ({fault})") from fault
    if end != len(instructions):
        raise refused(path, "has a damaged pickle")


def refused(path: Path, fault: str) -> UserError:
    """The error for a file that is not what it should be."""
    return UserError(
        f"{path.name} {fault}.", "The model was not taken in. Get it from a source you trust.", "unsafe-model"
    )
