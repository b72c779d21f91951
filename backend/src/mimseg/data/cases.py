"""Which volumes and labelmaps belong together: labelled data sets in the layouts that researchers have."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimseg.errors import UserError

VOLUME_SUFFIXES = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")


@dataclass(frozen=True)
class Case:
    """One labelled (or unlabelled) volume.

    Attributes:
        identifier: Name of the case inside its data set.
        images: One file for each channel.
        label: The labelmap, or None.
        subject: Cases of one subject must not be split between training and validation.
    """

    identifier: str
    images: tuple[Path, ...]
    label: Path | None
    subject: str = ""


@dataclass(frozen=True)
class Dataset:
    """Cases, with what their description says about labels and channels.

    Attributes:
        cases: In the order of the description.
        label_names: Name by label value, without background; empty if unknown.
        channels: Channel names, empty if unknown.
    """

    cases: tuple[Case, ...]
    label_names: dict[int, str]
    channels: tuple[str, ...] = ()


def stem(path: Path) -> str:
    """File name without its (possibly double) extension."""
    for suffix in VOLUME_SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def load_dataset(data: Path) -> Dataset:
    """Find the cases of a data set.

    Args:
        data: A folder with `dataset.json` (Medical Segmentation Decathlon or nnU-Net), a folder with `imagesTr`
            and `labelsTr`, such a `dataset.json` itself, or a case list: CSV with the columns `image` (several
            channels separated by `|`), `label`, and optionally `id` and `subject`, or JSON with a list of such
            objects. Paths in a list are relative to the list.

    Raises:
        UserError: Nothing usable is there; files named by the description are missing.
    """
    if data.is_dir():
        if (data / "dataset.json").is_file():
            return _from_description(data / "dataset.json")
        if (data / "imagesTr").is_dir() and (data / "labelsTr").is_dir():
            return Dataset(_from_folders(data / "imagesTr", data / "labelsTr", None), {})
        raise UserError(
            f"The folder {data} holds neither dataset.json nor imagesTr and labelsTr.",
            "Give such a folder, a dataset.json, or a case list (CSV or JSON).",
            code="no-dataset",
        )
    if not data.is_file():
        raise UserError(f"{data} does not exist.", "Check the path.", code="not-found")
    if data.suffix.lower() == ".csv":
        with open(data, newline="", encoding="utf-8-sig") as stream:
            return Dataset(_from_list(list(csv.DictReader(stream)), data), {})
    content = _read_json(data)
    if isinstance(content, list):
        return Dataset(_from_list(content, data), {})
    return _from_description(data)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as fault:
        raise UserError(f"{path} is not readable as JSON ({fault}).", "Check the file.", "bad-dataset") from fault


def _from_description(path: Path) -> Dataset:
    """`dataset.json` of the Decathlon (list under `training`) or of nnU-Net (`file_ending`, `channel_names`)."""
    content = _read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a dataset.json.", "It must be a JSON object.", "bad-dataset")
    channels = content.get("channel_names") or content.get("modality") or {}
    names = {}
    for key, value in (content.get("labels") or {}).items():
        # The Decathlon writes {"1": "liver"}, nnU-Net {"liver": 1}.
        number, name = (key, value) if str(key).isdigit() else (value, key)
        if isinstance(number, (int, str)) and str(number).isdigit() and int(number) > 0:
            names[int(number)] = str(name)
    entries = content.get("training")
    if isinstance(entries, list) and entries and isinstance(entries[0], dict):
        cases = _from_list(entries, path)
    else:
        cases = _from_folders(path.parent / "imagesTr", path.parent / "labelsTr", content.get("file_ending"))
    channel_names = tuple(str(channels[key]) for key in sorted(channels, key=str)) if isinstance(channels, dict) else ()
    return Dataset(cases, names, channel_names)


def _from_list(entries: Sequence[Any], where: Path) -> tuple[Case, ...]:
    """Cases of a list of objects with `image`, `label`, and optionally `id` and `subject`."""
    cases = []
    for number, entry in enumerate(entries, start=1):
        images = entry.get("image") if isinstance(entry, dict) else None
        if not images:
            raise UserError(
                f"Entry {number} of {where} names no image.",
                "Each entry needs the columns or keys image and label.",
                code="bad-dataset",
            )
        files = images if isinstance(images, list) else str(images).split("|")
        paths = tuple(_resolve(str(file), where) for file in files)
        label = _resolve(str(entry["label"]), where) if entry.get("label") else None
        identifier = str(entry.get("id") or stem(paths[0]))
        cases.append(Case(identifier, paths, label, str(entry.get("subject") or "")))
    return _checked(cases, where)


def _resolve(file: str, where: Path) -> Path:
    path = where.parent / file.strip()
    if not path.exists():
        raise UserError(f"{where} names {file}, which does not exist.", "Check the list.", code="not-found")
    return path


def _from_folders(images: Path, labels: Path, ending: str | None) -> tuple[Case, ...]:
    """Pair the files of two folders by name; `_0000`, `_0001` ... behind a name are channels (nnU-Net)."""
    if not images.is_dir() or not labels.is_dir():
        raise UserError(f"{images} or {labels} is not a folder.", "Both must be there.", code="no-dataset")
    suffixes = (ending,) if ending else VOLUME_SUFFIXES
    volumes = sorted(p for p in images.iterdir() if p.name.lower().endswith(suffixes) and not p.name.startswith("."))
    by_name: dict[str, list[Path]] = {}
    for path in volumes:
        name = stem(path)
        channel = name.rpartition("_")[2]
        multi_channel = len(channel) == 4 and channel.isdigit()
        by_name.setdefault(name[:-5] if multi_channel else name, []).append(path)
    label_files = {stem(p): p for p in sorted(labels.iterdir()) if p.name.lower().endswith(suffixes)}
    cases = []
    for name, paths in by_name.items():
        # A Decathlon name may itself end in four digits: then the label has the full name.
        if name not in label_files and len(paths) == 1 and stem(paths[0]) in label_files:
            name = stem(paths[0])
        cases.append(Case(name, tuple(paths), label_files.get(name)))
    return _checked([case for case in cases if case.label is not None], images.parent)


def _checked(cases: list[Case], where: Path) -> tuple[Case, ...]:
    if not cases:
        raise UserError(f"{where} holds no case with an image and a label.", "Check the names.", code="no-dataset")
    seen: set[str] = set()
    for case in cases:
        if case.identifier in seen:
            raise UserError(f"{where} has two cases named {case.identifier}.", "Give each its own id.", "bad-dataset")
        seen.add(case.identifier)
    return tuple(cases)


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
            return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        content = _read_json(path)
        for part in filter(None, key.split(".")):
            if not isinstance(content, dict) or part not in content:
                raise UserError(f"{path} has no entry {key!r} (at {part!r}).", "Check the key.", code="unknown-case")
            content = content[part]
        if not isinstance(content, list):
            raise UserError(f"The entry {key!r} of {path} is not a list of names.", "Name a list.", "unknown-case")
        return [str(name) for name in content]
    return [name.strip() for name in selection.split(",") if name.strip()]
