"""The structures a model segments: name, label value, colour and SNOMED CT code."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mimseg.data.text_files import read_json
from mimseg.errors import UserError


@dataclass(frozen=True)
class Code:
    """A coded concept: scheme (`SCT`), value (`72654001`) and meaning (`Hippocampus`)."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Label:
    """One structure.

    Attributes:
        value: Voxel value in labelmaps, 1..65535; 0 is background.
        name: Shown to the user.
        color: Red, green, blue, 0..255.
        category: Coded property category, e.g. Anatomical structure (SCT 123037004).
        type: Coded property type, or None if unknown.
        modifier: Coded modifier of the type (laterality, part), or None.
    """

    value: int
    name: str
    color: tuple[int, int, int]
    category: Code = Code("SCT", "123037004", "Anatomical Structure")
    type: Code | None = None
    modifier: Code | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, as stored in `segmentation.json`."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def distinct_color(index: int) -> tuple[int, int, int]:
    """A colour for the structure number `index` (0, 1, ...) that differs well from its neighbours'."""
    hue = (index * 0.618033988749895 + 0.08) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65 if index % 2 == 0 else 0.85, 0.92 if index % 3 else 0.78)
    return round(red * 255), round(green * 255), round(blue * 255)


def labels_from_json(entries: Iterable[dict[str, Any]], where: str) -> tuple[Label, ...]:
    """Labels from their JSON form; missing colours are chosen, values must be unique and 1..65535.

    Raises:
        UserError: naming `where` the entries came from and what is wrong.
    """
    labels: list[Label] = []
    for index, entry in enumerate(entries):
        try:
            value, name = int(entry["value"]), str(entry["name"]).strip()
            color = tuple(int(c) for c in entry.get("color") or distinct_color(index))
            codes = {key: Code(**entry[key]) for key in ("category", "type", "modifier") if entry.get(key)}
        except (KeyError, TypeError, ValueError) as fault:
            raise UserError(
                f"Label {index + 1} in {where} is not usable ({fault!r}).",
                'Write each as {"value": 1, "name": "liver", "color": [221, 130, 101], '
                '"type": {"scheme": "SCT", "value": "10200004", "meaning": "Liver"}}.',
                code="bad-labels",
            ) from fault
        if not 1 <= value <= 65535 or not name or len(color) != 3 or not all(0 <= c <= 255 for c in color):
            raise UserError(
                f"Label {index + 1} in {where} has value {value}, name {name!r}, color {color}.",
                "Values go from 1 to 65535, names must not be empty, colors are three numbers 0..255.",
                code="bad-labels",
            )
        labels.append(Label(value, name, color, **codes))  # type: ignore[arg-type]
    if len({label.value for label in labels}) != len(labels) or len({label.name for label in labels}) != len(labels):
        raise UserError(f"Two labels in {where} share a value or a name.", "Give each its own.", code="bad-labels")
    return tuple(sorted(labels, key=lambda label: label.value))


def read_labels(path: Path) -> tuple[Label, ...]:
    """Labels from a JSON file: a list of entries, or an object with the list under `labels`.

    Raises:
        UserError: The file is missing, is not JSON, or an entry is not usable.
    """
    try:
        content = read_json(path)
    except UserError as fault:
        raise UserError(f"The label file {path} cannot be read.", fault.message, code="bad-labels") from fault
    entries = content.get("labels") if isinstance(content, dict) else content
    if not isinstance(entries, list):
        raise UserError(
            f"The label file {path} holds no list of labels.", "See the README for an example.", code="bad-labels"
        )
    return labels_from_json(entries, str(path))
