"""`--locator MODEL:STRUCTURE`: what a new model finds its region by in large scans."""

from __future__ import annotations

import re

from mimseg.bundle.description import read_description
from mimseg.bundle.locations import DESCRIPTION_FILE, find_bundle
from mimseg.bundle.locator import Locator, Place
from mimseg.bundle.reader import open_bundle
from mimseg.data.labels.sides import side_of
from mimseg.data.labels.structures import Label
from mimseg.errors import UserError

_NOT_LETTERS = re.compile(r"[^a-z0-9]+")


def parse_locator(text: str, trained_side: str = "") -> Locator:
    """The locator that `MODEL:STRUCTURE` means.

    Args:
        text: `head:Left-Hippocampus` for one box; `head:hippocampus` for one around the left and one around the right
            hippocampus, if the model tells them apart.
        trained_side: `left` or `right` if the new model sees structures of that side only: then the other side is
            mirrored for it.

    Raises:
        UserError: There is no such model, or it has no such structure.
    """
    model, _, wanted = text.rpartition(":")
    if not model or not wanted.strip():
        raise UserError(
            f"The locator {text!r} is not MODEL:STRUCTURE.", "For example --locator head:hippocampus.", "bad-usage"
        )
    path = find_bundle(model)
    description = read_description(path / DESCRIPTION_FILE) if path.is_dir() else open_bundle(path).description
    labels = description.labels
    exact = [label for label in labels if label.name.casefold() == wanted.strip().casefold()]
    found = exact or [label for label in labels if side_of(label) and _plain(label.name, True) == _plain(wanted)]
    if not found:
        raise UserError(
            f"The model {description.name} has no structure {wanted!r}.",
            f"It has: {', '.join(label.name for label in labels)}.",
            "unknown-label",
        )
    return Locator(description.name, tuple(_place(label, trained_side) for label in found))


def _place(label: Label, trained_side: str) -> Place:
    side = side_of(label)
    return Place((label.name,), side, bool(trained_side and side and side != trained_side))


def _plain(name: str, without_side: bool = False) -> str:
    """A name without punctuation and, if asked, without its side."""
    words = _NOT_LETTERS.sub(" ", name.casefold()).split()
    sides = ("left", "right", "l", "r", "lh", "rh")
    return " ".join(word for word in words if not without_side or word not in sides)
