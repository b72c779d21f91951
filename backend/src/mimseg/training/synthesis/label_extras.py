"""What a label file may say beside the structures: merged values, sides, grey values of drawn images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mimseg.data.labels.regions import read_further_values
from mimseg.data.labels.sides import side_pairs
from mimseg.data.labels.structures import Label
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
    also = read_further_values(path)
    merged = {value: own for own, values in also.items() for value in values}
    for left, right in list(partners.items()):
        partners.update(zip(also.get(left, []), also.get(right, []), strict=False))
    contrasts, stripped = read_contrasts(path)
    return LabelExtras(merged, partners, contrasts, stripped)
