"""Where a report may be written: to new names, and over reports of ours."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mimseg.errors import UserError


def report_pair(output: Path, name: str, ending: str, columns: Sequence[str] = ()) -> tuple[Path, Path]:
    """The two files of a report, the other one JSON.

    Args:
        output: What the user asked for; one of the two endings is dropped.
        name: Of the files if `output` is an existing folder.
        ending: Of the first file.
        columns: See `refuse_foreign`.

    Raises:
        UserError: One of them is there and no report.
    """
    base = output / name if output.is_dir() else output
    if base.suffix.lower() in (ending, ".json"):
        base = base.with_suffix("")
    paths = base.with_name(f"{base.name}{ending}"), base.with_name(f"{base.name}.json")
    refuse_foreign(paths, columns)
    return paths


def refuse_foreign(paths: Iterable[Path], columns: Sequence[str] = ()) -> None:
    """Refuse to replace files that are no reports of mimseg, such as case lists, label files and `dataset.json`.

    Args:
        paths: Files to write, `.html`, `.json` or `.csv`; those that are not there, or empty, are always right.
        columns: That our tables have.

    Raises:
        UserError: One of them is somebody else's.
    """
    for path in paths:
        if path.is_dir() or (path.is_file() and path.stat().st_size and not _is_ours(path, set(columns))):
            raise UserError(
                f"{path} exists and is no report that mimseg wrote: it would be lost.",
                "Choose another name, or move that file away.",
                "output-exists",
            )


def _is_ours(path: Path, columns: set[str]) -> bool:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            content: Any = json.loads(text)
            return isinstance(content, dict) and any(key in content for key in ("mimseg", "mimseg_version"))
        if path.suffix.lower() == ".html":
            return "<title>mimseg" in text or "Made by mimseg" in text
        return columns <= set(next(csv.reader(text.splitlines()), ()))
    except (OSError, ValueError, csv.Error):
        return False
