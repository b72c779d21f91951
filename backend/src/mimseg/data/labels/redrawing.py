"""Reading a segmentation with all that it says of itself, to be written again in another format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels.drawn import Drawn, Overlapping
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.labels.meetings import Sets, number_sets
from mimseg.data.labels.seg_nrrd import Segment
from mimseg.data.labels.structures import Label, distinct_color
from mimseg.data.volume import Grid, Volume
from mimseg.events import Reporter


def read_drawn(path: Path, like: Grid | None = None, reporter: Reporter | None = None, orientation: str = "") -> Drawn:
    """Read labels with names, colours, codes, and what drew them, as far as the file says it.

    Args:
        path: As for `read_labelmap`.
        like: The grid it has to lie on, which the result lies on then; None takes the file's own.
        reporter: As for `read_labelmap`.
        orientation: As for `read_labelmap`.

    Returns:
        Of segments that overlap, `labels` holds the last one.

    Raises:
        UserError: As for `read_labelmap`; also where some labels lie beyond `like`, for they would be missing in the
            new file.
    """
    segments: list[Segment] = []
    sets: Sets = []

    def by_sets(layers: NDArray, found: Sequence[Segment]) -> NDArray:
        segments.extend(found)
        drawn = [each for each in found if 0 <= each.layer < len(layers)]
        masks = ((each.value, layers[each.layer] == each.label_value) for each in drawn)
        numbers, met = number_sets(masks, layers.shape[1:])
        sets.extend(met)
        return numbers

    volume = read_labelmap(path, like, reporter, orientation, by_sets, whole=True)
    if not segments:
        return Drawn(volume.array, volume.grid)
    rank = {segment.value: number for number, segment in enumerate(segments)}
    last = [max(one, key=rank.__getitem__, default=0) for one in sets]
    return Drawn(
        np.array(last, np.uint16)[volume.array],
        volume.grid,
        tuple(_label(segment, number) for number, segment in enumerate(segments)),
        overlapping=_overlapping(volume, sets, list(rank)) if any(len(one) > 1 for one in sets) else None,
        algorithms={segment.value: segment.algorithm for segment in segments if segment.algorithm},
    )


def _label(segment: Segment, number: int) -> Label:
    codes = {"category": segment.category} if segment.category else {}
    color = segment.color or distinct_color(number)
    return Label(segment.value, segment.name, color, type=segment.type, modifier=segment.modifier, **codes)


def _overlapping(volume: Volume, sets: Sets, values: list[int]) -> Overlapping:
    bits = np.zeros((-(-len(values) // 8), *volume.grid.size), np.uint8)
    for number, value in enumerate(values):
        table = np.array([value in one for one in sets], np.uint8) << np.uint8(number % 8)
        bits[number // 8] |= table[volume.array]
    return Overlapping(bits, tuple(values))
