"""A picture to judge a segmentation at a glance: three planes with the structures in their colours.

Radiological convention: the patient's right is on the left of the axial and coronal picture; the sagittal
picture looks from the patient's left, front to the left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels.structures import Label
from mimseg.data.orientation import turn_to
from mimseg.data.regions import Box, bounding_box
from mimseg.data.volume import Grid

# Turned to LPS, an array's first axis runs to the left of the patient, the second to the back, the third upwards.
_ORIENTATION = "LPS"
# Plane: (axis cut through, axis that runs down the picture, whether it runs against its index, axis to the right).
_PLANES = ((2, 1, False, 0), (1, 2, True, 0), (0, 2, True, 1))
_TILE = 360
_GAP = 6
_FILL = 0.35


def draw_preview(
    image: NDArray,
    labels: NDArray[np.integer],
    grid: Grid,
    table: Sequence[Label],
    display_range: tuple[float, float] | None = None,
) -> NDArray[np.uint8]:
    """Axial, coronal and sagittal plane side by side, each where it cuts most of the segmentation.

    Where the structures fill less than half of the volume's extent, a second row shows them enlarged.

    Args:
        image: `(i, j, k)`, one channel.
        labels: `(i, j, k)`, 0 for background.
        grid: Of both.
        table: Colour of each label value.
        display_range: Image values shown as black and white; None takes the 1st and 99.5th percentile.

    Returns:
        `(rows, columns, 3)`, red, green, blue.
    """
    turn = turn_to(_ORIENTATION, grid)
    image, labels = turn.apply(image), turn.apply(labels)
    spacing = turn.apply_to_grid(grid).spacing
    found = bounding_box(labels != 0)
    centre = _centre(labels, found)
    dark, bright = display_range or _display_range(image, centre)
    colors = np.zeros((int(labels.max(initial=0)) + 1, 3), np.float32)
    colors[1:] = 255
    for label in table:
        if label.value < len(colors):
            colors[label.value] = label.color
    views = [Box.whole(labels.shape)]
    if found is not None:
        near = _surroundings(found, labels.shape, spacing)
        if min(inner / outer for inner, outer in zip(near.size, labels.shape, strict=True)) < 0.6:
            views.append(near)
    rows = []
    for view in views:
        tiles = []
        for plane in _PLANES:
            grey, marked = (_cut(array, plane, centre, view) for array in (image, labels))
            grey = (grey.astype(np.float32) - dark) / max(bright - dark, 1e-6)
            tiles.append(_tile(np.clip(grey, 0, 1), marked, colors, (spacing[plane[1]], spacing[plane[3]])))
        rows.append(_joined(tiles, axis=1))
    return _joined(rows, axis=0)


def _centre(labels: NDArray, found: Box | None) -> tuple[int, int, int]:
    """Where to cut: the plane of each axis with most of the segmentation; the volume's middle if it is empty.

    Not the centre of mass: between the hippocampi of both sides it lies in the brain stem.
    """
    if found is None:
        x, y, z = (edge // 2 for edge in labels.shape)
        return x, y, z
    mask = labels[found.slices] != 0
    middle = []
    for axis in range(3):
        profile = mask.sum(axis=tuple(other for other in range(3) if other != axis))
        fullest = np.flatnonzero(profile == profile.max())
        middle.append(found.start[axis] + int(fullest[len(fullest) // 2]))
    return middle[0], middle[1], middle[2]


def _display_range(image: NDArray, centre: tuple[int, int, int]) -> tuple[float, float]:
    planes = [np.take(image, centre[axis], axis=axis).ravel() for axis in range(3)]
    dark, bright = np.percentile(np.concatenate(planes).astype(np.float32), (1, 99.5))
    return float(dark), float(bright)


def _surroundings(found: Box, size: Sequence[int], spacing: Sequence[float]) -> Box:
    """A box of about equal edges in mm around the structures, with as much again of their surroundings."""
    edge = 1.6 * max(n * s for n, s in zip(found.size, spacing, strict=True))
    bounds = []
    for start, stop, n, s in zip(found.start, found.stop, size, spacing, strict=True):
        half = max(2, round(edge / s / 2))
        middle = (start + stop) // 2
        bounds.append((max(0, middle - half), min(n, middle + half)))
    (a, b), (c, d), (e, f) = bounds
    return Box((a, c, e), (b, d, f))


def _cut(array: NDArray, plane: tuple[int, int, bool, int], centre: tuple[int, int, int], view: Box) -> NDArray:
    through, down, reverse, right = plane
    index: list[slice | int] = list(view.slices)
    index[through] = centre[through]
    cut = array[tuple(index)]
    if down > right:
        cut = cut.T
    return cut[::-1] if reverse else cut


def _tile(
    grey: NDArray[np.float32], labels: NDArray, colors: NDArray[np.float32], spacing: tuple[float, float]
) -> NDArray[np.uint8]:
    """A square picture of a plane `(down, right)` with square millimetres."""
    extent = [n * s for n, s in zip(grey.shape, spacing, strict=True)]
    scale = _TILE / max(extent)
    rows, columns = (max(1, round(length * scale)) for length in extent)
    down = (np.arange(rows) + 0.5) * grey.shape[0] / rows - 0.5
    right = (np.arange(columns) + 0.5) * grey.shape[1] / columns - 0.5
    shown = np.repeat(255 * _enlarged(grey, down, right)[..., None], 3, axis=2)
    near = [np.clip(np.rint(at), 0, n - 1).astype(int) for at, n in zip((down, right), grey.shape, strict=True)]
    marked = labels[np.ix_(*near)]
    inside = marked != 0
    strength = np.where(_outline(marked), 1.0, _FILL)[..., None] * inside[..., None]
    shown = shown * (1 - strength) + colors[marked] * strength
    tile = np.zeros((_TILE, _TILE, 3), np.uint8)
    top, left = (_TILE - rows) // 2, (_TILE - columns) // 2
    tile[top : top + rows, left : left + columns] = np.rint(shown).astype(np.uint8)
    return tile


def _enlarged(plane: NDArray[np.float32], down: NDArray, right: NDArray) -> NDArray[np.float32]:
    """Bilinear interpolation at positions `down` x `right`."""
    for axis, positions in ((0, down), (1, right)):
        positions = np.clip(positions, 0, plane.shape[axis] - 1)
        lower = np.floor(positions).astype(int)
        upper = np.minimum(lower + 1, plane.shape[axis] - 1)
        weight = (positions - lower).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight
        plane = plane.take(lower, axis=axis) * (1 - weight) + plane.take(upper, axis=axis) * weight
    return plane


def _outline(labels: NDArray) -> NDArray[np.bool_]:
    """Pixels with a neighbour of another label."""
    padded = np.pad(labels, 1, mode="edge")
    inner = (slice(1, -1), slice(1, -1))
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        for step in (-1, 1):
            edge |= np.roll(padded, step, axis)[inner] != labels
    return edge


def _joined(parts: Sequence[NDArray[np.uint8]], axis: int) -> NDArray[np.uint8]:
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    between = np.full(shape, 60, np.uint8)
    pieces = [piece for part in parts for piece in (between, part)][1:]
    return np.concatenate(pieces, axis=axis)
