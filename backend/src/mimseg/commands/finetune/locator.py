"""`--locator MODEL:STRUCTURE`: what a new model finds its region by in large scans."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mimseg.bundle.description import read_description
from mimseg.bundle.locations import DESCRIPTION_FILE, find_bundle
from mimseg.bundle.locator import Locator, Place
from mimseg.bundle.reader import open_bundle
from mimseg.data.labels.scheme import IGNORED
from mimseg.data.labels.sides import side_of
from mimseg.data.labels.structures import Label
from mimseg.errors import UserError
from mimseg.events import Reporter

if TYPE_CHECKING:
    from mimseg.training.crops.cache import TrainingCase

# Of a case around one structure, the box around that takes more.
SMALL_SHARE = 0.1
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


def warn_of_whole_scans(locator: Locator | None, cases: Sequence[TrainingCase], reporter: Reporter) -> None:
    """Tell that a locator is of no use: the boxes that it lays are as large as the cases, which show much else."""
    shares = [share for case in cases if (share := _labelled_share(case)) > 0]
    if locator is not None and shares and float(np.median(shares)) < SMALL_SHARE:
        reporter.warning(
            "whole-scans",
            "The cases show much more than the structures and what is around them. The model will look at whole scans, "
            "so its locator does nothing: cut the cases around the structures.",
        )


def _labelled_share(case: TrainingCase) -> float:
    """Share of a case that the box around its structures takes; 0 without any."""
    if case.label is None:
        return 0.0
    labels = case.label.numpy()
    inside, share = (labels > 0) & (labels != IGNORED), 1.0
    for axis, edge in enumerate(labels.shape):
        filled = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        share *= (filled[-1] - filled[0] + 1) / edge if len(filled) else 0.0
    return share


def _place(label: Label, trained_side: str) -> Place:
    side = side_of(label)
    return Place((label.name,), side, bool(trained_side and side and side != trained_side))


def _plain(name: str, without_side: bool = False) -> str:
    """A name without punctuation and, if asked, without its side."""
    words = _NOT_LETTERS.sub(" ", name.casefold()).split()
    sides = ("left", "right", "l", "r", "lh", "rh")
    return " ".join(word for word in words if not without_side or word not in sides)
