"""From the positions of DICOM slices to a right-angled grid, or a refusal that says why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.data.dicom.headers import Slice
from mimseg.data.source import Source
from mimseg.data.volume import Grid, Volume
from mimseg.errors import UserError

# Deviations below these are rounding in the headers and stay uncorrected.
_REGULAR_SHARE, _REGULAR_MM = 0.01, 0.005
_IN_LINE_PIXELS = 0.25
# Up to this share of the median distance slices are interpolated onto a regular grid; beyond, refused.
_MILD_SHARE = 0.25


@dataclass(frozen=True)
class Stack:
    """Slices of one volume in ascending order along their normal.

    Attributes:
        along: `(n,)` mm along the normal from the first slice.
        shifts: `(n, 2)` mm within the plane from the first slice; not zero with a tilted gantry.
        distance: mm between the planes of the regular grid.
        sheared, irregular: Whether pixels must be interpolated within planes, across planes.
        note, note_code: What the user must be told about it, or empty.
    """

    slices: Sequence[Slice]
    along: NDArray[np.float64]
    shifts: NDArray[np.float64]
    distance: float
    sheared: bool
    irregular: bool
    note: str
    note_code: str

    def assemble(self, pixels: Sequence[NDArray]) -> Volume:
        """The volume from the slices' pixels `(i, j)`; float32 if anything was interpolated.

        Slices are shifted within their planes first, which mixes no slice with another; the grid grows
        so that nothing is cut off, and is filled with the lowest value.
        """
        array = np.stack(pixels, axis=-1)
        first = self.slices[0]
        spacing = np.array(first.spacing)
        offset = np.zeros(2)
        if self.sheared:
            offset = np.floor(self.shifts.min(axis=0) / spacing + 1e-6)
            array = shift_slices(array, self.shifts / spacing - offset)
        if self.irregular:
            array = _interpolate_slices(array, self.along, self.distance)
        origin = first.position + (offset * spacing) @ first.axes
        direction = np.stack([*first.axes, first.normal], axis=1)
        size = (int(array.shape[0]), int(array.shape[1]), int(array.shape[2]))
        place = (float(origin[0]), float(origin[1]), float(origin[2]))
        files = tuple(dict.fromkeys(part.path for part in self.slices))
        source = Source(dicom=files, planes=len(files) == size[2] and not self.sheared and not self.irregular)
        return Volume(array, Grid(size, (*first.spacing, self.distance), place, direction, source))


def stack_of(slices: Sequence[Slice], folder: Path) -> Stack:
    """Work out distance, regularity and shear of sorted slices.

    Raises:
        UserError: One slice only, missing slices, or distances too irregular to interpolate.
    """
    if len(slices) < 2:
        raise UserError(f"{folder} holds one slice only.", "Give the whole series.", "not-3d")
    first = slices[0]
    offsets = np.stack([part.position - first.position for part in slices])
    along, shifts = offsets @ first.normal, offsets @ first.axes.T
    steps = np.diff(along)
    _refuse_missing(steps, folder)
    mean, median = float(along[-1] / len(steps)), float(np.median(steps))
    off_grid = np.abs(along - mean * np.arange(len(along))).max()
    irregular = bool(off_grid > _REGULAR_SHARE * mean + _REGULAR_MM)
    if irregular and np.abs(steps - median).max() > _MILD_SHARE * median:
        raise UserError(
            f"{folder} has irregular distances between slices: {steps.min():.4g} to {steps.max():.4g} mm, "
            f"median {median:.4g} mm.",
            "Give a reconstruction with equal distances, or resample it in 3D Slicer "
            "(DICOM module, 'acquisition geometry regularization').",
            "dicom-irregular-spacing",
        )
    sheared = bool((np.abs(shifts) / np.array(first.spacing)).max() > _IN_LINE_PIXELS)
    notes, codes = [], []
    if sheared:
        angle = np.degrees(np.arctan2(np.linalg.norm(shifts[-1]), along[-1]))
        notes.append(
            f"slices are not stacked at right angles (gantry tilt {angle:.3g} degrees); they were shifted back "
            "onto a right-angled grid, and results lie on that grid."
        )
        codes.append("gantry-tilt")
    if irregular:
        notes.append(
            f"distances between slices vary ({steps.min():.4g} to {steps.max():.4g} mm); slices were interpolated "
            f"every {mean:.4g} mm, and results lie on that grid."
        )
        codes.append("irregular-spacing")
    note_code = codes[0] if codes else ""
    return Stack(slices, along, shifts, mean, sheared, irregular, " Also, ".join(notes), note_code)


def _refuse_missing(steps: NDArray[np.float64], folder: Path) -> None:
    """Gaps of two, three, ... times the usual distance are missing slices."""
    ratios = steps / steps.min()
    whole = np.rint(ratios)
    if whole.max() < 2 or np.abs(ratios - whole).max() > 0.1:
        return
    gaps = [(index + 1, int(whole[index]) - 1) for index in np.flatnonzero(whole > 1)]
    listed = ", ".join(f"{count} after slice {after}" for after, count in gaps[:5])
    more = f" and at {len(gaps) - 5} more places" if len(gaps) > 5 else ""
    raise UserError(
        f"{folder} lacks slices: {listed}{more} (counted along their normal; {len(steps) + 1} are present).",
        "Copy the series again completely; files that cannot be read count as missing.",
        "dicom-missing-slices",
    )


def shift_slices(array: NDArray, shifts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Shift each slice `array[:, :, k]` by `shifts[k]` pixels (all >= 0) with linear interpolation.

    Returns:
        Float32 `(i + most, j + most, k)`; places without a pixel have the lowest value of `array`.
    """
    growth = np.ceil(shifts.max(axis=0) - 1e-6).astype(int)
    lowest = np.float32(array.min())
    shifted = np.full((array.shape[0] + growth[0], array.shape[1] + growth[1], array.shape[2]), lowest, np.float32)
    for k in range(array.shape[2]):
        plane = array[:, :, k].astype(np.float32)
        for axis in (0, 1):
            plane = _shift_axis(plane, float(shifts[k, axis]), shifted.shape[axis], axis, lowest)
        shifted[:, :, k] = plane
    return shifted


def _shift_axis(plane: NDArray, shift: float, length: int, axis: int, fill: np.float32) -> NDArray:
    source = np.moveaxis(plane, axis, 0)
    target = np.arange(length) - shift
    below = np.floor(target + 1e-6).astype(int)
    share = np.clip(target - below, 0, 1).astype(np.float32)[:, np.newaxis]
    inside = np.pad(source, ((1, 1), (0, 0)), constant_values=fill)
    lower = inside[np.clip(below + 1, 0, len(inside) - 1)]
    upper = inside[np.clip(below + 2, 0, len(inside) - 1)]
    return np.moveaxis(lower * (1 - share) + upper * share, 0, axis)


def _interpolate_slices(array: NDArray, along: NDArray[np.float64], distance: float) -> NDArray[np.float32]:
    """Slices at 0, distance, 2 distance, ... by linear interpolation between the two neighbours."""
    wanted = np.clip(distance * np.arange(len(along)), along[0], along[-1])
    below = np.clip(np.searchsorted(along, wanted, side="right") - 1, 0, len(along) - 2)
    share = ((wanted - along[below]) / (along[below + 1] - along[below])).astype(np.float32)
    return array[:, :, below].astype(np.float32) * (1 - share) + array[:, :, below + 1].astype(np.float32) * share
