"""The headers of a series as a DICOM segmentation quotes them: what is missing is filled, what is wrong left out."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mimseg.data.dicom.dataset import need, read_dataset

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.tag import BaseTag

# The standard wants these in a segmentation; empty where the series does not say.
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
_SEXES = ("", "M", "F", "O")
_CT_IMAGE, _MR_IMAGE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def source_headers(files: Sequence[Path]) -> tuple[list[Dataset], list[str]]:
    """Headers of the files of a series, and the elements of the first that cannot be quoted and were left out.

    Patient and study are quoted from the first one.

    Raises:
        UserError: A file cannot be read.
    """
    headers: list[Dataset] = [read_dataset(file) for file in files]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # About values against the standard, which they quote.
        left_out = _leave_out_faulty(headers[0])
        for header in headers:
            _complete(header)
    if not headers[0].get("SliceThickness"):
        headers[0].SliceThickness = 1  # Highdicom asks for it; the segmentation says that of its grid.
    return headers, left_out


def _leave_out_faulty(header: Dataset) -> list[str]:
    keyword = need("pydicom").datadict.keyword_for_tag
    faulty = [tag for tag in header.keys() if not _can_be_quoted(header, tag)]  # noqa: SIM118 (keys are not converted)
    for tag in faulty:
        del header[tag]
    # Every text was decoded above, so that nothing needs the series' own character set, which may be none, any more.
    header.SpecificCharacterSet = "ISO_IR 192"
    return sorted(filter(None, map(keyword, faulty)))


def _can_be_quoted(header: Dataset, tag: BaseTag) -> bool:
    """Whether the value of an element is one that can be read, and written again."""
    pydicom = need("pydicom")
    parsers = {
        "DA": pydicom.valuerep.DA,
        "TM": pydicom.valuerep.TM,
        "DT": pydicom.valuerep.DT,
        "DS": float,
        "IS": float,
    }
    try:
        element = header[tag]
        if element.VM > 1 and not tag.is_private and pydicom.datadict.dictionary_VM(tag) == "1":
            return False
        if element.keyword == "PatientSex" and (element.value or "") not in _SEXES:
            return False
        if element.VR in parsers and element.VM == 1 and element.value is not None:
            parsers[element.VR](element.value)
        alone = pydicom.Dataset()
        alone.SpecificCharacterSet = "ISO_IR 192"
        alone.add(element)
        file = pydicom.filebase.DicomBytesIO()
        file.is_little_endian, file.is_implicit_VR = True, False
        pydicom.filewriter.write_dataset(file, alone)
    except Exception:  # Values against the standard fail in many ways.
        return False
    return True


def _complete(header: Dataset) -> None:
    """Add what a segmentation must repeat and anonymisation may have removed."""
    for name in _MAY_BE_EMPTY:
        if name not in header:
            setattr(header, name, None)
    series = str(header.get("SeriesInstanceUID", ""))
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not header.get(name):
            # The same for every segmentation of this series.
            own = [header.get("InstanceNumber"), header.get("ImagePositionPatient")] if name[:3] == "SOP" else []
            setattr(header, name, f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{series} {name} {own}').int}")
    if not header.get("SOPClassUID"):
        header.SOPClassUID = _MR_IMAGE if header.get("Modality") == "MR" else _CT_IMAGE
