"""Labels as a labelmap in NRRD or MetaImage, compressed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import SimpleITK as sitk

from mimseg.data.images import image_of
from mimseg.data.labels.drawn import MARK, Drawn
from mimseg.data.reading.plain_path import is_plain


def write(path: Path, drawn: Drawn) -> None:
    """Write labels, with the mark of what drew them; these formats have no place for the names of the values."""
    image = image_of(drawn.labels, drawn.grid)
    if drawn.mark:
        image.SetMetaData(MARK, drawn.mark)
    save_with_itk(path, image)


def save_with_itk(path: Path, image: sitk.Image) -> None:
    """Write with compression to an existing temporary file. ITK does not say when a disk is full: verify what it wrote.

    Raises:
        RuntimeError, OSError: ITK noticed that it could not write.
    """
    if is_plain(path):
        sitk.WriteImage(image, str(path), useCompression=True)
        return
    with tempfile.TemporaryDirectory(prefix="mimseg-") as folder:
        plain = Path(folder) / f"image{''.join(path.suffixes)}"
        sitk.WriteImage(image, str(plain), useCompression=True)
        shutil.copyfile(plain, path)
