"""What is written to a file of labels: voxels, their grid, the structures, and who drew them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid


@dataclass(frozen=True)
class Algorithm:
    """The model that drew labels, for formats that name it.

    Attributes:
        name: Of the model.
        version: Of the model.
        way: What else the labels depend on (a quick mode, boxes), in any words; only its checksum is written.
    """

    name: str
    version: str
    way: str = field(default="", compare=False)


# Key of the metadata by which a file says what drew it.
MARK = "MIMSegment"
# Begins such a mark.
MADE_BY = "mimseg "


def mark_of(algorithm: Algorithm | None, table: Sequence[Label]) -> str:
    """What drew which structures, in 79 letters at most; empty for what was drawn by hand.

    A labelmap has no place for the structures that were looked for and not found: two results of one mark were made by
    one model, in one way, for the same ones.
    """
    if algorithm is None:
        return ""
    asked = "\n".join(
        [*(f"{label.value} {label.name}" for label in table), *([algorithm.way] if algorithm.way else [])]
    )
    digest = hashlib.sha256(asked.encode()).hexdigest()[:12]
    name, version = (" ".join(text.split()) for text in (algorithm.name, algorithm.version))
    return f"{MADE_BY}{name[:40]} {version[:16]} {digest}".encode("ascii", "replace").decode()


@dataclass(frozen=True)
class Overlapping:
    """Structures that may overlap, one bit for each in every voxel.

    Attributes:
        bits: Uint8 `(ceil(K / 8), i, j, k)`: bit `s % 8` of byte `s // 8` is set where structure `s` is.
        values: Label value of each structure.
    """

    bits: NDArray[np.uint8]
    values: tuple[int, ...]

    def of(self, value: int) -> NDArray[np.bool_]:
        """Where a structure is, `(i, j, k)`."""
        number = self.values.index(value)
        return (self.bits[number // 8] & np.uint8(1 << number % 8)) != 0


@dataclass(frozen=True)
class Drawn:
    """Labels with all that a file may say of them.

    Attributes:
        labels: `(i, j, k)`, uint8 or uint16; of structures that overlap the smallest.
        grid: Where they lie; its `source` tells what the scan's own file said.
        table: Name, colour and codes of the values.
        algorithm: What drew them, or None.
        overlapping: Where each structure is, for formats in which a voxel may belong to several; None if none does.
        algorithms: What drew a value, for those that `algorithm` did not; what is in neither was drawn by hand.
    """

    labels: NDArray
    grid: Grid
    table: Sequence[Label] = ()
    algorithm: Algorithm | None = None
    overlapping: Overlapping | None = None
    algorithms: Mapping[int, Algorithm] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """See `mark_of`."""
        return mark_of(self.algorithm, self.table)

    def drawer(self, value: int) -> Algorithm | None:
        """What drew a value; None if somebody did by hand."""
        return self.algorithms.get(value, self.algorithm)
