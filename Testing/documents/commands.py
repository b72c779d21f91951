"""The commands that the documents show: every line of a block of code marked `sh`.

Standard library only: `run_commands.py` uses it, too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = tuple(
    path
    for name in ("README.md", "CONTRIBUTING.md", "backend/README.md", "docs/*.md")
    for path in sorted(ROOT.glob(name))
)


@dataclass(frozen=True)
class Block:
    """A block of code: its document, its first line's number, its language and its text."""

    document: Path
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command of a document: its document, the number of its line, and its text without comment."""

    document: Path
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """The command's words as a shell splits them."""
        return shlex.split(self.text)

    @property
    def place(self) -> str:
        """Document and line for messages."""
        return f"{self.document.relative_to(ROOT).as_posix()}:{self.line}"


def blocks(document: Path) -> Iterator[Block]:
    """All fenced blocks of code of a document."""
    lines = document.read_text(encoding="utf-8").splitlines()
    start, language = None, ""
    for number, line in enumerate(lines, start=1):
        if not line.startswith("```"):
            continue
        if start is None:
            start, language = number, line[3:].strip()
        else:
            yield Block(document, start + 1, language, "\n".join(lines[start : number - 1]))
            start = None
    if start is not None:
        raise ValueError(f"{document}: the block of code in line {start} has no end")


def commands(document: Path) -> Iterator[Command]:
    """All commands of a document, lines that a backslash continues put together."""
    for block in blocks(document):
        if block.language != "sh":
            continue
        waiting, first = "", block.line
        for number, line in enumerate(block.text.splitlines(), start=block.line):
            text = re.sub(r"(^|\s)#.*$", "", line).strip()
            first = first if waiting else number
            waiting = f"{waiting} {text.removesuffix(chr(92)).strip()}".strip()
            if waiting and not text.endswith("\\"):
                yield Command(document, first, waiting)
                waiting = ""
