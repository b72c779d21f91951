"""How a model for a small structure finds its region in a large scan: another model, and what to look for in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mimseg.data.labels.sides import LEFT_CODE, RIGHT_CODE
from mimseg.data.labels.structures import Code, Label
from mimseg.errors import UserError

SIDES = ("", "left", "right")
_LATERALITY = {"left": Code("SCT", LEFT_CODE, "Left"), "right": Code("SCT", RIGHT_CODE, "Right")}


@dataclass(frozen=True)
class Place:
    """Where to lay one box.

    Attributes:
        structures: Names of the locator's structures whose middle is that of the box.
        side: `left`, `right` or nothing; said in the names of what is found there.
        mirrored: Left and right are exchanged before the model sees the box, and back in its result: the model was
            trained on the other side only.
    """

    structures: tuple[str, ...]
    side: str = ""
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not self.structures or self.side not in SIDES:
            raise UserError(
                f"The place {self.structures} on the side {self.side!r} is not usable.",
                "Name structures, and left, right or no side.",
                "bad-locator",
            )


@dataclass(frozen=True)
class Locator:
    """A model and what to look for in it.

    Attributes:
        model: Name of the model that sees the whole scan.
        places: One for each box.
    """

    model: str
    places: tuple[Place, ...]

    def __post_init__(self) -> None:
        if not self.model or not self.places or len({place.side for place in self.places}) < len(self.places):
            raise UserError(
                "A locator needs a model, and places whose sides differ.", "Correct the model's locator.", "bad-locator"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, as stored in `segmentation.json`."""
        places = [
            {"structures": list(place.structures), "side": place.side, "mirrored": place.mirrored}
            for place in self.places
        ]
        return {"model": self.model, "places": places}

    @classmethod
    def from_json(cls, values: Any) -> Locator:
        """The locator that `to_json` wrote.

        Raises:
            UserError: An entry is missing, unknown or not usable.
        """
        try:
            places = tuple(
                Place(tuple(_text(name) for name in entry["structures"]), _text(entry["side"]), bool(entry["mirrored"]))
                for entry in values["places"]
            )
            if set(values) != {"model", "places"}:
                raise ValueError(f"entries {sorted(values)}")
            return cls(_text(values["model"]), places)
        except (KeyError, TypeError, ValueError) as fault:
            raise UserError(f"The locator {values!r} is not usable ({fault!r}).", code="bad-locator") from fault

    def in_words(self) -> str:
        """For people."""
        names = ", ".join(name for place in self.places for name in place.structures)
        return f"Finds its region by itself: in a large scan the model {self.model} shows it where to look ({names})"


def located_labels(labels: Sequence[Label], locator: Locator) -> tuple[Label, ...]:
    """The structures of all places: those of the first keep their values, the next places' follow.

    Class `p * len(labels) + k` is structure k at place p, both counted from 0; names begin with the side, which is
    also coded where a structure has no other modifier.
    """
    step = max(label.value for label in labels)
    return tuple(
        _sided(label, place.side, number * step) for number, place in enumerate(locator.places) for label in labels
    )


def _sided(label: Label, side: str, offset: int) -> Label:
    if not side:
        return replace(label, value=label.value + offset)
    lowered = label.name[:1].lower() + label.name[1:] if label.name[1:2].islower() else label.name
    modifier = label.modifier or (_LATERALITY[side] if label.type else None)
    return replace(label, value=label.value + offset, name=f"{side.capitalize()} {lowered}", modifier=modifier)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value
