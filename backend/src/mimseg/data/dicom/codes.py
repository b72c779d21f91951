"""Coded concepts and colours in DICOM objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mimseg.data.labels.structures import Code

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# White point D65 and the matrix from XYZ to linear sRGB (IEC 61966-2-1), as dcmqi and Highdicom take them.
_WHITE = np.array([0.950456, 1.0, 1.088754])
_TO_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])


def code_of(item: Dataset, sequence: str) -> Code | None:
    """The first code of a sequence of `item`, or None."""
    found = item.get(sequence)
    if not found:
        return None
    value = found[0].get("CodeValue") or found[0].get("LongCodeValue")
    scheme = found[0].get("CodingSchemeDesignator")
    return Code(str(scheme), str(value), str(found[0].get("CodeMeaning") or value)) if value and scheme else None


def rgb_of_cielab(values: object) -> tuple[int, int, int] | None:
    """Red, green, blue (0..255) of a Recommended Display CIELab Value; None if it is none."""
    try:
        lightness, a, b = (float(value) for value in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None
    lightness, a, b = lightness / 65535 * 100, a / 65535 * 255 - 128, b / 65535 * 255 - 128
    y = (lightness + 16) / 116
    cubes = np.array([y + a / 500, y, y - b / 200])
    xyz = np.where(cubes > 6 / 29, cubes**3, 3 * (6 / 29) ** 2 * (cubes - 4 / 29)) * _WHITE
    linear = np.clip(_TO_SRGB @ xyz, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(channel) * 255) for channel in srgb)
    return red, green, blue
