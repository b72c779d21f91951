"""From a scan to what a network sees, and from the network's probabilities back to the scan.

One order for every model: turn the axes, crop, resample, scale the intensities. `restore` inverts the first three
on probabilities, not on labels, so that outlines stay smooth when the working grid is coarser than the scan.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mimseg.data.intensity import Intensity
from mimseg.data.labels.blocks import inside_structures, most_probable
from mimseg.data.orientation import AxisTurn, check_orientation, turn_to
from mimseg.data.regions import Box, bounding_box
from mimseg.data.resampling import AxisWeights, axis_parts, axis_weights, resample, resample_plane, resampled_size
from mimseg.data.volume import Grid, Volume
from mimseg.errors import UserError

# Spacings nearer than this (mm) are the same; MONAI's AFFINE_TOL.
SPACING_TOLERANCE = 1e-3
# Working voxels along the edge of a block that is labelled at once: its classes should fit into the processor's cache.
BLOCK = 16


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its input, stored with the model.

    Attributes:
        orientation: Anatomical directions of the array axes, e.g. RAS.
        spacing: Working spacing in mm along the turned axes, or None to keep the scan's own.
        intensity: How voxel values are scaled.
        crop_foreground: Cut away planes without foreground before resampling.
    """

    orientation: str = "RAS"
    spacing: tuple[float, float, float] | None = None
    intensity: Intensity = field(default_factory=Intensity)
    crop_foreground: bool = False

    def __post_init__(self) -> None:
        check_orientation(self.orientation)
        if self.crop_foreground and self.intensity.kind == "robust":
            raise UserError(
                "Scans whose intensities are scaled by `robust` cannot be cropped to their foreground.",
                'Set "crop_foreground" to false.',
                code="bad-preprocessing",
            )
        if self.spacing is not None and (len(self.spacing) != 3 or not all(0 < edge < 1e3 for edge in self.spacing)):
            raise UserError(
                f"The working spacing {self.spacing} is not usable.",
                "Give three positive numbers in mm.",
                code="bad-preprocessing",
            )

    def to_json(self) -> dict[str, object]:
        """Plain dictionary, as stored in `segmentation.json`."""
        return {
            "orientation": self.orientation,
            "spacing": None if self.spacing is None else list(self.spacing),
            "intensity": self.intensity.to_json(),
            "crop_foreground": self.crop_foreground,
        }

    @classmethod
    def from_json(cls, values: object) -> Preprocessing:
        """The settings that `to_json` wrote.

        Raises:
            UserError: An entry is missing, unknown or not usable.
        """
        known = {"orientation", "spacing", "intensity", "crop_foreground"}
        if not isinstance(values, dict) or set(values) != known:
            raise UserError(
                f"The preprocessing must be an object with exactly the entries {', '.join(sorted(known))}.",
                "The model is damaged or was made by another version of mimseg.",
                code="bad-preprocessing",
            )
        spacing, orientation, crop = values["spacing"], values["orientation"], values["crop_foreground"]
        try:
            spacing = None if spacing is None else tuple(float(edge) for edge in spacing)
        except (TypeError, ValueError) as fault:
            raise UserError(f"The working spacing {spacing!r} is not usable.", code="bad-preprocessing") from fault
        if not isinstance(orientation, str) or not isinstance(crop, bool):
            raise UserError("The preprocessing has entries of a wrong type.", code="bad-preprocessing")
        return cls(orientation, spacing, Intensity.from_json(values["intensity"]), crop)


@dataclass(frozen=True)
class Prepared:
    """A preprocessed scan.

    Attributes:
        array: Float32 `(C, x, y, z)`, contiguous.
        grid: Where the voxels of `array` lie.
        source_grid: Grid of the scan as it was read.
        region: The part of the scan that `array` covers, as indices of the source array.
        foreground: Bool `(x, y, z)`: voxels that are not mere background, or None if all may matter.
        turn: How source axes became the axes of `array`.
    """

    array: NDArray[np.float32]
    grid: Grid
    source_grid: Grid
    region: Box
    foreground: NDArray[np.bool_] | None
    turn: AxisTurn


def prepare(volume: Volume, preprocessing: Preprocessing, region: Box | None = None) -> Prepared:
    """Preprocess a scan.

    Args:
        volume: `(i, j, k)` or `(C, i, j, k)`, finite values.
        preprocessing: As stored in the model.
        region: Use only these voxels of the source; intensities are scaled by what is inside.
    """
    source = volume.array if volume.array.ndim == 4 else volume.array[None]
    turn = turn_to(preprocessing.orientation, volume.grid)
    box = turn.apply_to_box(region or Box.whole(volume.grid.size))
    turned = _cut(turn.apply(source), box)
    if preprocessing.crop_foreground:
        inner = bounding_box(preprocessing.intensity.foreground(turned))
        if inner is not None:
            turned = _cut(turned, inner)
            box = inner.shifted(box.start)
    grid = working_grid(_cropped(turn.apply_to_grid(volume.grid), box), preprocessing.spacing)
    array = resample(turned, _weights(box.size, turn, volume.grid, grid))
    foreground = preprocessing.intensity.foreground(array)
    preprocessing.intensity.scale(array)
    return Prepared(array, grid, volume.grid, turn.inverse().apply_to_box(box), foreground, turn)


def restore(
    probabilities: NDArray[np.float32],
    prepared: Prepared,
    multilabel: bool = False,
    bits: NDArray[np.uint8] | None = None,
) -> NDArray[np.integer]:
    """Class indices on the grid of the scan, from probabilities on the working grid.

    Probabilities are interpolated linearly (clamped at the border), block by block and only those classes that can win.

    Args:
        probabilities: `(K, x, y, z)`. Class 0 is background; with `multilabel` there is no background class,
            channel k stands for class k + 1 and a voxel above 0.5 in several gets the one that is smallest in this
            scan: of nested structures (whole tumor, tumor core) the inner one stays visible.
        prepared: What `prepare` returned.
        multilabel: Whether the channels are independent probabilities.
        bits: Zeros `(ceil(K / 8), i, j, k)`, in which with `multilabel` every structure of a voxel is noted: bit
            `s % 8` of byte `s // 8` for channel s.

    Returns:
        `(i, j, k)`, uint8 or uint16; background outside of `prepared.region`.
    """
    classes = probabilities.shape[0] + (1 if multilabel else 0)
    labels = np.zeros(prepared.source_grid.size, label_type(classes))
    x, y, z = prepared.turn.apply_to_box(prepared.region).slices
    target = prepared.turn.apply(labels)[x, y, z]
    noted = None if bits is None else prepared.turn.apply(bits)[:, x, y, z]
    order = largest_first(count_inside(probabilities)) if multilabel else []
    along = inverse_weights(prepared)
    cuts = (axis_parts(weights, 0, size, BLOCK) for weights, size in zip(along, prepared.grid.size, strict=True))
    for parts in itertools.product(*cuts):
        x, y, z = (part.source for part in parts)
        block = np.ascontiguousarray(probabilities[:, x, y, z])
        place = tuple(part.target for part in parts)
        labelled = target[place]
        if multilabel:
            inside = dict(inside_structures(block, parts))
            if noted is not None:
                for channel, mask in inside.items():
                    noted[channel // 8][place] |= mask.astype(np.uint8) << np.uint8(channel % 8)
            for channel in order:
                if channel in inside:
                    labelled[inside[channel]] = channel + 1
        elif labelled.size:
            labelled[...] = most_probable(block, parts)
    return labels


def label_type(classes: int) -> type[np.integer]:
    """The smallest type of labelmaps with that many classes, background included."""
    return np.uint8 if classes <= 256 else np.uint16


def restore_probability(probability: NDArray[np.float32], prepared: Prepared) -> NDArray[np.float32]:
    """One class's probability `(x, y, z)` on the grid of the scan `(i, j, k)`; 0 outside of the region."""
    restored = np.zeros(prepared.source_grid.size, np.float32)
    box = prepared.turn.apply_to_box(prepared.region)
    target = prepared.turn.apply(restored)[box.slices]
    weights = inverse_weights(prepared)
    for index in range(box.size[0]):
        target[index] = resample_plane(probability, index, weights)
    return restored


def working_grid(grid: Grid, spacing: tuple[float, float, float] | None) -> Grid:
    """The grid with the given spacing whose first voxel centre is that of `grid` (MONAI's Spacingd)."""
    if spacing is None:
        return grid
    steps = [s if abs(s - t) <= SPACING_TOLERANCE else t for s, t in zip(grid.spacing, spacing, strict=True)]
    x, y, z = (resampled_size(n, s, t) for n, s, t in zip(grid.size, grid.spacing, steps, strict=True))
    return Grid((x, y, z), (steps[0], steps[1], steps[2]), grid.origin, grid.direction)


def _cut(array: NDArray, box: Box) -> NDArray:
    x, y, z = box.slices
    return array[:, x, y, z]


def _cropped(grid: Grid, box: Box) -> Grid:
    x, y, z = (float(value) for value in grid.to_point(np.asarray([box.start], float))[0])
    return Grid(box.size, grid.spacing, (x, y, z), grid.direction)


def _source_spacing(turn: AxisTurn, source_grid: Grid) -> list[float]:
    return [source_grid.spacing[axis] for axis in turn.source_axes]


def _weights(size: tuple[int, int, int], turn: AxisTurn, source_grid: Grid, grid: Grid) -> list[AxisWeights]:
    spacing = _source_spacing(turn, source_grid)
    return [axis_weights(n, m, t / s) for n, m, s, t in zip(size, grid.size, spacing, grid.spacing, strict=True)]


def inverse_weights(prepared: Prepared) -> list[AxisWeights]:
    """Weights from the working grid back to the voxels of `prepared.region`, along the axes of `prepared.array`."""
    size, grid = prepared.turn.apply_to_box(prepared.region).size, prepared.grid
    spacing = _source_spacing(prepared.turn, prepared.source_grid)
    return [axis_weights(m, n, s / t) for m, n, s, t in zip(grid.size, size, spacing, grid.spacing, strict=True)]


def count_inside(probabilities: NDArray[np.float32]) -> list[int]:
    """Voxels above 0.5 of each channel of `(K, x, y, z)`."""
    return [int((channel > 0.5).sum()) for channel in probabilities]


def largest_first(sizes: Sequence[int]) -> list[int]:
    """Channels by their number of voxels, most first; equal ones in their order."""
    return sorted(range(len(sizes)), key=lambda channel: -sizes[channel])
