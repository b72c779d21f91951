"""From a labelmap file's voxels to what images are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mimseg.data.intensity import Intensity
from mimseg.data.labels.grid import label_on_grid
from mimseg.data.volume import Grid, Volume
from mimseg.errors import UserError
from mimseg.training.synthesis.contrasts import Contrast
from mimseg.training.synthesis.drawing import LabelSource

MOST_VALUES = 256


def label_source(
    labelmap: Volume,
    grid: Grid,
    values: Sequence[int],
    merged: Mapping[int, int],
    intensity: Intensity,
    partners: Mapping[int, int],
    contrasts: Sequence[Contrast],
    stripped: Sequence[int],
    path: Path,
) -> tuple[LabelSource, np.ndarray]:
    """What images of a labelmap are drawn from.

    Args:
        labelmap: As it was read.
        grid: The working grid; its axes are those of the labelmap, permuted, flipped or scaled.
        values: Label value of class 1, 2, ...
        merged: Label value that a further value of the labelmap belongs to.
        intensity: How the model scales its input.
        partners: The right-hand value of a left-hand one.
        contrasts: Kinds of scans to imitate.
        stripped: Values that skull-stripping may take away.
        path: For messages.

    Returns:
        The source, and its indices `(i, j, k)` on the labelmap's own grid.

    Raises:
        UserError: There are too many different values.
    """
    found = [0, *(int(value) for value in np.unique(labelmap.array) if value)]
    if len(found) > MOST_VALUES:
        raise UserError(
            f"{path} has {len(found)} different values; images can be drawn from up to {MOST_VALUES}.",
            "Merge some of them.",
            code="too-many-values",
        )
    table = np.zeros(found[-1] + 1, np.uint8)
    table[found] = np.arange(len(found))
    indices = table[labelmap.array]
    class_of = {value: number for number, value in enumerate(values, start=1)}
    classes = tuple(class_of.get(merged.get(value, value), 0) for value in found)
    factor = 2 if min(labelmap.grid.spacing) <= 0.75 * min(grid.spacing) else 1
    fine = label_on_grid(Volume(indices, labelmap.grid), finer(grid, factor))
    source = LabelSource(
        torch.from_numpy(fine),
        factor,
        grid.spacing,
        tuple(found),
        classes,
        torch.from_numpy(np.asarray(classes, np.uint8)[fine]),
        partners,
        contrasts,
        stripped,
        intensity,
    )
    return source, indices


def finer(grid: Grid, factor: int) -> Grid:
    """The same space with voxels of a `factor`-th of the edge."""
    first = np.full((1, 3), (1 / factor - 1) / 2)
    x, y, z = grid.to_point(first)[0].tolist()
    i, j, k = (size * factor for size in grid.size)
    a, b, c = (edge / factor for edge in grid.spacing)
    return Grid((i, j, k), (a, b, c), (x, y, z), grid.direction)
