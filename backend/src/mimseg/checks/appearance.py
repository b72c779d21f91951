"""Labels where the volume looks quite different than under the labels of the other cases, or outside of the body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.comparison import unusual_cases
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding, Spot
from mimseg.data.regions import Box

# Brightness is the share of the surroundings that is darker, 0..1: at least 0.35 apart.
_LEAST_SPREAD, _TIMES = 0.05, 7.0
_FEWEST_VOXELS = 8
# A face of the volume counts as air if so much of all faces is of one, the lowest, brightness.
_AIR_SHARE = 0.3
_OUTSIDE_ERROR, _OUTSIDE_WARNING = 0.5, 0.15


@dataclass(frozen=True)
class Appearance:
    """Of one case.

    Attributes:
        brightness: By label value, share of the voxels in and around all labels that are darker than the median
            under this one; independent of scanner, scale and field of view.
        outside: By label value, share of its voxels in the air around the body.
        boxes: By label value, where it lies.
    """

    brightness: dict[int, float]
    outside: dict[int, float]
    boxes: dict[int, Box]


def measure(case: LoadedCase) -> Appearance | None:
    """Look at the voxels under and around the labels; None if nothing is labelled."""
    if case.labels is None or case.labelled_box is None:
        return None
    brightness = {}
    around = _widened(case.labelled_box, case.volume.grid.size)
    step = tuple(slice(None, None, max(1, edge // 96)) for edge in around.size)
    image = np.asarray(case.volume.array[0][around.slices][step], np.float32)
    labels = case.labels[around.slices][step]
    air = air_around(case.sample)
    # Air would be most of the surroundings of what lies near the skin.
    tissue = image if air is None else image[image > case.sample[air].max()]
    for value in case.structures:
        inside = image[labels == value]
        if inside.size >= _FEWEST_VOXELS:
            middle = np.median(inside)
            darker = ((tissue < middle).mean() + (tissue <= middle).mean()) / 2 if tissue.size else 0.5
            brightness[value] = float(darker)
    boxes = {value: structure.box for value, structure in case.structures.items()}
    return Appearance(brightness, _outside(case, air), boxes)


def find(measured: Mapping[str, Appearance | None], context: Context) -> list[Finding]:
    """See the module."""
    known = {name: found for name, found in measured.items() if found is not None}
    findings = []
    for value in sorted({value for found in known.values() for value in found.boxes}):
        outside = {name: found.outside[value] for name, found in known.items() if value in found.outside}
        usual = float(np.median(list(outside.values()))) if len(outside) > 2 else 0.0
        gone = {n for n, share in outside.items() if share >= _OUTSIDE_WARNING and share > 3 * usual}
        findings += [_outside_body(name, value, known[name], context) for name in sorted(gone)]
        brightness = {name: found.brightness[value] for name, found in known.items() if value in found.brightness}
        for name, unusual in unusual_cases(brightness, _LEAST_SPREAD, _TIMES).items():
            if name in gone:
                continue
            text = (
                f"Under the structure {context.name(value)} the volume is brighter than {unusual.value:.0%} of the "
                f"surroundings; in the other cases than {unusual.usual:.0%}."
            )
            remedy = "Check that label and image belong together and that the structure lies where it should."
            evidence = {"value": value, "brightness": unusual.value, "usual": unusual.usual}
            spots = (Spot(name, "where it lies", known[name].boxes[value]), Spot(name, "all labels"))
            findings.append(Finding(name, "warning", "label-intensity", text, remedy, evidence, spots))
    return findings


def _outside_body(name: str, value: int, found: Appearance, context: Context) -> Finding:
    share = found.outside[value]
    text = f"{share:.0%} of the structure {context.name(value)} lies in the air outside of the body."
    remedy = "The label is shifted or of another scan, or the body was cut off: check that they belong together."
    evidence = {"value": value, "share_outside": share}
    severity = "error" if share >= _OUTSIDE_ERROR else "warning"
    return Finding(name, severity, "label-outside-body", text, remedy, evidence, (Spot(name, "image and labels"),))


def _outside(case: LoadedCase, air: NDArray[np.bool_] | None) -> dict[int, float]:
    """Share of each structure in the air around the body; empty if no air is to be seen."""
    labels = case.label_sample
    if labels is None or air is None:
        return {}
    values, all_counts = np.unique(labels, return_counts=True)
    outside_values, outside_counts = np.unique(labels[air], return_counts=True)
    outside = dict(zip(outside_values.tolist(), outside_counts.tolist(), strict=True))
    shares = zip(values.tolist(), all_counts.tolist(), strict=True)
    return {value: outside.get(value, 0) / count for value, count in shares if value and count >= _FEWEST_VOXELS}


def air_around(image: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Air around the body in `image` `(i, j, k)`: background that is connected to the border of the scan; None if there
    is hardly any.

    Background is what is darker than a tenth of the way from the darkest to the bright (95th percentile) voxels. Lungs
    that the first or last slice cuts are no air around the body, nor is gas that a thin wall separates from either: air
    begins where background reaches the rim of a face, and does not pass gaps of one or two voxels.
    """
    # Padding far below air (-3024 HU) would make air look bright.
    darkest, bright = np.percentile(image, (0.5, 95))
    if bright <= darkest:
        return None
    dark = image <= darkest + 0.1 * (bright - darkest)
    faces = np.concatenate([dark.take(end, axis=axis).ravel() for axis in range(3) for end in (0, -1)])
    if faces.mean() < _AIR_SHARE:
        return None
    padded = sitk.GetImageFromArray(np.pad(dark, 1, constant_values=True).astype(np.uint8))
    wide = sitk.GetArrayFromImage(sitk.BinaryErode(padded, [1] * 3))[1:-1, 1:-1, 1:-1]
    numbered = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(wide), False))
    begun = np.unique(numbered[_at_rims(dark) & (wide > 0)])
    air = sitk.GetImageFromArray(np.isin(numbered, begun[begun > 0]).astype(np.uint8))
    return dark & (sitk.GetArrayFromImage(sitk.BinaryDilate(air, [1] * 3)) > 0)


def _at_rims(dark: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of the faces of `dark` whose part of the background reaches the rim of that face."""
    found = np.zeros_like(dark)
    for axis in range(3):
        for end in (0, -1):
            face = np.ascontiguousarray(dark.take(end, axis=axis)).astype(np.uint8)
            numbered = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(face), False))
            rim = np.unique(np.concatenate([numbered[0], numbered[-1], numbered[:, 0], numbered[:, -1]]))
            index = [slice(None)] * 3
            index[axis] = slice(end, None) if end else slice(0, 1)
            found[tuple(index)] |= np.expand_dims(np.isin(numbered, rim[rim > 0]), axis)
    return found


def _widened(box: Box, size: tuple[int, int, int]) -> Box:
    """With a quarter of its edge on each side, inside an array of `size`."""
    start, stop = [], []
    for low, high, edge in zip(box.start, box.stop, size, strict=True):
        margin = max(2, (high - low) // 4)
        start.append(max(0, low - margin))
        stop.append(min(edge, high + margin))
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
