"""What checks know besides the cases: names of label values, the model to start from, the split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Expected:
    """What a model, or the user, expects of every case; None or empty where nothing is expected.

    Attributes:
        modality: `CT` or `MR`.
        channels: What each input channel is, e.g. `("T1",)`.
        spacing: Working spacing in mm along the axes of the model.
        source: Who expects it, in words: `the model hippocampus-mr`.
    """

    modality: str | None = None
    channels: tuple[str, ...] = ()
    spacing: tuple[float, float, float] | None = None
    source: str = ""


@dataclass(frozen=True)
class Context:
    """Everything about the data set that no single case holds.

    Attributes:
        names: Name by label value, of the label file or the data set's description; empty if unknown. A value of
            several overlapping structures has all their names.
        structures: Label values of each structure, by its name; empty if unknown.
        named_by_files: The names are those that Slicer segmentations give their segments, not of a list.
        channels: Channel names of the data set's description; empty if unknown.
        expected: Of the model that training starts from.
        training: Identifiers of the cases to train on; None if no split was given.
        validation: Identifiers of the cases to validate on; None if no split was given.
    """

    names: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    structures: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    named_by_files: bool = False
    channels: tuple[str, ...] = ()
    expected: Expected = field(default_factory=Expected)
    training: frozenset[str] | None = None
    validation: frozenset[str] | None = None

    def name(self, value: int) -> str:
        """What stands behind “the structure” in messages."""
        known = self.names.get(value)
        return f"{known} (value {value})" if known else f"of value {value}"
