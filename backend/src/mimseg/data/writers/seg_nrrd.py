"""Labels as a segmentation of 3D Slicer, with names, colours and codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from numpy.typing import NDArray

from mimseg.data.images import image_of, save_with_itk
from mimseg.data.labels.seg_nrrd import segment_metadata
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid


def write(path: Path, labels: NDArray, grid: Grid, table: Sequence[Label]) -> None:
    """Write labels with a segment for each of `table` and for each value that it does not name."""
    image = image_of(labels, grid)
    for key, value in segment_metadata(labels, grid, table).items():
        image.SetMetaData(key, value)
    save_with_itk(path, image)
