"""What every kind of image file offers: a header to judge, then the voxels of one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from numpy.typing import NDArray

from mimseg.data.volume import Grid
from mimseg.errors import UserError
from mimseg.events import Reporter


@dataclass(frozen=True)
class ImageHeader:
    """What is known before the voxels are read.

    Attributes:
        size: Voxels along each axis, the first ones in space.
        components: Numbers in each voxel.
        number: What a number is, in words, if it is no plain one ("complex numbers"); else empty.
        stored: Type of the numbers in the file: `float32`, `float64`, or `whole numbers`.
        metadata: Keys and values that the file carries besides.
    """

    size: tuple[int, ...]
    components: int
    number: str = ""
    stored: str = "whole numbers"
    metadata: dict[str, str] = field(default_factory=dict)


class ImageFile(Protocol):
    """An image file whose header was read."""

    header: ImageHeader

    def read(self, frame: int, orientation: str, reporter: Reporter) -> tuple[NDArray, Grid]:
        """The voxels of a frame, `(i, j, k)`, or `(C, i, j, k)` if a voxel has several components, and their grid.

        Args:
            frame: Along the fourth axis; 0 if there is none.
            orientation: How the axes run if the file does not say, e.g. `RAS`.
            reporter: Is told what was corrected or is in doubt.

        Raises:
            UserError: The data are damaged or incomplete, or the geometry is not usable.
            MemoryError: They do not fit into memory.
        """

    def verify(self) -> None:
        """Read to the end without keeping anything.

        Raises:
            UserError: The data are damaged or incomplete.
        """


def damaged(path: Path, fault: Exception) -> UserError:
    """The error for data with a wrong checksum or an early end."""
    return UserError(f"{path} is damaged ({fault}).", "Copy or download it again.", "unreadable")


def unreadable(path: Path, reason: str) -> UserError:
    """The error for a file that is not what its ending says, or damaged in its header."""
    return UserError(
        f"{path} cannot be read ({reason}).",
        "The file may be damaged, cut off, or not what its ending says: copy or convert it again.",
        "unreadable",
    )
