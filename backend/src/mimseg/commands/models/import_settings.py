"""The choices of `mimseg models import` for weights of other programs."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

from mimseg.bundle.foreign_files import ZIP_FAULTS
from mimseg.bundle.locations import DESCRIPTION_FILE


@dataclass(frozen=True)
class ImportSettings:
    """Choices of an import; None or empty where the file, its declarations or a default decide.

    Attributes:
        source: File of weights, or folder or zip of a bundle.
        output: Folder to write; None keeps a segmentation model among the user's models.
        importer: Name of the importer, for files that several know.
        prefix: What the names of the encoder's tensors begin with, for files with several networks.
        window: Voxels along x, y, z that the network was made for.
        heads: Attention heads.
        patch_size: Edge of a patch in voxels.
        preprocessing: Name of a preset, or a JSON file.
        labels: JSON file with the structures.
        modality: `CT` or `MR`.
        multilabel: The outputs are independent (sigmoid).
        name: Of the model.
        title: One line about it.
        licence: Of the weights.
        replace: Replace a model of the same name.
        allow_incomplete: Accept an encoder that lacks tensors; they start at random.
    """

    source: Path
    output: Path | None = None
    importer: str | None = None
    prefix: str = ""
    window: tuple[int, int, int] | None = None
    heads: int | None = None
    patch_size: int | None = None
    preprocessing: str | None = None
    labels: Path | None = None
    modality: str | None = None
    multilabel: bool = False
    name: str | None = None
    title: str = ""
    licence: str = "Not stated"
    replace: bool = False
    allow_incomplete: bool = False


def is_model_of_mimseg(path: Path) -> bool:
    """Whether a folder or zip is a model that mimseg wrote (or a zip that nobody can read)."""
    if path.is_dir():
        return (path / DESCRIPTION_FILE).is_file()
    if path.suffix.lower() != ".zip":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except ZIP_FAULTS:
        return True
    return not names or any(name.split("/")[-1] == DESCRIPTION_FILE for name in names)
