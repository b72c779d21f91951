"""Siemens mosaics: all slices of a volume side by side in one picture.

How many tiles there are and how the slices follow each other stands in private elements only: the number in
(0019,100A) or the CSA header, the direction from slice to slice in the CSA header. The position in the standard element
is that of a slice as large as the whole picture.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mimseg.data.dicom.dataset import read_dataset
from mimseg.data.dicom.headers import NotAnImage, Slice, is_no_slope, place_of, text_of
from mimseg.errors import UserError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CONVERT = "Convert it to NIfTI first, e.g. with dcm2niix, from files that were not anonymised of private elements."
_LONGEST_TAG_LIST = 128


def read_tiles(path: Path) -> list[Slice]:
    """The tiles of a mosaic, each a slice.

    Raises:
        NotAnImage: The private elements that describe it are missing or do not fit the picture.
    """
    try:
        data = read_dataset(path)
    except UserError as fault:
        raise NotAnImage("is a damaged DICOM file", fault.hint, fault.code, damaged=True) from fault
    csa = read_csa(_private(data, 0x0029, "SIEMENS CSA HEADER", 0x10))
    count = _number(_private(data, 0x0019, "SIEMENS MR HEADER", 0x0A)) or _number(csa.get("NumberOfImagesInMosaic"))
    if not count:
        raise _refused("is a Siemens mosaic that does not say how many slices it holds")
    edge = int(np.ceil(np.sqrt(count)))
    columns, rows = int(data.Columns), int(data.Rows)
    between = float(data.get("SpacingBetweenSlices") or 0)
    if columns % edge or rows % edge or between <= 0:
        raise _refused(f"is a Siemens mosaic of {count} slices whose size or slice distance does not fit that number")
    names = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    axes, corner = place_of({name: text_of(data.get(name)) for name in names})
    between_rows, between_columns = (float(value) for value in data.PixelSpacing)
    normal = _normal(axes, csa)
    size = (columns // edge, rows // edge)
    corner = (
        corner + axes[0] * between_columns * (columns - size[0]) / 2 + axes[1] * between_rows * (rows - size[1]) / 2
    )
    tags = ("AcquisitionNumber", "AcquisitionTime", "ContentTime", "EchoTime")
    return [
        Slice(
            path=path,
            series=text_of(data.get("SeriesInstanceUID")),
            instance=text_of(data.get("SOPInstanceUID")),
            modality=text_of(data.get("Modality")),
            number=int(data.get("InstanceNumber") or 0),
            position=corner + normal * between * number,
            axes=axes,
            size=size,
            spacing=(between_columns, between_rows),
            bits=int(data.get("BitsAllocated") or 16),
            reversed_display=text_of(data.get("PhotometricInterpretation")) == "MONOCHROME1",
            frame_tags={name: text for name in tags if (text := text_of(data.get(name)))},
            part=number,
            tile=True,
            no_slope=is_no_slope(text_of(data.get("RescaleSlope"))),
            assumed=not csa,
        )
        for number in range(count)
    ]


def cut_tile(picture: NDArray, part: Slice) -> NDArray:
    """The pixels `(i, j)` of a tile; tiles follow each other along i, then along j."""
    across = picture.shape[0] // part.size[0]
    row, column = divmod(part.part or 0, across)
    (width, height) = part.size
    return picture[column * width : (column + 1) * width, row * height : (row + 1) * height]


def read_csa(content: object) -> dict[str, list[str]]:
    """The elements of a Siemens CSA header (its second version, "SV10"); empty if it is none.

    Layout: number of elements; for each its name (64 bytes), five numbers of which the fourth counts its values; for
    each value four numbers of which the second is its length, and the text, filled up to four bytes.
    """
    if not isinstance(content, bytes) or content[:4] != b"SV10":
        return {}
    found: dict[str, list[str]] = {}
    try:
        (elements,) = struct.unpack_from("<I", content, 8)
        place = 16
        for _ in range(min(elements, _LONGEST_TAG_LIST)):
            name = content[place : place + 64].split(b"\0")[0].decode("latin-1")
            (values,) = struct.unpack_from("<i", content, place + 76)
            place += 84
            texts = []
            for _ in range(values):
                (length,) = struct.unpack_from("<i", content, place + 4)
                text = content[place + 16 : place + 16 + length].split(b"\0")[0].decode("latin-1").strip()
                place += 16 + -(-length // 4) * 4
                texts += [text] if text else []
            found[name] = texts
    except (struct.error, ValueError):
        return {}
    return found


def _normal(axes: NDArray[np.float64], csa: dict[str, list[str]]) -> NDArray[np.float64]:
    """Unit vector from each tile's slice to the next one's; without a CSA header the scanner's usual one.

    Raises:
        NotAnImage: What the CSA header says is not across the slices.
    """
    cross = np.cross(axes[0], axes[1])
    try:
        stated = np.array([float(text) for text in csa.get("SliceNormalVector", [])])
    except ValueError:
        stated = np.zeros(0)
    if not csa:
        return cross
    if stated.shape != (3,) or abs(abs(float(stated @ cross)) - 1) > 0.01:
        raise _refused("is a Siemens mosaic that does not say in which direction its slices follow each other")
    return cross * np.sign(stated @ cross)


def _private(data: Dataset, group: int, creator: str, element: int) -> object:
    try:
        return data.private_block(group, creator)[element].value
    except KeyError:
        found = data.get((group, 0x1000 + element))
        return None if found is None else found.value


def _number(value: object) -> int:
    """A whole number as it stands in private elements, whose type the file may not say; 0 if it is none."""
    if isinstance(value, list):
        value = value[0] if value else 0
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little")
    try:
        return int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return 0


def _refused(reason: str) -> NotAnImage:
    return NotAnImage(reason, _CONVERT, "dicom-mosaic", blocks_series=True)
