"""With a locator, large cases are cut to the boxes that `segment` lays: the model learns from what it will see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.locations import find_bundle
from mimseg.bundle.locator import Locator, Place
from mimseg.bundle.reader import open_bundle
from mimseg.commands.finetune.found_before import find_again
from mimseg.commands.finetune.locator import SMALL_SHARE
from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.data.cases import Case
from mimseg.data.cases.images import read_images
from mimseg.data.labels.scheme import IGNORED, LabelScheme
from mimseg.data.labels.sides import side_of
from mimseg.data.labels.truth import read_truth
from mimseg.data.orientation import turn_to
from mimseg.data.regions import Box, bounding_box
from mimseg.data.volume import Grid
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.inference.engines import open_engine
from mimseg.inference.locating import (
    FINDING,
    Located,
    Middle,
    box_around,
    find_middles,
    is_larger_than_trained,
    middle_of,
)
from mimseg.stopping import check

# Where no case is cut already, a box is so many times longer than the structures reach from the middle that is found.
ROOM = 1.5
# A side with less of all labelled voxels has none of its own, only strays of the other one.
LEAST_OF_CASE = 0.05
# A box with less of its structures is around something else.
LEAST_INSIDE = 0.5
# Of two sides that are labelled, each lies off the middle of both by at least this share of their width.
OFF_MIDDLE = 0.2


@dataclass(frozen=True)
class _Region:
    """Of the model that will be trained, as `box_around` asks for it."""

    name: str
    field_of_view_mm: tuple[float, float, float]


@dataclass(frozen=True)
class _Scan:
    """A case: where it lies, the labelled voxels `(N, 3)`, and the share of it that a box around these takes."""

    case: Case
    grid: Grid
    voxels: NDArray[np.integer]
    share: float


@dataclass(frozen=True)
class _Part:
    """The labelled voxels `(N, 3)` of a scan at one place of the locator; `found` is False where it finds nothing."""

    middle: Middle
    voxels: NDArray[np.integer]
    found: bool


def lay_boxes(
    settings: FinetuneSettings, cases: Sequence[Case], scheme: LabelScheme, reporter: Reporter
) -> dict[str, tuple[Located, ...]]:
    """The boxes that `segment` will lay in large cases, by their identifiers; a case that stays whole has none.

    Large is what is much larger than the cases that show little else than the structures, or, where there are none of
    these, than the structures around what the locator finds. Where it finds nothing, or something else, the box is
    laid around the labels. A side on which nothing is labelled gets no box, nor does a case without labels or image.

    Args:
        settings: With the locator; without one there are no boxes.
        cases: All that train or validate.
        scheme: What their labels mean.
        reporter: Receives the progress, what was cut, and a warning of boxes that are around the labels.

    Raises:
        UserError: A case cannot be read, the locator is not usable, or structures have sides although its places do.
        OutOfMemory, Stopped: As for `segment_volume`.
    """
    locator = settings.locator
    if locator is None:
        return {}
    scans = _read(cases, scheme, reporter)
    crops = [_extent_mm(scan.grid) for scan in scans if scan.share >= SMALL_SHARE]
    large = [scan for scan in scans if 0 < scan.share < SMALL_SHARE]
    name = settings.name or settings.output.name
    region = None
    if crops:
        region = _Region(name, _three(np.median(crops, axis=0)))
        large = [scan for scan in large if is_larger_than_trained(scan.grid, region)]
    if large:
        _refuse_sides(locator, scheme)
    parts = _look(large, locator, name, settings.device, reporter)
    if region is None and parts:
        reaches = [_reach_mm(part, scan.grid) for scan, own in zip(large, parts, strict=True) for part in own]
        region = _Region(name, _three(2 * ROOM * np.median(reaches, axis=0)))
    if region is None:
        return {}
    kept = [
        (scan, own) for scan, own in zip(large, parts, strict=True) if own and is_larger_than_trained(scan.grid, region)
    ]
    if not kept:
        return {}
    return _boxes(kept, region, locator, reporter)


def _read(cases: Sequence[Case], scheme: LabelScheme, reporter: Reporter) -> list[_Scan]:
    scans = []
    for number, case in enumerate(cases):
        check()
        reporter.progress("measure cases", number, len(cases))
        if case.label is None or not case.images:
            continue
        grid = read_images(case).grid
        labels = read_truth(case.label, scheme, grid, None, case.orientation)
        classes = scheme.classes_of(labels.array, case.label)
        labelled = (classes > 0) & (classes != IGNORED)
        inside = bounding_box(labelled)
        share = 0.0 if inside is None else float(np.prod(inside.size) / np.prod(grid.size))
        voxels = np.argwhere(labelled).astype(np.int32) if share < SMALL_SHARE else np.zeros((0, 3), np.int32)
        scans.append(_Scan(case, grid, voxels, share))
    reporter.progress("measure cases", len(cases), len(cases))
    return scans


def _refuse_sides(locator: Locator, scheme: LabelScheme) -> None:
    sided = next((label.name for label in scheme.labels if side_of(label)), None)
    if sided is not None and len(locator.places) > 1:
        raise UserError(
            f"The structure {sided!r} has a side, but large cases are cut to boxes of one side each, and `segment` "
            "names the sides of what the model finds there.",
            'Give both sides one name in the file of --labels: {"value": 17, "name": "Hippocampus", "also": [53]}.',
            "sided-labels",
        )


def _look(
    scans: Sequence[_Scan], locator: Locator, name: str, device: str, reporter: Reporter
) -> list[tuple[_Part, ...]]:
    """What the locator finds in each scan, and what is labelled there."""
    if not scans:
        return []
    bundle = open_bundle(find_bundle(locator.model))
    predict = open_engine(bundle, "cpu" if device == "cpu" else "auto", reporter=reporter)
    parts = []
    for number, scan in enumerate(scans):
        check()
        reporter.progress(FINDING, number, len(scans))
        middles = find_again(
            read_images(scan.case), locator, bundle.identity,
            lambda volume: find_middles(volume, name, locator, bundle.description, predict, Reporter()),
        )  # fmt: skip
        parts.append(_parts(scan, middles, locator.places))
    reporter.progress(FINDING, len(scans), len(scans))
    return parts


def _parts(scan: _Scan, middles: Sequence[Middle], places: Sequence[Place]) -> tuple[_Part, ...]:
    numbers, parts = _places_of(scan, middles, places), []
    for number, place in enumerate(places):
        own = scan.voxels[numbers == number]
        if len(own) < LEAST_OF_CASE * len(scan.voxels):
            continue
        found = next((middle for middle in middles if middle.number == number), None)
        parts.append(_Part(found or Middle(place, number, middle_of(own)), own, found is not None))
    return tuple(parts)


def _places_of(scan: _Scan, middles: Sequence[Middle], places: Sequence[Place]) -> NDArray[np.integer]:
    """Number of the place that each labelled voxel belongs to, -1 for none.

    Of several places that are all found, the nearest one. Where one is found, and lies in the middle of all that is
    labelled, that one: the scan shows one side. Otherwise by the half of the scan, which one place of a side shares
    with none.
    """
    if len(middles) == len(places) > 1:
        spacing = np.asarray(scan.grid.spacing)
        apart = [np.linalg.norm((scan.voxels - middle.index) * spacing, axis=1) for middle in middles]
        return np.argmin(apart, axis=0)
    points = scan.grid.to_point(scan.voxels.astype(float))[:, 0]  # LPS: left is positive
    if len(middles) == 1 and len(places) > 1:
        found = scan.grid.to_point(middles[0].index[None])[0, 0]
        low, high = np.percentile(points, (1, 99))
        if abs(found - (low + high) / 2) < OFF_MIDDLE * (high - low):
            return np.full(len(points), middles[0].number)
    numbers = {place.side: number for number, place in enumerate(places)}
    left, right = (numbers.get(side, numbers.get("", -1)) for side in ("left", "right"))
    half = scan.grid.to_point((np.asarray([scan.grid.size], float) - 1) / 2)[0, 0]
    return np.where(points > half, left, right)


def _boxes(
    scans: Sequence[tuple[_Scan, Sequence[_Part]]], region: _Region, locator: Locator, reporter: Reporter
) -> dict[str, tuple[Located, ...]]:
    boxes: dict[str, tuple[Located, ...]] = {}
    by_labels: list[str] = []
    outside = count = 0
    for scan, parts in scans:
        own = []
        for part in parts:
            located = box_around(part.middle, region, scan.grid)
            inside = _inside(part.voxels, located.box)
            if not part.found or inside < LEAST_INSIDE * len(part.voxels):
                middle = Middle(part.middle.place, part.middle.number, middle_of(part.voxels))
                located = box_around(middle, region, scan.grid)
                inside = _inside(part.voxels, located.box)
                by_labels.append(scan.case.identifier)
            outside, count = outside + len(part.voxels) - inside, count + len(part.voxels)
            own.append(located)
        boxes[scan.case.identifier] = tuple(own)
    total = sum(map(len, boxes.values()))
    edges = " × ".join(f"{edge:.0f}" for edge in region.field_of_view_mm)
    reporter.info(
        f"{len(boxes)} large cases are cut to {total} boxes of {edges} mm, as `segment` does by the model "
        f"{locator.model}: left and right apart, sides without labels left out. {outside / count:.1%} of the labelled "
        "voxels lie outside of them."
    )
    if by_labels:
        reporter.warning(
            "boxes-from-labels",
            f"In {len(by_labels)} of {total} boxes the model {locator.model} does not find what is labelled "
            f"({', '.join(dict.fromkeys(by_labels[:5]))}): they were laid around the labels. In such scans the new "
            "model will not find its region.",
        )
    return boxes


def _inside(voxels: NDArray[np.integer], box: Box) -> int:
    """How many voxels lie in a box."""
    return int(((voxels >= box.start) & (voxels < box.stop)).all(axis=1).sum())


def _extent_mm(grid: Grid) -> NDArray[np.float64]:
    """Edges of a scan along R, A, S."""
    return _along_anatomy(np.asarray(grid.size) * np.asarray(grid.spacing), grid)


def _reach_mm(part: _Part, grid: Grid) -> NDArray[np.float64]:
    """How far the labelled voxels reach from the middle, along R, A, S."""
    return _along_anatomy((abs(part.voxels - part.middle.index).max(axis=0) + 0.5) * np.asarray(grid.spacing), grid)


def _along_anatomy(values: NDArray[np.floating], grid: Grid) -> NDArray[np.float64]:
    """Values of the voxel axes in the order of the anatomical axes nearest to them."""
    return np.asarray(values, float)[list(turn_to("RAS", grid).source_axes)]


def _three(values: NDArray[np.floating]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
