"""Enhanced CT, MR and PET: one file whose frames say in functional groups where each of them lies."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mimseg.data.dicom.dataset import need, read_dataset
from mimseg.data.dicom.decoding import decode, unreadable
from mimseg.data.dicom.headers import NotAnImage, Slice, is_no_slope, place_of, text_of
from mimseg.errors import UserError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.3"
# Element of a functional group, by the name that `series.choose_frame` tells frames apart by.
_FRAME_TAGS = {
    "TemporalPositionIndex": ("FrameContentSequence", "TemporalPositionIndex"),
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "AcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "AcquisitionTime": ("FrameContentSequence", "FrameAcquisitionDateTime"),
}
_FRAME_TYPES = ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence")


def read_frames(path: Path) -> list[Slice]:
    """The frames of a multi-frame file, each a slice.

    Raises:
        NotAnImage: Frames do not say where they lie, or belong to several stacks.
    """
    try:
        data = read_dataset(path)
    except UserError as fault:
        raise NotAnImage("is a damaged DICOM file", fault.hint, fault.code, damaged=True) from fault
    frames = int(data.get("NumberOfFrames") or 1)
    shared = (data.get("SharedFunctionalGroupsSequence") or [need("pydicom").Dataset()])[0]
    groups = list(data.get("PerFrameFunctionalGroupsSequence") or ())
    if not groups:
        raise NotAnImage(
            f"is a multi-frame file whose {frames} frames do not say where they lie (no functional groups)",
            "Give an enhanced CT or MR image, or the single slices: other multi-frame pictures are no volumes.",
            "dicom-multiframe",
            blocks_series=True,
        )
    if len(groups) != frames:
        raise NotAnImage(
            f"says that it has {frames} frames, but describes {len(groups)}",
            "Export the series again.",
            "dicom-multiframe",
            damaged=True,
            blocks_series=True,
        )
    _refuse_stacks([_value(group, shared, "FrameContentSequence", "StackID") for group in groups])
    return [_slice(data, shared, group, number, path) for number, group in enumerate(groups)]


def read_frame_pixels(path: Path, parts: Sequence[Slice]) -> list[NDArray]:
    """Pixels `(i, j)` of frames of one file, each after its own rescale slope and intercept.

    Raises:
        UserError: They are cut off or cannot be decoded.
    """
    data = read_dataset(path, pixels=True)
    try:
        stored = _stored(data, path)
    except UserError:
        raise
    except Exception as fault:  # Decoders fail in many ways.
        raise unreadable(path) from fault
    if len(stored) != int(data.get("NumberOfFrames") or 1):
        raise unreadable(path)
    return [_rescaled(stored[part.part or 0], *part.rescale).T for part in parts]


def _refuse_stacks(stacks: list[str]) -> None:
    found = sorted({stack for stack in stacks if stack})
    if len(found) > 1:
        counts = ", ".join(str(stacks.count(stack)) for stack in found[:8])
        raise NotAnImage(
            f"holds {len(found)} stacks of slices ({counts} frames)",
            "Export each stack as a series of its own.",
            "dicom-several-stacks",
            blocks_series=True,
        )


def _slice(data: Dataset, shared: Dataset, group: Dataset, number: int, path: Path) -> Slice:
    fields = {
        name: _value(group, shared, sequence, name)
        for sequence, name in (
            ("PlanePositionSequence", "ImagePositionPatient"),
            ("PlaneOrientationSequence", "ImageOrientationPatient"),
            ("PixelMeasuresSequence", "PixelSpacing"),
        )
    }
    try:
        axes, position = place_of(fields)
    except NotAnImage as fault:
        raise NotAnImage(
            f"has a frame ({number + 1}) that {fault.reason}", fault.hint, fault.code, blocks_series=True
        ) from fault
    between_rows, between_columns = (float(part) for part in fields["PixelSpacing"].split("\\"))
    tags = {name: _value(group, shared, *where) for name, where in _FRAME_TAGS.items()}
    slope = _transformed(data, shared, group, "RescaleSlope")
    tags["ImageType"] = next((text for each in _FRAME_TYPES if (text := _value(group, shared, each, "FrameType"))), "")
    return Slice(
        path=path,
        series=text_of(data.get("SeriesInstanceUID")),
        instance=text_of(data.get("SOPInstanceUID")),
        modality=text_of(data.get("Modality")),
        number=number + 1,
        position=position,
        axes=axes,
        size=(int(data.Columns), int(data.Rows)),
        spacing=(between_columns, between_rows),
        bits=int(data.get("BitsAllocated") or 16),
        reversed_display=text_of(data.get("PhotometricInterpretation")) == "MONOCHROME1",
        frame_tags={name: text for name, text in tags.items() if text},
        part=number,
        no_slope=is_no_slope(slope),
        rescale=(
            1.0 if is_no_slope(slope) else float(slope or 1),
            float(_transformed(data, shared, group, "RescaleIntercept") or 0),
        ),
    )


def _transformed(data: Dataset, shared: Dataset, group: Dataset, name: str) -> str:
    """Secondary captures say it once for all frames, outside of the groups."""
    return _value(group, shared, "PixelValueTransformationSequence", name) or text_of(data.get(name))


def _value(group: Dataset, shared: Dataset, sequence: str, name: str) -> str:
    """An element of a frame's own functional group, or of the one that all frames share, as text."""
    for where in (group, shared):
        found = where.get(sequence)
        if found and found[0].get(name) is not None:
            return text_of(found[0].get(name))
    return ""


def _stored(data: Dataset, path: Path) -> NDArray:
    """Stored numbers `(frame, row, column)`."""
    rows, columns = int(data.Rows), int(data.Columns)
    if not data.file_meta.TransferSyntaxUID.is_encapsulated:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels: NDArray = data.pixel_array
        return pixels.reshape(-1, rows, columns)
    # GDCM knows every compression, but little of functional groups: it gets the pixels and nothing else.
    pydicom = need("pydicom")
    bare = pydicom.Dataset()
    bare.SOPClassUID, bare.SOPInstanceUID, bare.Modality = _SECONDARY_CAPTURE, "1.2.3", "OT"
    bare.PhotometricInterpretation = "MONOCHROME2"
    for name in ("SamplesPerPixel", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(bare, name, data[name].value)
    bare.NumberOfFrames, bare.PixelData = int(data.get("NumberOfFrames") or 1), data.PixelData
    bare["PixelData"].VR = "OB"
    bare.file_meta = pydicom.dataset.FileMetaDataset()
    bare.file_meta.MediaStorageSOPClassUID, bare.file_meta.MediaStorageSOPInstanceUID = _SECONDARY_CAPTURE, "1.2.3"
    bare.file_meta.TransferSyntaxUID = data.file_meta.TransferSyntaxUID
    with tempfile.TemporaryDirectory(prefix="mimseg-") as folder:
        copy = Path(folder) / "frames.dcm"
        bare.save_as(copy, enforce_file_format=True)
        return decode(copy, path).reshape(-1, rows, columns)


def _rescaled(stored: NDArray, slope: float, intercept: float) -> NDArray:
    """Whole numbers stay whole where slope and intercept are."""
    if slope == 1 and intercept == 0:
        return stored
    if slope.is_integer() and intercept.is_integer():
        return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(np.int32)
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)
