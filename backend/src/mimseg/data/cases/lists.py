"""Case lists: CSV or JSON with `image`, `label`, and optionally `id`, `subject` and `orientation`."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mimseg.data.cases.case import Case, stem
from mimseg.data.cases.folders import channel_of
from mimseg.data.orientation import check_orientation
from mimseg.data.text_files import read_text
from mimseg.errors import UserError
from mimseg.formats import ending_of


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file by column name in lower case; separated by commas, semicolons or tabs.

    Raises:
        UserError: It cannot be read.
    """
    lines = read_text(path).splitlines(keepends=True)
    if lines and lines[0].lower().startswith("sep="):  # Excel says which one it takes
        lines = lines[1:]
    head = lines[0] if lines else ""
    delimiter = max(",;\t", key=head.count)
    rows = csv.DictReader(io.StringIO("".join(lines)), delimiter=delimiter)
    return [{str(key).strip().lower(): value for key, value in row.items() if isinstance(value, str)} for row in rows]


def cases_of_list(entries: Sequence[Any], where: Path, channels: int = 0) -> list[Case]:
    """Cases of a list of objects with `image` (or `images`), `label`, and optionally `id`, `subject`, `orientation`.

    Args:
        entries: The objects; several images of a case are a list, or separated by `|`.
        where: The file they are from; paths are relative to its folder.
        channels: How many the data set names; 0 if it does not say.

    Raises:
        UserError: An entry names neither image nor label, or a file that does not exist.
    """
    cases, named, seen = [], [], _Folders()
    for number, entry in enumerate(entries, start=1):
        images = (entry.get("image") or entry.get("images")) if isinstance(entry, dict) else None
        labelled = isinstance(entry, dict) and bool(entry.get("label"))
        if not images and not labelled:
            raise UserError(
                f"Entry {number} of {where} names neither an image nor a label.",
                "Each entry needs the columns or keys image and label; from a label alone, training draws images.",
                code="bad-dataset",
            )
        if images:
            files = [str(file) for file in images] if isinstance(images, list) else str(images).split("|")
            paths = tuple(_existing(file, where) for file in files if len(files) > 1) or _images(files[0], where, seen)
        else:
            files, paths = [str(entry["label"])], ()
        label = _existing(str(entry["label"]), where) if labelled else None
        given = str(entry.get("id") or "").strip()
        name = given or stem(_resolve(files[0], where))
        orientation = str(entry.get("orientation") or "").strip().upper()
        if orientation:
            check_orientation(orientation)
        cases.append(Case(name, paths, label, str(entry.get("subject") or ""), channels, orientation))
        named.append(bool(given))
    return _told_apart(cases, named)


def all_exist(entries: Sequence[Any], where: Path) -> bool:
    """Whether the files of a list are there."""
    try:
        cases_of_list(entries, where)
    except UserError:
        return False
    return True


class _Folders:
    """Names in folders, each of which is listed once."""

    def __init__(self) -> None:
        self._names: dict[Path, list[str]] = {}

    def names(self, folder: Path) -> list[str]:
        if folder not in self._names:
            self._names[folder] = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        return self._names[folder]


def _images(file: str, where: Path, folders: _Folders) -> tuple[Path, ...]:
    """The file, or the channels that nnU-Net's lists mean by a name without `_0000`, `_0001`, ..."""
    path = _resolve(file, where)
    ending = ending_of(path)
    if ending and not path.exists():
        names = [name for name in folders.names(path.parent) if name.lower().endswith(ending)]
        found = [
            name for name in names if channel_of(stem(Path(name))) == (stem(path), channel_of(stem(Path(name)))[1])
        ]
        numbered = [name for name in found if channel_of(stem(Path(name)))[1] is not None]
        if numbered:
            return tuple(path.parent / name for name in numbered)
    return (_existing(file, where),)


def _resolve(file: str, where: Path) -> Path:
    path = where.parent / file.strip()
    # Lists written on Windows.
    return where.parent / file.strip().replace("\\", "/") if "\\" in file and not path.exists() else path


def _existing(file: str, where: Path) -> Path:
    path = _resolve(file, where)
    if not path.exists():
        raise UserError(f"{where} names {file}, which does not exist.", "Check the list.", code="not-found")
    return path


def _told_apart(cases: list[Case], named: Sequence[bool]) -> list[Case]:
    """Cases whose files have one name (`sub1/t1.nii.gz`, `sub2/t1.nii.gz`) get that of the folder before it."""
    counted = Counter(case.identifier for case in cases)
    return [
        replace(case, identifier=f"{_first_file(case).absolute().parent.name}_{case.identifier}")
        if counted[case.identifier] > 1 and not has_id
        else case
        for case, has_id in zip(cases, named, strict=True)
    ]


def _first_file(case: Case) -> Path:
    return case.images[0] if case.images else case.label or Path()
