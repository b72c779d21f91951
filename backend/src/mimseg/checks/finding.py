"""What a check says about a case: how grave, why, what to do, and where to look."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mimseg.data.regions import Box

# Gravest first. An error prevents training or makes its scores worthless; a warning should be looked at; a note is a
# fact that is probably harmless.
SEVERITIES = ("error", "warning", "note")
# Faults that the names of the files show, and the images again.
_ONCE = {"channel-count"}


@dataclass(frozen=True)
class Spot:
    """Something to draw: a case with its labels.

    Attributes:
        case: Identifier.
        caption: What there is to see.
        box: Only the labels in this box of voxels of the file, enlarged; None for all labels.
    """

    case: str
    caption: str
    box: Box | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that a person should know before training.

    Attributes:
        case: Identifier of the case, or empty if it concerns the whole data set.
        severity: One of `SEVERITIES`.
        code: Stable identifier in kebab-case.
        message: What is wrong, with numbers.
        remedy: What to do.
        evidence: Numbers and texts that JSON can hold, by name; units stand in the name (`volume_ml`).
        spots: Pictures for the report.
    """

    case: str
    severity: str
    code: str
    message: str
    remedy: str
    evidence: dict[str, Any] = field(default_factory=dict)
    spots: tuple[Spot, ...] = ()

    @property
    def numbers(self) -> str:
        """The evidence in words, as in `volume ml: 1.25; values: 1, 2`."""
        return "; ".join(f"{key.replace('_', ' ')}: {_shown(value)}" for key, value in self.evidence.items())

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary without the pictures."""
        names = ("case", "severity", "code", "message", "remedy", "evidence", "numbers")
        return {name: getattr(self, name) for name in names}


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return str(value)


def without_repetitions(findings: Iterable[Finding]) -> list[Finding]:
    """The findings without those that name the same fault of the same case once more, in other words."""
    kept, told = [], set()
    for found in findings:
        key = (found.case, found.code)
        if found.code in _ONCE and key in told:
            continue
        told.add(key)
        kept.append(found)
    return kept
