"""Text that people and their programs wrote: case lists, label files, selections, in whatever encoding."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from mimseg.errors import UserError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32 (with or without a byte order mark), or Windows' cp1252.

    Line ends become `\\n`.

    Raises:
        UserError: The file cannot be read, or is no text.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise UserError(f"{path} cannot be read ({fault.strerror}).", "Check the path.", "not-readable") from fault
    for encoding in _encodings(content):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text.replace("\r\n", "\n").replace("\r", "\n")
    raise UserError(f"{path} is no text file.", "Save it as text, in UTF-8.", "not-text")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: It cannot be read, or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except ValueError as fault:
        raise UserError(f"{path} is not readable as JSON ({fault}).", "Check the file.", "bad-json") from fault


def _encodings(content: bytes) -> list[str]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return [encoding]
    # In UTF-16 without a mark, every second byte of plain letters is 0.
    if content[1:64:2].count(0) > len(content[1:64:2]) // 2:
        return ["utf-16-le"]
    if content[:64:2].count(0) > len(content[:64:2]) // 2:
        return ["utf-16-be"]
    return ["utf-8", "cp1252"]
