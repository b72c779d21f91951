"""Choosing cases of a data set by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mimseg.data.cases.case import Case
from mimseg.data.text_files import read_json, read_text
from mimseg.errors import UserError


def pick_cases(cases: Sequence[Case], selection: str) -> tuple[Case, ...]:
    """Choose cases by name.

    Args:
        cases: All cases.
        selection: Names separated by commas; or a text file with one name a line; or a JSON file with a list,
            followed by `:` and the key(s) that lead to it, as in `splits.json:few_shot.seed0.10`.

    Raises:
        UserError: A name is not among `cases`, or the file or key does not exist.
    """
    names = _selected_names(selection)
    by_name = {case.identifier: case for case in cases}
    unknown = [name for name in names if name not in by_name]
    if unknown or not names:
        raise UserError(
            f"The selection {selection!r} names {len(unknown)} unknown case(s): {', '.join(unknown[:5])}."
            if names
            else f"The selection {selection!r} is empty.",
            f"Known are for example {', '.join(list(by_name)[:3])}.",
            code="unknown-case",
        )
    return tuple(by_name[name] for name in dict.fromkeys(names))


def _selected_names(selection: str) -> list[str]:
    file, separator, key = selection, "", ""
    if not Path(file).is_file():
        file, separator, key = selection.rpartition(":")
    if (separator or key == "") and file and Path(file).is_file():
        path = Path(file)
        if path.suffix.lower() != ".json":
            return [line.strip() for line in read_text(path).splitlines() if line.strip()]
        content = read_json(path)
        for part in filter(None, key.split(".")):
            if not isinstance(content, dict) or part not in content:
                raise UserError(f"{path} has no entry {key!r} (at {part!r}).", "Check the key.", code="unknown-case")
            content = content[part]
        if not isinstance(content, list):
            raise UserError(f"The entry {key!r} of {path} is not a list of names.", "Name a list.", "unknown-case")
        return [str(name) for name in content]
    return [name.strip() for name in selection.split(",") if name.strip()]
