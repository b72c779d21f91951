"""Labels as a segmentation of 3D Slicer, with names, colours and codes."""

from __future__ import annotations

from pathlib import Path

from mimseg.data.images import image_of
from mimseg.data.labels.drawn import MARK, Drawn
from mimseg.data.labels.seg_nrrd import segment_metadata
from mimseg.data.writers.plain import save_with_itk


def write(path: Path, drawn: Drawn) -> None:
    """Write labels with a segment for each structure of the table and for each value that it does not name."""
    image = image_of(drawn.labels, drawn.grid)
    for key, value in segment_metadata(drawn.labels, drawn.grid, drawn.table, drawn.drawer).items():
        image.SetMetaData(key, value)
    if drawn.mark:
        image.SetMetaData(MARK, drawn.mark)
    save_with_itk(path, image)
