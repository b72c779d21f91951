"""Cases, or only their labels, that lie mirrored or turned compared with the others.

Each case becomes a coarse cube in anatomical directions and is compared with the mean of the others in all 48
orientations. It is reported only if another orientation fits clearly better than its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.cases.low_resolution import ORIENTATIONS, Fit, coarse_image, fit_to_others, shrink, standardized
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding, Spot

FEWEST_CASES = 3
# Correlations of what is asymmetric: of a case that is reported, of the median case, of what supports a suspicion.
_CLEARLY, _AGREED, _HINT = 0.42, 0.3, 0.15
# A ball that lies a little aside is asymmetric too, but hardly fits better when mirrored.
_LABEL_GAIN = 0.2
_MOST_STRUCTURES = 16


@dataclass(frozen=True)
class Cubes:
    """Coarse cubes of one case, axes to the right, front and top, `SIDE` voxels an edge, flattened, float16.

    Attributes:
        image: The first channel.
        placed: Share of each cell that a structure fills, by label value, in the whole volume.
        shapes: The same in the box around all structures.
    """

    image: NDArray[np.float16]
    placed: dict[int, NDArray[np.float16]]
    shapes: dict[int, NDArray[np.float16]]


def measure(case: LoadedCase) -> Cubes:
    """The cubes of a case."""
    image = coarse_image(case.turn.apply(case.sample))
    placed, shapes = {}, {}
    largest = sorted(case.structures, key=lambda value: -case.structures[value].voxels)[:_MOST_STRUCTURES]
    if case.labels is not None and case.labelled_box is not None:
        main = _main_part(case.labels[case.labelled_box.slices])
        inside, whole = case.turn.apply(main), case.turn.apply(case.labels[case.step])
        for value in largest:
            placed[value] = _flat(whole == value)
            shapes[value] = _flat(inside == value)
    return Cubes(image.astype(np.float16), placed, shapes)


def find(measured: Mapping[str, Cubes], context: Context) -> list[Finding]:
    """See the module."""
    if len(measured) < FEWEST_CASES:
        return []
    images, labels = _image_fits(measured), _label_fits(measured)
    typical = max(images, key=lambda name: float(images[name].alike[0]))
    image_turns, label_turns = _clearly_turned(images, 0.0), _clearly_turned(labels, _LABEL_GAIN)
    findings = []
    for name, image in images.items():
        turn = image_turns.get(name, label_turns.get(name))
        if turn is None:
            continue
        label = labels.get(name)
        if name in image_turns:
            # Labels that do not tell either way, as of a ball, are taken to lie as the image does.
            contradicted = label is not None and label.own_side[turn] > _HINT
            code, fit = "image-flipped" if contradicted else "flipped", image
        else:
            code, fit = "flipped" if image.own_side[turn] < -_HINT else "label-flipped", labels[name]
        findings.append(_finding(name, code, fit, turn, typical))
    return findings


def _image_fits(measured: Mapping[str, Cubes]) -> dict[str, Fit]:
    """How well each image fits the others; arrays `(48,)`."""
    fit = fit_to_others(standardized(np.stack([cubes.image for cubes in measured.values()])))
    return {name: Fit(fit.alike[row], fit.own_side[row], fit.agreed[row]) for row, name in enumerate(measured)}


def _label_fits(measured: Mapping[str, Cubes]) -> dict[str, Fit]:
    """The same of labels: mean over structures that at least three cases have, of their place and shape alike."""
    collected: dict[str, list[NDArray[np.float32]]] = {name: [] for name in measured}
    for value in sorted({value for cubes in measured.values() for value in cubes.placed}):
        names = [name for name, cubes in measured.items() if value in cubes.placed]
        if len(names) < FEWEST_CASES:
            continue
        for kind in ("placed", "shapes"):
            fit = fit_to_others(standardized(np.stack([getattr(measured[name], kind)[value] for name in names])))
            for row, name in enumerate(names):
                collected[name].append(np.stack([fit.alike[row], fit.own_side[row], fit.agreed[row]]))
    means = {name: np.mean(fits, axis=0) for name, fits in collected.items() if fits}
    return {name: Fit(alike, own_side, agreed) for name, (alike, own_side, agreed) in means.items()}


def _clearly_turned(fits: Mapping[str, Fit], least_gain: float) -> dict[str, int]:
    """By case, the orientation that fits best of those that are clearly better than its own."""
    turns = {}
    for name, fit in fits.items():
        # Where the other cases do not agree which side is which, no case can be on the wrong one.
        gain = fit.alike - fit.alike[0]
        better = (fit.agreed >= _AGREED) & (fit.own_side <= -_CLEARLY) & (gain > least_gain)
        if better.any():
            turns[name] = int(np.argmax(np.where(better, fit.alike, -np.inf)))
    return turns


def _finding(name: str, code: str, fit: Fit, turn: int, typical: str) -> Finding:
    own, best = float(fit.alike[0]), float(fit.alike[turn])
    what = {
        "flipped": "The case looks",
        "image-flipped": "The image, but not its labels, looks",
        "label-flipped": "The labels, but not the image, look",
    }[code]
    text = (
        f"{what} {describe_turn(turn)} compared with the other cases "
        f"(resemblance {best:.2f} after turning it back, {own:.2f} as it is; 1 would be equal)."
    )
    if code == "flipped":
        remedy = (
            "Compare it with another case in a viewer. If the header is wrong, correct it; if it shows the other side "
            "of the body, that is no fault: then train with --flip-left-right or mirror it."
        )
    else:
        remedy = "Open image and labels together: one of them was stored with other axes. Correct it, or draw anew."
    evidence = {
        "resemblance": own,
        "resemblance_turned": best,
        "asymmetry": float(fit.own_side[turn]),
        "turn": describe_turn(turn),
    }
    spots = (Spot(name, "this case"), Spot(typical, "a usual case"))
    return Finding(name, "warning", code, text, remedy, evidence, spots)


def describe_turn(number: int) -> str:
    """An entry of `ORIENTATIONS` in words, axes being right, front and top."""
    axes, signs = ORIENTATIONS[number]
    pairs = ("left and right", "front and back", "top and bottom")
    flipped = [pair for pair, sign in zip(pairs, signs, strict=True) if sign < 0]
    if axes == (0, 1, 2):
        return f"mirrored ({flipped[0]} exchanged)" if len(flipped) == 1 else f"turned ({', '.join(flipped)} exchanged)"
    names = ("left-right", "front-back", "top-bottom")
    moved = [names[axis] for axis in range(3) if axes[axis] != axis]
    rest = f"; then {', '.join(flipped)} exchanged" if flipped else ""
    return f"turned (the {' and '.join(moved)} axes are permuted{rest})"


def _main_part(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """The labels of the largest connected part, cut to it: a stray voxel must not change the frame of the shape."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(labels != 0, np.uint8))
    numbered = sitk.GetArrayFromImage(sitk.ConnectedComponent(image, True))
    counts = np.bincount(numbered.ravel())
    counts[0] = 0
    # Parts of similar size belong to it (two kidneys).
    main = np.isin(numbered, np.flatnonzero(counts >= 0.2 * counts.max()))
    bounds = [np.flatnonzero(main.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    x, y, z = (slice(int(hits[0]), int(hits[-1]) + 1) for hits in bounds)
    return labels[x, y, z]


def _flat(mask: NDArray[np.bool_]) -> NDArray[np.float16]:
    return shrink(mask).astype(np.float16).ravel()
