"""`dataset.json` of the Medical Segmentation Decathlon and of both versions of nnU-Net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimseg.data.cases.case import Case, Dataset, Flaw
from mimseg.data.cases.folders import listed, pair_folders
from mimseg.data.cases.lists import all_exist, cases_of_list
from mimseg.data.text_files import read_json
from mimseg.errors import UserError
from mimseg.formats import ending_of

IGNORE = "ignore"  # nnU-Net's reserved name
_BACKGROUND = "background"


def read_description(path: Path) -> Dataset:
    """The data set that a `dataset.json` describes.

    The cases are those of its list (`training`, or nnU-Net's `dataset`), or else of `imagesTr` and `labelsTr`.

    Raises:
        UserError: It cannot be read, is no description, or names a file that does not exist.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a dataset.json.", "It must be a JSON object.", "bad-dataset")
    channels = _channels(content)
    names, regions, ignored = _labels(content, path)
    cases, flaws = _cases(content, path, channels)
    count = content.get("numTraining")
    if isinstance(count, int) and count != len(cases):
        text = f"{path.name} says numTraining {count}, but {len(cases)} cases with a label were found."
        remedy = "Look for missing or misnamed files, or correct the number."
        flaws.append(Flaw("warning", "case-count", text, remedy))
    return Dataset(tuple(cases), names, channels, regions, ignored, tuple(flaws))


def _channels(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Channel names in the order of their numbers."""
    channels = content.get("channel_names") or content.get("modality") or {}
    if not isinstance(channels, dict):
        return ()
    order = sorted(channels, key=lambda key: (not str(key).isdigit(), int(key) if str(key).isdigit() else 0, str(key)))
    return tuple(str(channels[key]) for key in order)


def _labels(content: Mapping[str, Any], path: Path) -> tuple[dict[int, str], dict[int, tuple[int, ...]], int | None]:
    """Names by value, values of each structure if they are regions, and the value that is ignored."""
    entries: dict[str, tuple[int, ...]] = {}
    labels = content.get("labels") or {}
    for key, value in labels.items() if isinstance(labels, dict) else ():
        # The Decathlon writes {"1": "liver"}, nnU-Net {"liver": 1} or {"whole tumour": [1, 2]}.
        name, values = (str(value), [key]) if str(key).isdigit() else (str(key), value)
        values = values if isinstance(values, list) else [values]
        if not values or not all(not isinstance(v, bool) and str(v).isdigit() and int(v) <= 65535 for v in values):
            raise UserError(
                f"{path} gives the label {name!r} the value {value!r}.",
                'Values are whole numbers, as in "liver": 1, or lists of them for regions.',
                "bad-labels",
            )
        entries[name] = tuple(int(v) for v in values)
    ignored = [values[0] for name, values in entries.items() if name.casefold() == IGNORE]
    drawn = {
        name: tuple(sorted({*values} - {0}))
        for name, values in entries.items()
        if name.casefold() not in (IGNORE, _BACKGROUND) and any(values)
    }
    if all(len(values) == 1 for values in drawn.values()):
        names = {values[0]: name for name, values in drawn.items()}
        if len(names) < len(drawn):
            raise UserError(f"{path} gives two labels one value.", "Give each its own.", "bad-labels")
        return names, {}, ignored[0] if ignored else None
    order = content.get("regions_class_order")
    fits = isinstance(order, list) and len(order) == len(drawn) == len({v for v in order if _is_value(v)})
    numbers = [int(v) for v in order] if isinstance(order, list) and fits else range(1, len(drawn) + 1)
    regions = dict(zip(numbers, drawn.values(), strict=True))
    return dict(zip(numbers, drawn, strict=True)), regions, ignored[0] if ignored else None


def _is_value(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= 65535


def _cases(content: Mapping[str, Any], path: Path, channels: Sequence[str]) -> tuple[list[Case], list[Flaw]]:
    images, labels = path.parent / "imagesTr", path.parent / "labelsTr"
    entries, folders = _entries(content), images.is_dir() and labels.is_dir()
    ending = content.get("file_ending")
    # nnU-Net itself does not look at a list that its first version left there.
    stale = bool(entries) and isinstance(ending, str) and folders and not all_exist(entries, path)
    if entries and not stale:
        cases = cases_of_list(entries, path, len(channels))
        return cases, _unlisted(cases, images, labels)
    if not folders:
        remedy = "Both must be there. If the cases stand in a list, such as cases.csv, give that file."
        raise UserError(f"{images} or {labels} is not a folder.", remedy, code="no-dataset")
    cases, flaws = pair_folders(images, labels, ending if isinstance(ending, str) else None, channels)
    if stale:
        text = f"The list in {path.name} names files that do not exist: imagesTr and labelsTr were looked at instead."
        flaws.append(Flaw("note", "old-list", text, "Remove the list, or correct it."))
    return cases, flaws


def _entries(content: Mapping[str, Any]) -> list[Any]:
    entries = content.get("training")
    if isinstance(entries, list) and entries and isinstance(entries[0], dict):
        return entries
    by_name = content.get("dataset")
    if isinstance(by_name, dict):
        return [{"id": name, **entry} for name, entry in by_name.items() if isinstance(entry, dict)]
    return []


def _unlisted(cases: Sequence[Case], *folders: Path) -> list[Flaw]:
    """Files beside those of the list which it does not name."""
    used = {path.resolve() for case in cases for path in (*case.images, *([case.label] if case.label else []))}
    flaws = []
    for folder in folders:
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        left = [p.name for p in files if ending_of(p) and not p.name.startswith(".") and p.resolve() not in used]
        if left and len(left) < len(files):
            text = f"Left out, as the list does not name {'it' if len(left) == 1 else 'them'}: {listed(left)}."
            remedy = f"Add what is missing to the list; {folder.name} holds more files than it names."
            flaws.append(Flaw("note", "left-out", text, remedy, files=tuple(left)))
    return flaws


def describes_cases(folder: Path) -> bool:
    """Whether a folder is a data set: a `dataset.json`, or `imagesTr` with `labelsTr`."""
    return (folder / "dataset.json").is_file() or ((folder / "imagesTr").is_dir() and (folder / "labelsTr").is_dir())
