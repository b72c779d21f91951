"""Left and right: which structures are each other's mirror image."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mimseg.data.labels.structures import Label

LEFT_CODE, RIGHT_CODE = "7771000", "24028007"  # SNOMED CT qualifiers
# Of the letters alone, L1 to L5 are vertebrae.
_SIDE = re.compile(r"(?<![a-z])(?:(?:left|right|lh|rh)(?![a-z])|[lr](?![a-z0-9]))", re.IGNORECASE)
_NUMBERED = re.compile(r"(?<![a-z])[lr](?=[0-9])", re.IGNORECASE)
_SHORT = {"l": "left", "r": "right", "lh": "left", "rh": "right"}


def side_of(label: Label) -> str:
    """`left`, `right` or nothing, by the label's laterality code or its name."""
    if label.modifier is not None and label.modifier.value in (LEFT_CODE, RIGHT_CODE):
        return "left" if label.modifier.value == LEFT_CODE else "right"
    found = _SIDE.search(label.name)
    return "" if found is None else _SHORT.get(found[0].lower(), found[0].lower())


def first_with_a_side(labels: Sequence[Label]) -> Label | None:
    """A structure that a mirror would turn into another one, if there is any; the vertebra `L1` is none."""
    pairs = side_pairs(labels)
    paired = {*pairs, *pairs.values()}
    return next((label for label in labels if label.value in paired or side_of(label)), None)


def side_pairs(labels: Sequence[Label]) -> dict[int, int]:
    """Value of the right-hand structure for the value of each left-hand one that has such a partner.

    `rib L1` is the partner of `rib R1`, though alone it would be no side.
    """
    sides: dict[str, dict[str, int]] = {"left": {}, "right": {}}
    for label in labels:
        side, pattern = side_of(label), _SIDE
        if not side and (numbered := _NUMBERED.search(label.name)):
            side, pattern = _SHORT[numbered[0].lower()], _NUMBERED
        if side:
            sides[side][pattern.sub("", label.name, count=1).lower()] = label.value
    return {value: sides["right"][name] for name, value in sides["left"].items() if name in sides["right"]}
