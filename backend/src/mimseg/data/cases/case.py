"""What a data set is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from mimseg.formats import ending_of


@dataclass(frozen=True)
class Case:
    """One labelled (or unlabelled) volume.

    Attributes:
        identifier: Name of the case inside its data set.
        images: One file for each channel, or one 4D file with all of them (Decathlon); none where training is to draw
            images from the labelmap.
        label: The labelmap, or None.
        subject: Cases of one subject must not be split between training and validation.
        channels: How many channels the data set names; 0 if it does not say.
        orientation: How the axes run in files of the case that do not say so, e.g. `LPS`; empty for RAS.
    """

    identifier: str
    images: tuple[Path, ...]
    label: Path | None
    subject: str = ""
    channels: int = 0
    orientation: str = ""


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a data set as its files are named and listed; no voxel is read for it.

    Attributes:
        severity: `error`, `warning` or `note`.
        code: Stable identifier in kebab-case.
        message: What is wrong; names each file concerned.
        remedy: What to do.
        case: Identifier of the case, or empty if it concerns the data set.
        files: Names of the files that are left out, without their folders.
    """

    severity: str
    code: str
    message: str
    remedy: str
    case: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Cases, with what their description says about labels and channels.

    Attributes:
        cases: In the order of the description.
        label_names: Name of each structure by its value, without background; empty if unknown.
        channels: Channel names, empty if unknown.
        regions: Values in the labelmaps that make up each structure, by its value, where structures may overlap
            (nnU-Net's region-based training); empty if each structure is its own value.
        ignored: Value of voxels of which nobody says what they are (nnU-Net's `ignore`); None without any.
        flaws: What is wrong with its files.
    """

    cases: tuple[Case, ...]
    label_names: dict[int, str]
    channels: tuple[str, ...] = ()
    regions: Mapping[int, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    ignored: int | None = None
    flaws: tuple[Flaw, ...] = ()


def stem(path: Path) -> str:
    """File name without its (possibly double) extension; a folder's whole name, since UIDs are full of dots."""
    if path.is_dir():
        return path.name
    ending = ending_of(path)
    return path.name[: -len(ending)] if ending else path.stem
