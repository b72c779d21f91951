"""Labels as a labelmap in NRRD or MetaImage, compressed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from numpy.typing import NDArray

from mimseg.data.images import image_of, save_with_itk
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid


def write(path: Path, labels: NDArray, grid: Grid, table: Sequence[Label]) -> None:
    """Write labels; these formats have no place for the names in `table`."""
    save_with_itk(path, image_of(labels, grid))
