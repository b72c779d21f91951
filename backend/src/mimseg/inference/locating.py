"""A model for a small structure in a large scan: lay boxes where another model finds what it is part of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.description import Description
from mimseg.bundle.locator import Locator, Place
from mimseg.data.orientation import turn_to
from mimseg.data.preprocessing import label_type
from mimseg.data.regions import Box
from mimseg.data.volume import Grid, Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.inference.known_volumes import SHARE_OF_VOLUME, finds_nothing_known, known_volumes
from mimseg.inference.pipeline import segment_volume
from mimseg.inference.sliding_window import Predict

# A scan this many times longer than those a model was trained on shows anatomy that the model never saw.
TOO_LARGE = 1.75
# Less than this of a structure (mL) is taken for a mistake of the locator.
LEAST_ML = 0.1
# The middle of a structure lies halfway between these percentiles of its voxels: a few stray ones do not move it.
_PERCENTILES = (5, 95)
FINDING = "find the region"


class Region(Protocol):
    """What a box is laid for: the description of a model, or what will become one."""

    @property
    def name(self) -> str:
        """Of the model."""

    @property
    def field_of_view_mm(self) -> tuple[float, float, float] | None:
        """Edges of the box along R, A, S."""


@dataclass(frozen=True)
class Middle:
    """The middle of what a box is laid around.

    Attributes:
        place: What was looked for.
        number: Of the place in the locator, from 0.
        index: In the scan's voxels, continuous `(3,)`.
    """

    place: Place
    number: int
    index: NDArray[np.float64]


@dataclass(frozen=True)
class Located:
    """A box in a scan.

    Attributes:
        place: What it was laid for.
        number: Of the place in the locator, from 0.
        box: In the scan's voxels.
    """

    place: Place
    number: int
    box: Box


def is_larger_than_trained(grid: Grid, description: Region) -> bool:
    """Whether a scan is so much longer than those the model was trained on that a locator has to find its region."""
    usual = description.field_of_view_mm
    extent = sorted(n * s for n, s in zip(grid.size, grid.spacing, strict=True))
    return usual is not None and any(
        have > TOO_LARGE * trained for have, trained in zip(extent, sorted(usual), strict=True)
    )


def locate(
    volume: Volume,
    description: Description,
    locator: Locator,
    locating: Description,
    predict: Predict,
    reporter: Reporter | None = None,
) -> list[Located]:
    """Boxes of the size that a model was trained on, around what another model finds.

    Args:
        volume: `(i, j, k)` or `(C, i, j, k)`; of several channels the first is looked at.
        description: Of the model for the boxes.
        locator: Of that model.
        locating: Of the model that looks at the whole scan.
        predict: Its engine.
        reporter: Receives the progress, and is warned of places that are not found.

    Raises:
        UserError: None is found, or nothing of what the locator knows; or it has no such structure.
        OutOfMemory: Memory ran out.
        Stopped: The user asked to stop.
    """
    reporter = reporter or Reporter()
    found = find_middles(volume, description.name, locator, locating, predict, reporter)
    missing = [
        " and ".join(place.structures)
        for number, place in enumerate(locator.places)
        if all(each.number != number for each in found)
    ]
    if not found:
        raise UserError(
            f"No region for {description.name} was found: the model {locating.name} finds no {', no '.join(missing)} "
            "in this scan, so nothing was segmented.",
            "Check that the scan shows the right part of the body, or draw a box around the structure.",
            "nothing-located",
        )
    for what in missing:
        reporter.warning("not-located", f"The model {locating.name} finds no {what}: that side is not segmented.")
    return [box_around(middle, description, volume.grid) for middle in found]


def find_middles(
    volume: Volume, name: str, locator: Locator, locating: Description, predict: Predict, reporter: Reporter
) -> list[Middle]:
    """Middles of those places of a locator that are found.

    Args:
        volume: As for `locate`.
        name: Of the model that the locator is for.
        locator: Of that model.
        locating: Of the model that looks at the whole scan.
        predict: Its engine.
        reporter: Receives the progress.

    Raises:
        UserError: That model has no such structure.
        OutOfMemory, Stopped: As for `segment_volume`.
    """
    names = [label.name for label in locating.labels]
    wanted = [structure for place in locator.places for structure in place.structures]
    unknown = [structure for structure in wanted if structure not in names]
    if unknown:
        raise UserError(
            f"The model {locating.name} has no structure {unknown[0]!r}, by which {name} finds its region.",
            "Get both models in versions that go together, or draw a box.",
            "bad-locator",
        )
    first = volume if volume.array.ndim == 3 else Volume(volume.array[0], volume.grid)
    classes = segment_volume(first, locating, predict, reporter=reporter, phase=FINDING)
    if finds_nothing_known(classes, locating, volume.grid):
        return []
    known, found = known_volumes(locating), []
    for number, place in enumerate(locator.places):
        members = [names.index(structure) + 1 for structure in place.structures]
        enough = max(LEAST_ML, SHARE_OF_VOLUME * sum(known.get(member, (0.0,))[0] for member in members))
        voxels = np.argwhere(np.isin(classes, members))
        if len(voxels) * float(np.prod(volume.grid.spacing)) / 1000 >= enough:
            found.append(Middle(place, number, middle_of(voxels)))
    return found


def segment_located(
    volume: Volume,
    description: Description,
    predict: Predict,
    located: Sequence[Located],
    overlap: float | None = None,
    reporter: Reporter | None = None,
    bits: NDArray[np.uint8] | None = None,
) -> NDArray[np.integer]:
    """Class indices `(i, j, k)` of all boxes: structure k of place p has class `p * len(labels) + k`, k from 1.

    Args:
        volume: The scan.
        description: Of the model for the boxes.
        predict: Its engine.
        located: The boxes; where they overlap, an earlier box's structures stay.
        overlap: As for `segment_volume`.
        reporter: As for `segment_volume`.
        bits: As for `segment_volume`, with a bit for each structure of each place.

    Raises:
        OutOfMemory, Stopped: As for `segment_volume`.
    """
    count = len(description.labels)
    largest = max(each.number for each in located)
    labels = np.zeros(volume.grid.size, label_type((largest + 1) * count + 1))
    for each in located:
        phase = f"segment {each.place.side}".rstrip()
        part = cut(volume, each)
        own = None if bits is None else np.zeros((-(-count // 8), *part.grid.size), np.uint8)
        found = segment_volume(part, description, predict, (), overlap, reporter, phase, own).astype(labels.dtype)
        found = uncut(found, volume.grid, each)
        found[found > 0] += each.number * count
        inside = labels[each.box.slices]
        if bits is not None and own is not None:
            free = inside == 0
            for structure in range(count):
                noted = uncut(own[structure // 8] >> np.uint8(structure % 8) & np.uint8(1), volume.grid, each)
                number = each.number * count + structure
                bits[number // 8][each.box.slices] |= (noted * free) << np.uint8(number % 8)
        np.copyto(inside, found, where=inside == 0)
    return labels


def cut(volume: Volume, located: Located) -> Volume:
    """The part of a scan or labelmap in a box, as the model wants to see it: mirrored if the place says so."""
    x, y, z = located.box.slices
    array = volume.array[..., x, y, z]
    if located.place.mirrored:
        array = np.flip(array, array.ndim - 3 + left_right_axis(volume.grid))
    corner = volume.grid.to_point(np.asarray([located.box.start], float))[0].tolist()
    grid = Grid(located.box.size, volume.grid.spacing, (corner[0], corner[1], corner[2]), volume.grid.direction)
    return Volume(np.ascontiguousarray(array), grid)


def uncut(part: NDArray, grid: Grid, located: Located) -> NDArray:
    """What was found in a cut-out part `(i, j, k)`, turned back to how the scan has it."""
    return np.flip(part, left_right_axis(grid)).copy() if located.place.mirrored else part


def left_right_axis(grid: Grid) -> int:
    """The axis of the voxels that runs nearest to left and right."""
    return turn_to("RAS", grid).source_axes[0]


def middle_of(voxels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Middle of some voxels `(N, 3)`, as a continuous index."""
    return np.percentile(voxels, _PERCENTILES, axis=0).mean(axis=0)


def box_around(middle: Middle, description: Region, grid: Grid) -> Located:
    """The box of the model's field of view with this middle, in whole voxels inside the scan."""
    if description.field_of_view_mm is None:
        raise UserError(
            f"The model {description.name} does not say how large its region is.", "Draw a box.", "bad-locator"
        )
    axes = turn_to("RAS", grid).source_axes  # of the voxels, nearest to R, A, S
    start, stop = [], []
    for axis in range(3):
        half = description.field_of_view_mm[axes.index(axis)] / grid.spacing[axis] / 2
        low = int(np.clip(round(float(middle.index[axis]) - half + 0.5), 0, grid.size[axis] - 1))
        high = int(np.clip(round(float(middle.index[axis]) + half + 0.5), low + 1, grid.size[axis]))
        start.append(low)
        stop.append(high)
    box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    return Located(middle.place, middle.number, box)
