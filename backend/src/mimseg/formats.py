"""The one table of file endings: what may be read, what labels may be written to, and what an ending means.

To add an export format: one file in `mimseg/data/writers/` with a function `write` like those there, and one line here.
Anything that no line here knows may be a DICOM file: those often have no ending at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        ending: In lower case, with the dot.
        name: For people.
        image: A scan may be stored in it.
        labels: A labelmap or segmentation may be read from it.
        writer: File in `mimseg/data/writers/` that writes labels to it; empty if none does.
        named: What is written carries names, colours and codes of the structures, not only values.
        overlapping: What is written may hold several structures in one voxel.
        dicom: What is in it is DICOM: such a file is one object of a series, not a volume of its own.
    """

    ending: str
    name: str
    image: bool = True
    labels: bool = True
    writer: str = ""
    named: bool = False
    overlapping: bool = False
    dicom: bool = False


# Longer endings stand before those that they end with. The first that is written is the usual one.
FORMATS = (
    Format(".nii.gz", "NIfTI, compressed", writer="nifti"),
    Format(".nii", "NIfTI", writer="nifti"),
    Format(".seg.nrrd", "3D Slicer segmentation", image=False, writer="seg_nrrd", named=True, overlapping=True),
    Format(".nrrd", "NRRD", writer="plain"),
    Format(".nhdr", "NRRD, header and data apart"),
    Format(".mha", "MetaImage", writer="plain"),
    Format(".mhd", "MetaImage, header and data apart"),
    Format(".dcm", "DICOM segmentation", image=False, writer="dicom_seg", named=True, overlapping=True, dicom=True),
)

# Where the axes of a file run that does not say so: method 1 of the NIfTI standard. ITK and 3D Slicer take LPS.
UNSAID_ORIENTATION = "RAS"

IMAGES = tuple(each.ending for each in FORMATS if each.image)
LABELS_READ = tuple(each.ending for each in FORMATS if each.labels)
LABELS_WRITTEN = tuple(each.ending for each in FORMATS if each.writer)


def format_of(path: Path | str) -> Format | None:
    """The format that the ending of a name means, or None if no line of the table has it."""
    name = Path(path).name.lower()
    return next((each for each in FORMATS if name.endswith(each.ending)), None)


def ending_of(path: Path | str) -> str:
    """The ending in lower case, `.nii.gz` and `.seg.nrrd` as one; empty if it is in no line of the table."""
    found = format_of(path)
    return found.ending if found else ""


def stem_of(path: Path | str) -> str:
    """The name without its known ending; the whole name if the ending is unknown."""
    name = Path(path).name
    return name[: len(name) - len(ending_of(name))]


def is_image(path: Path | str) -> bool:
    """True if a scan may be stored in a file of that name; DICOM files are none by themselves."""
    found = format_of(path)
    return found is not None and found.image


def may_be_dicom(path: Path | str) -> bool:
    """True if a file of that name may be DICOM: by its ending, or because the ending means nothing else."""
    found = format_of(path)
    return found is None or found.dicom


def is_dicom(path: Path) -> bool:
    """True if a file that is there is DICOM: by its ending, or by its mark where the ending means nothing else."""
    if not may_be_dicom(path) or not path.is_file():
        return False
    if path.suffix.lower() in (".dcm", ".ima", ".dicom"):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def listed(endings: Iterable[str]) -> str:
    """Endings for a message: `.nii.gz, .nii, .nrrd`."""
    return ", ".join(endings)
