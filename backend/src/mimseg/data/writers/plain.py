"""Labels as a labelmap in NRRD or MetaImage, compressed."""

from __future__ import annotations

from pathlib import Path

from mimseg.data.images import image_of, save_with_itk
from mimseg.data.labels.drawn import Drawn


def write(path: Path, drawn: Drawn) -> None:
    """Write labels; these formats have no place for the names of the values."""
    save_with_itk(path, image_of(drawn.labels, drawn.grid))
