"""What a label file may say beside the structures: merged values, sides, grey values of drawn images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mimseg.data.labels.sides import side_pairs
from mimseg.data.labels.structures import Label
from mimseg.errors import UserError
from mimseg.training.synthesis.contrasts import Contrast, read_contrasts


@dataclass(frozen=True)
class LabelExtras:
    """How labelmaps are read and drawn from.

    Attributes:
        merged: Label value of the structure that a further value of the labelmaps belongs to.
        partners: The right-hand value of a left-hand one.
        contrasts: Kinds of scans that drawn images imitate.
        stripped: Values that skull-stripping of drawn images may take away.
    """

    merged: Mapping[int, int] = field(default_factory=dict)
    partners: Mapping[int, int] = field(default_factory=dict)
    contrasts: tuple[Contrast, ...] = ()
    stripped: tuple[int, ...] = ()

    def other_side(self, values: Sequence[int]) -> list[int]:
        """Class of each class (0 is background) in a mirrored image; `values` are those of class 1, 2, ..."""
        swap = {**self.partners, **{right: left for left, right in self.partners.items()}}
        number = {value: index for index, value in enumerate(values, start=1)}
        return [0, *(number.get(swap.get(value, value), number[value]) for value in values)]


def read_label_extras(path: Path | None, labels: Sequence[Label]) -> LabelExtras:
    """Extras of a label file; without one, the sides that the labels' names tell.

    A label's `"also": [25]` names further values of the labelmaps that mean this structure. Those of a left-hand
    structure and of its partner are partners in their order.

    Raises:
        UserError: An entry is not usable.
    """
    partners = side_pairs(labels)
    if path is None:
        return LabelExtras(partners=partners)
    content = json.loads(path.read_text(encoding="utf-8"))
    entries = content["labels"] if isinstance(content, dict) else content
    known = {label.value for label in labels}
    also: dict[int, list[int]] = {}
    for entry in entries:
        further = entry.get("also", [])
        if not isinstance(further, list) or not all(type(v) is int and 0 < v <= 65535 for v in further):
            raise UserError(
                f'The label {entry.get("name")} in {path} has the further values "also": {further!r}.',
                'Give a list of whole numbers, for example "also": [25].',
                code="bad-labels",
            )
        also[int(entry["value"])] = further
    merged = {value: own for own, values in also.items() for value in values}
    if len(merged) < sum(map(len, also.values())) or known & set(merged):
        raise UserError(
            f'In {path} a value belongs to two structures by "also".', "Name each value once.", code="bad-labels"
        )
    for left, right in list(partners.items()):
        partners.update(zip(also.get(left, []), also.get(right, []), strict=False))
    contrasts, stripped = read_contrasts(path)
    return LabelExtras(merged, partners, contrasts, stripped)
