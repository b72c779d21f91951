"""The quick mode of a model: a coarser working spacing, with what was measured to be lost by it."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from mimseg.errors import UserError


@dataclass(frozen=True)
class QuickMode:
    """Coarser voxels and the overlap to segment with, and what that costs and saves.

    Attributes:
        spacing: Working spacing in mm along x, y, z.
        overlap: Share of a window that its neighbour covers too.
        dice: Mean foreground Dice in this mode, on labelled cases that the model was not trained on.
        dice_loss: Mean foreground Dice of the model's usual mode on the same cases, minus `dice`.
        windows_share: Windows of this mode divided by those of the usual mode, on the same cases.
        cases: How many cases that were.
    """

    spacing: tuple[float, float, float]
    overlap: float
    dice: float
    dice_loss: float
    windows_share: float
    cases: int

    def __post_init__(self) -> None:
        demands = {
            "spacing": len(self.spacing) == 3 and all(0 < edge < 1e3 for edge in self.spacing),
            "overlap": 0 <= self.overlap <= 0.95,
            "dice": 0 <= self.dice <= 1,
            "dice_loss": -1 <= self.dice_loss <= 1,
            "windows_share": 0 < self.windows_share <= 1,
            "cases": self.cases >= 1,
        }
        wrong = ", ".join(name for name, holds in demands.items() if not holds)
        if wrong:
            raise UserError(f"The quick mode has values that are not usable: {wrong}.", code="bad-model")

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, as stored in `segmentation.json`."""
        return {**asdict(self), "spacing": list(self.spacing)}

    @classmethod
    def from_json(cls, values: Any) -> QuickMode:
        """The quick mode that `to_json` wrote.

        Raises:
            UserError: An entry is missing, unknown or not usable.
        """
        known = {entry.name for entry in fields(cls)}
        if not isinstance(values, dict) or set(values) != known:
            raise UserError(
                f"The quick mode must be an object with exactly the entries {', '.join(sorted(known))}.",
                code="bad-model",
            )
        spacing, cases = values["spacing"], values["cases"]
        numbers = {name: values[name] for name in known - {"spacing", "cases"}}
        usable = isinstance(spacing, list) and len(spacing) == 3 and type(cases) is int
        if not usable or not all(map(_is_number, [*spacing, *numbers.values()])):
            raise UserError("The quick mode has entries of a wrong type.", code="bad-model")
        x, y, z = (float(edge) for edge in spacing)
        return cls((x, y, z), cases=cases, **{name: float(value) for name, value in numbers.items()})

    def is_coarser_than(self, usual: tuple[float, float, float] | None) -> bool:
        """True if no axis is finer than in the usual spacing and one is coarser."""
        if usual is None or self.spacing == usual:
            return False
        return all(own >= edge for own, edge in zip(self.spacing, usual, strict=True))

    def in_words(self, usual: tuple[float, float, float] | None) -> str:
        """What it does, loses and saves, in a line; `usual` is the spacing of the usual mode."""
        how = "lower" if self.dice_loss >= 0 else "higher"
        cases = "case" if self.cases == 1 else "cases"
        return (
            f"{spacing_in_words(self.spacing)} instead of {spacing_in_words(usual)}; on {self.cases} {cases} that it "
            f"was not trained on mean Dice was {abs(self.dice_loss):.3f} {how}; {self.windows_share:.2g} of the windows"
        )


def spacing_in_words(spacing: tuple[float, float, float] | None) -> str:
    """`1 mm`, `1 x 1 x 3 mm`, or `as scanned`."""
    if spacing is None:
        return "as scanned"
    return " x ".join(f"{edge:g}" for edge in (spacing[:1] if len(set(spacing)) == 1 else spacing)) + " mm"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
