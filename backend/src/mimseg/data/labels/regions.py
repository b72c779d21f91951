"""Structures made of several label values, which may overlap: whole tumor, tumor core, enhancing tumor.

A label file names them by `values`: `[{"value": 1, "name": "whole tumor", "values": [1, 2, 4]}, ...]`. `value` is what
the structure gets in results, `values` are those of the training labelmaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels.structures import Label, read_labels
from mimseg.data.text_files import read_json
from mimseg.errors import UserError

Regions = tuple[tuple[int, ...], ...]


def read_regions(path: Path) -> Regions | None:
    """Label values that make up each structure of a label file, in the order of `read_labels`.

    Returns:
        None if the file has no `values`: then each structure is its own value and structures exclude each other.

    Raises:
        UserError: The file is not usable, or only some structures have `values`.
    """
    labels = read_labels(path)
    content = read_json(path)
    entries = content["labels"] if isinstance(content, dict) else content
    given = {int(entry["value"]): entry.get("values") for entry in entries}
    if not any(values is not None for values in given.values()):
        return None
    return tuple(_checked(given[label.value], label, path) for label in labels)


def read_further_values(path: Path) -> dict[int, list[int]]:
    """Further values of the labelmaps that mean a structure, as `"also": [25]` in a label file says; by its value.

    Raises:
        UserError: The file is not usable, or a value belongs to two structures.
    """
    known = {label.value for label in read_labels(path)}
    content = read_json(path)
    also: dict[int, list[int]] = {}
    for entry in content["labels"] if isinstance(content, dict) else content:
        further = entry.get("also", [])
        if not isinstance(further, list) or not all(type(v) is int and 0 < v <= 65535 for v in further):
            raise UserError(
                f'The label {entry.get("name")} in {path} has the further values "also": {further!r}.',
                'Give a list of whole numbers, for example "also": [25].',
                code="bad-labels",
            )
        also[int(entry["value"])] = further
    merged = [value for values in also.values() for value in values]
    if len(set(merged)) < len(merged) or known & set(merged):
        raise UserError(
            f'In {path} a value belongs to two structures by "also".', "Name each value once.", code="bad-labels"
        )
    return also


def membership(values: Sequence[int], regions: Regions | None) -> NDArray[np.bool_]:
    """Which structures a class belongs to.

    Args:
        values: Label values in the labelmaps, of class 1, 2, ...
        regions: Label values of each structure; None if structure k is class k.

    Returns:
        `(K, len(values) + 1)`: row k, column c is True where class c (0 is background) is part of structure k + 1.
    """
    regions = regions or tuple((value,) for value in values)
    table = np.zeros((len(regions), len(values) + 1), bool)
    for row, region in enumerate(regions):
        table[row, [1 + list(values).index(value) for value in region]] = True
    return table


def all_values(regions: Regions) -> list[int]:
    """Every label value that occurs in a region, sorted."""
    return sorted({value for region in regions for value in region})


def _checked(values: object, label: Label, path: Path) -> tuple[int, ...]:
    if not isinstance(values, list) or not values or not all(type(v) is int and 1 <= v <= 65535 for v in values):
        raise UserError(
            f'The structure {label.name} in {path} has the "values" {values!r}.',
            'Give every structure a list of label values from 1 to 65535, for example "values": [1, 4], or none any.',
            code="bad-labels",
        )
    return tuple(sorted(set(values)))
