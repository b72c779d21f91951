"""The header of one DICOM file, as far as it is needed to stack slices."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SOP_CLASS = re.compile(rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.([0-9.]*[0-9])")
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_KINDS = {
    "481.3": "an RT structure set (contours, no image)",
    "481.2": "an RT dose",
    "481.5": "an RT plan",
    "66.4": "a DICOM segmentation",
    "66.7": "a DICOM segmentation",
    "66.1": "a registration",
    "104.1": "a document",
}
_KINDS_BY_START = {"88.": "a structured report", "11.": "a presentation state", "9.": "a waveform"}
_KINDS_BY_MODALITY = {
    "RTSTRUCT": _KINDS["481.3"],
    "RTDOSE": _KINDS["481.2"],
    "RTPLAN": _KINDS["481.5"],
    "SEG": _KINDS["66.4"],
    "REG": _KINDS["66.1"],
    "SR": "a structured report",
    "PR": "a presentation state",
    "KO": "a list of key images",
    "DOC": "a document",
}
_ENHANCED = {"2.1", "2.2", "4.1", "4.3", "4.4", "130", "128.1"}
_NEED_IMAGES = "Give the folder with the CT or MR images themselves."

# Elements by which the frames of one series may differ, most telling first.
FRAME_TAGS = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "DiffusionBValue",
    "EchoTime",
    "EchoNumbers",
    "TriggerTime",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContentTime",
    "ImageType",
)
# Nothing else is read: no name and no number of a patient ever gets into this program.
_READ = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "InstanceNumber", "NumberOfFrames", "Rows",
    "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", *FRAME_TAGS,
)  # fmt: skip
_TABLE = "ModalityLUTSequence"


class NotAnImage(Exception):
    """A DICOM file that is no slice to stack.

    Args:
        reason: Completes the sentence "<file> ...".
        hint: What to do.
        code: For `UserError`.
        damaged: The file could not be read at all, and may have been a slice.
        blocks_series: The image data of the folder are in this file, so it must not be passed over.
    """

    def __init__(self, reason: str, hint: str, code: str, damaged: bool = False, blocks_series: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.hint, self.code = reason, hint, code
        self.damaged, self.blocks_series = damaged, blocks_series


@dataclass(frozen=True)
class Slice:
    """One image file of a series.

    Attributes:
        position: LPS mm of the first pixel's centre.
        axes: 2x3; unit vectors along a row (axis i) and along a column (axis j).
        size, spacing: Pixels and mm along i and j.
        bits: Of a stored pixel.
        reversed_display: Low numbers are shown bright (MONOCHROME1).
        frame_tags: Values of `FRAME_TAGS` that the file has.
        part: Number from 0 of the frame or tile that the slice is; None if it is the whole file.
        tile: The slice is a tile of a mosaic.
        assumed: The file does not say in which direction its slices follow each other.
        no_slope: The file gives a rescale slope of 0, or one that is no number; 1 is taken instead, as GDCM does.
        rescale: Slope and intercept, for frames; those of whole files and of tiles are applied by the decoder.
    """

    path: Path
    series: str
    instance: str
    modality: str
    number: int | None
    position: NDArray[np.float64]
    axes: NDArray[np.float64]
    size: tuple[int, int]
    spacing: tuple[float, float]
    bits: int
    reversed_display: bool
    frame_tags: dict[str, str]
    part: int | None = None
    tile: bool = False
    assumed: bool = False
    no_slope: bool = False
    rescale: tuple[float, float] = (1.0, 0.0)

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across the slice."""
        return np.cross(self.axes[0], self.axes[1])


def read_slice_header(path: Path) -> Slice:
    """Read the header of one file.

    Raises:
        NotAnImage: The file is damaged, another kind of object, multi-frame, mosaic, in colour, or has no position.
    """
    fields = _read_fields(path)
    sop_class = fields.get("SOPClassUID", "")
    if not sop_class.startswith(_STORAGE):
        raise _unreadable(path)
    _refuse_other_objects(fields)
    rows, columns = _integer(fields.get("Rows", "")), _integer(fields.get("Columns", ""))
    if not rows or not columns:
        raise _unreadable(path)
    axes, position = place_of(fields)
    between_rows, between_columns = (float(part) for part in fields["PixelSpacing"].split("\\"))
    return Slice(
        path=path,
        series=fields.get("SeriesInstanceUID", ""),
        instance=fields.get("SOPInstanceUID", ""),
        modality=fields.get("Modality", ""),
        number=_integer(fields.get("InstanceNumber", "")),
        position=position,
        axes=axes,
        size=(columns, rows),
        spacing=(between_columns, between_rows),
        bits=_integer(fields.get("BitsAllocated", "")) or 16,
        reversed_display=fields.get("PhotometricInterpretation", "") == "MONOCHROME1",
        frame_tags={name: fields[name] for name in FRAME_TAGS if fields.get(name)},
        no_slope=is_no_slope(fields.get("RescaleSlope", "")),
    )


def _read_fields(path: Path) -> dict[str, str]:
    """The elements of `_READ` that are there, as text; several values are separated by backslashes.

    Raises:
        NotAnImage: This is no DICOM file, or its header is damaged.
    """
    # Not above: runs on other formats need not load it.
    import pydicom

    try:
        with path.open("rb") as file:
            start = file.read(132)
            file.seek(0)
            # Files without the mark begin with their first group right away.
            bare = start[:2] in (b"\x02\x00", b"\x08\x00") and start[128:] != b"DICM"
            with warnings.catch_warnings(), pydicom.config.disable_value_validation():
                warnings.simplefilter("ignore")
                found = pydicom.dcmread(file, stop_before_pixels=True, force=bare, specific_tags=[*_READ, _TABLE])
                fields = {name: text_of(found.get(name)) for name in _READ}
                fields[_TABLE] = "given" if found.get(_TABLE) else ""
                # Some anonymisers empty the one and leave the other.
                fields["SOPClassUID"] = fields["SOPClassUID"] or text_of(found.file_meta.get("MediaStorageSOPClassUID"))
    except Exception as fault:  # A damaged header may make pydicom raise anything.
        raise _unreadable(path) from fault
    return {name: text for name, text in fields.items() if text}


def text_of(value: object) -> str:
    """An element's value as it stands in the file."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return "\\".join(text_of(part) for part in value)  # type: ignore[attr-defined]
    return str(value).strip("\0 ")


def is_no_slope(text: str) -> bool:
    """True if a rescale slope is given that cannot be meant: 0, which leaves no contrast, or no finite number."""
    slope = _numbers(text, 1) if text else np.ones(1)
    return slope is None or not slope[0]


def _refuse_other_objects(fields: dict[str, str]) -> None:
    sop_class = fields["SOPClassUID"].removeprefix(_STORAGE)
    kind = _kind(sop_class) or _KINDS_BY_MODALITY.get(fields.get("Modality", ""))
    if kind:
        raise NotAnImage(f"is {kind}", _NEED_IMAGES, "dicom-not-an-image")
    stored = fields.get("PhotometricInterpretation", "MONOCHROME2")
    if (_integer(fields.get("SamplesPerPixel", "")) or 1) > 1 or stored not in ("MONOCHROME1", "MONOCHROME2"):
        raise NotAnImage("is a colour picture", _NEED_IMAGES, "not-scalar")
    if _TABLE in fields:
        raise NotAnImage(
            "gives its intensities by a table (Modality LUT Sequence), which is not read",
            "Export the series with rescale slope and intercept, or convert it to NIfTI first.",
            "dicom-modality-lut",
            blocks_series=True,
        )
    frames = _integer(fields.get("NumberOfFrames", "")) or 1
    if sop_class in _ENHANCED or frames > 1:
        raise NotAnImage(
            f"is an enhanced (multi-frame) DICOM file with {frames} frames",
            "Convert it to NIfTI or NRRD first, e.g. with dcm2niix or 3D Slicer.",
            "dicom-multiframe",
            blocks_series=True,
        )
    if "MOSAIC" in fields.get("ImageType", "").upper().split("\\"):
        raise NotAnImage(
            "is a Siemens mosaic (all slices side by side in one picture)",
            "Convert it to NIfTI first, e.g. with dcm2niix.",
            "dicom-mosaic",
            blocks_series=True,
        )


def place_of(fields: dict[str, str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Axes `(2, 3)` at right angles and position `(3,)`, of elements as text.

    Raises:
        NotAnImage: Position, orientation or pixel spacing is missing or no usable number.
    """
    position = _numbers(fields.get("ImagePositionPatient", ""), 3)
    orientation = _numbers(fields.get("ImageOrientationPatient", ""), 6)
    spacing = _numbers(fields.get("PixelSpacing", ""), 2)
    if position is None or orientation is None or spacing is None or spacing.min() <= 0:
        raise NotAnImage(
            "does not say where it lies (position, orientation or pixel spacing is missing)",
            "Give the original series: screenshots, localizers and X-ray pictures cannot be stacked.",
            "dicom-no-geometry",
        )
    axes = orientation.reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1).max() > 0.01 or abs(float(axes[0] @ axes[1])) > 0.01:
        raise NotAnImage(
            "has an orientation whose axes are not at right angles", "Export the series again.", "bad-geometry"
        )
    axes = axes / lengths[:, np.newaxis]
    second = axes[1] - (axes[0] @ axes[1]) * axes[0]
    return np.stack([axes[0], second / np.linalg.norm(second)]), position


def _unreadable(path: Path) -> NotAnImage:
    """What a file is whose header cannot be read, from its first kilobytes."""
    with path.open("rb") as file:
        found = _SOP_CLASS.search(file.read(8192))
    kind = _kind(found[1].decode()) if found else None
    if kind:
        return NotAnImage(f"is {kind}", _NEED_IMAGES, "dicom-not-an-image")
    if found:
        reason = "is a damaged DICOM file (cut off, or without its leading meta header)"
    else:
        reason = "is a DICOM file of an unknown kind or damaged (no standard SOP Class UID in its header)"
    return NotAnImage(
        reason,
        "Export or copy it again from the archive; anonymisation must keep the SOP Class UID.",
        "unreadable",
        damaged=True,
    )


def _kind(sop_class: str) -> str | None:
    by_start = (kind for start, kind in _KINDS_BY_START.items() if sop_class.startswith(start))
    return _KINDS.get(sop_class) or next(by_start, None)


def _numbers(text: str, count: int) -> NDArray[np.float64] | None:
    try:
        values = np.array([float(part) for part in text.split("\\")])
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
