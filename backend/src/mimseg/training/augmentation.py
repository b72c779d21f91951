"""Random crops and augmentation of a training volume, reproducible from a seed, on any torch device.

One resampling does crop, rotation, scaling, elastic deformation and flips together, so voxels are interpolated once
and real neighbours, not padding, move into the window. Ranges follow nnU-Net's (Isensee et al., Nature Methods 2021,
supplement section 4), milder in rotation.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class AugmentationSettings:
    """Strengths; 0 switches a part off.

    Attributes:
        rotation: Largest rotation about each axis, degrees.
        scale: Largest relative change of size.
        elastic: Standard deviation of the coarse random displacements, voxels.
        spatial_share: Share of crops that are deformed at all.
        flip_left_right: Mirror half of the crops along x. Only where labels have no side.
        shift: Largest random displacement of a crop from its centre, as a share of the window.
        intensity: Change brightness, contrast, gamma, noise, sharpness.
        flips: Probability of a flip along each axis. Only where labels have no side.
        quarter_turns: Probability of turning by 90, 180 or 270 degrees in the plane of the first two axes, whatever
            the voxels' size.
        offset: Largest random number added to half of the crops.
        flip_pairs: Mirror half of the crops along x and swap the structures that are named left and right.
        cut_off: Share of crops that end early along one axis, as a scan of few slices does.
    """

    rotation: float = 15.0
    scale: float = 0.2
    elastic: float = 2.0
    spatial_share: float = 0.8
    flip_left_right: bool = False
    shift: float = 0.1
    intensity: bool = True
    flips: float = 0.0
    quarter_turns: float = 0.0
    offset: float = 0.0
    flip_pairs: bool = False
    cut_off: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return asdict(self)


def _uniform(generator: torch.Generator, low: float, high: float, size: tuple[int, ...] = ()) -> Tensor:
    return torch.rand(size, generator=generator) * (high - low) + low


def _chance(generator: torch.Generator, probability: float) -> bool:
    return bool(torch.rand((), generator=generator) < probability)


def rotation_matrix(angles: Tensor) -> Tensor:
    """3x3 rotation about x, then y, then z by `angles` `(3,)` in radians."""
    (cx, cy, cz), (sx, sy, sz) = angles.cos().tolist(), angles.sin().tolist()
    about_x = torch.tensor([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = torch.tensor([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def sampling_points(
    window: tuple[int, int, int], centre: Tensor, settings: AugmentationSettings, generator: torch.Generator
) -> Tensor:
    """Where to read the volume for each voxel of a crop.

    Args:
        window: Voxels of the crop.
        centre: `(3,)` voxel index in the volume that the crop is centred on.
        settings: Strengths.
        generator: Source of randomness on the CPU.

    Returns:
        `(X, Y, Z, 3)` continuous voxel indices into the volume.
    """
    axes = [torch.arange(edge, dtype=torch.float32) - (edge - 1) / 2 for edge in window]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    if _chance(generator, settings.spatial_share):
        angles = _uniform(generator, -1, 1, (3,)) * math.radians(settings.rotation)
        scales = 1 + settings.scale * (_uniform(generator, -1, 1) + 0.3 * _uniform(generator, -1, 1, (3,)))
        points = points @ (rotation_matrix(angles) * scales[None]).T
        if settings.elastic > 0:
            coarse = [max(2, round(edge / 12)) for edge in window]
            strength = settings.elastic * float(torch.rand((), generator=generator))
            field = torch.randn((1, 3, *coarse), generator=generator) * strength
            smooth = functional.interpolate(field, size=window, mode="trilinear", align_corners=True)
            points = points + smooth[0].permute(1, 2, 3, 0)
    if settings.flip_left_right and _chance(generator, 0.5):
        points = points * torch.tensor([-1.0, 1.0, 1.0])
    for axis in range(3):
        if settings.flips and _chance(generator, settings.flips):
            points[..., axis] = -points[..., axis]
    if settings.quarter_turns and _chance(generator, settings.quarter_turns):
        for _ in range(int(torch.randint(1, 4, (), generator=generator))):
            points = torch.stack([-points[..., 1], points[..., 0], points[..., 2]], dim=-1)
    return points + centre


def sample(volume: Tensor, points: Tensor, mode: str) -> Tensor:
    """Read `volume` `(C, I, J, K)` at `points` `(X, Y, Z, 3)`: `(C, X, Y, Z)`; outside the volume 0.

    Args:
        mode: `bilinear` (trilinear in three dimensions) or `nearest`.
    """
    size = torch.tensor(volume.shape[1:], dtype=torch.float32)
    normalized = (2 * points + 1) / size - 1
    grid = normalized.flip(-1)[None]
    return functional.grid_sample(volume[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0]


def sample_labels(label: Tensor, points: Tensor) -> Tensor:
    """Read class indices `label` `(I, J, K)` at `points` `(X, Y, Z, 3)`: float `(1, X, Y, Z)`, outside 0.

    The eight voxels around a point vote with their trilinear weights and the class with most votes wins (the lowest
    one of several), so outlines of turned labels stay smooth where the nearest voxel would make steps. Two classes
    cost the same as a hundred: only points whose eight voxels differ are voted on.
    """
    places = points.reshape(-1, 3)
    size = torch.tensor(label.shape)
    # From two voxels outside on all eight voxels are outside.
    lower = torch.minimum(places.floor().long().clamp_min(-2), size)
    block = _block(label, lower.amin(dim=0).tolist(), (lower.amax(dim=0) + 2).tolist())
    lower = lower - lower.amin(dim=0)
    step_x, step_y = block.shape[1] * block.shape[2], block.shape[2]
    index = lower[:, 0] * step_x + lower[:, 1] * step_y + lower[:, 2]
    values = block.reshape(-1)
    winner = values[index]
    undecided = _mixed(block).reshape(-1)[index].nonzero()[:, 0]
    if len(undecided):
        first, inside = index[undecided], places[undecided]
        corners = [values[first + x * step_x + y * step_y + z] for x, y, z in _CORNERS]
        winner[undecided] = _vote(corners, inside - inside.floor())
    return winner.reshape(points.shape[:3])[None].float()


_CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]


def _block(label: Tensor, start: list[int], end: list[int]) -> Tensor:
    """`label[start:end]`, with 0 where that reaches outside."""
    block = torch.zeros([high - low for low, high in zip(start, end, strict=True)], dtype=label.dtype)
    ranges = [(max(low, 0), min(high, edge)) for low, high, edge in zip(start, end, label.shape, strict=True)]
    if all(low < high for low, high in ranges):
        target = tuple(slice(low - first, high - first) for (low, high), first in zip(ranges, start, strict=True))
        block[target] = label[tuple(slice(low, high) for low, high in ranges)]
    return block


def _mixed(block: Tensor) -> Tensor:
    """Where a voxel and its seven upper neighbours are not all of one class; the last planes are of no use."""
    mixed = block != block
    for axis in range(3):
        upper = block.narrow(axis, 1, block.shape[axis] - 1)
        differs = upper != block.narrow(axis, 0, block.shape[axis] - 1)
        mixed.narrow(axis, 0, block.shape[axis] - 1).logical_or_(differs)
    for axis in range(3):  # a difference along any edge of the cube of eight
        before = mixed.clone()
        mixed.narrow(axis, 0, block.shape[axis] - 1).logical_or_(before.narrow(axis, 1, block.shape[axis] - 1))
    return mixed


def _vote(corners: list[Tensor], share: Tensor) -> Tensor:
    """The class `(n,)` of most trilinear weight among eight `corners` `(n,)`.

    Args:
        corners: Class indices, in the order of `_CORNERS`.
        share: `(n, 3)`, how far each point is on the way from the lower to the upper voxels.
    """
    parts = [(1 - share[:, axis], share[:, axis]) for axis in range(3)]
    weights = [parts[0][x] * parts[1][y] * parts[2][z] for x, y, z in _CORNERS]
    winner, best = torch.zeros_like(corners[0]), torch.zeros_like(weights[0])
    for candidate in corners:
        votes = torch.zeros_like(best)
        for weight, corner in zip(weights, corners, strict=True):
            votes += weight * (corner == candidate)
        better = (votes > best) | ((votes == best) & (candidate < winner))
        winner, best = torch.where(better, candidate, winner), torch.where(better, votes, best)
    return winner


def swap_sides(label: Tensor, other_side: Tensor) -> Tensor:
    """Class indices `(1, X, Y, Z)` of a mirrored crop: `other_side` `(classes,)` is each class's mirror image.

    Indices beyond the classes (voxels that nobody labelled) stay.
    """
    table = torch.arange(256, dtype=label.dtype)
    table[: len(other_side)] = other_side.to(label.dtype)
    return table[label.long()]


def cut_off(image: Tensor, label: Tensor | None, share: float, generator: torch.Generator) -> None:
    """With probability `share` empty both ends of a crop along a random axis, as where a scan has few slices.

    Inference puts a scan that is smaller than its window in the middle of it and surrounds it with 0. What is left has
    30 % to all of the window's length.

    Args:
        image: `(C, X, Y, Z)`, scaled as the network's input; changed in place.
        label: `(1, X, Y, Z)` class indices, changed in place: background where the image is empty.
        share: 0 draws no random number, so that runs begun without this go on as they were.
        generator: On the CPU.
    """
    if not share or not _chance(generator, share):
        return
    axis = 1 + int(torch.randint(3, (), generator=generator))
    edge = image.shape[axis]
    kept = max(1, round(edge * float(_uniform(generator, 0.3, 1.0))))
    first = (edge - kept) // 2
    for part in (image, label) if label is not None else (image,):
        part.narrow(axis, 0, first).zero_()
        part.narrow(axis, first + kept, edge - first - kept).zero_()


def change_intensity(crop: Tensor, settings: AugmentationSettings, generator: torch.Generator) -> Tensor:
    """Randomly change brightness, contrast, gamma, sharpness and noise of a crop `(C, X, Y, Z)`."""
    if settings.offset and _chance(generator, 0.5):
        crop = crop + float(_uniform(generator, -settings.offset, settings.offset))
    if not settings.intensity:
        return crop
    deviation = float(crop.std()) + 1e-6
    if _chance(generator, 0.15):
        sigma = float(_uniform(generator, 0.5, 1.0))
        crop = _blur(crop, sigma)
    if _chance(generator, 0.15):
        crop = _low_resolution(crop, float(_uniform(generator, 0.5, 0.9)))
    if _chance(generator, 0.3):
        crop = crop * float(_uniform(generator, 0.75, 1.25))
    if _chance(generator, 0.3):
        mean = crop.mean()
        crop = (crop - mean) * float(_uniform(generator, 0.7, 1.3)) + mean
    if _chance(generator, 0.3):
        crop = crop + deviation * float(_uniform(generator, -0.2, 0.2))
    if _chance(generator, 0.3):
        low, high = crop.amin(), crop.amax()
        reach = (high - low).clamp_min(1e-6)
        crop = ((crop - low) / reach) ** float(_uniform(generator, 0.7, 1.5)) * reach + low
    if _chance(generator, 0.2):
        amount = deviation * float(_uniform(generator, 0.0, 0.15))
        crop = crop + torch.randn(crop.shape, generator=generator) * amount
    return crop


def _blur(crop: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian of 5 voxels."""
    offsets = torch.arange(-2, 3, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    blurred = crop[:, None]
    for axis in range(3):
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 5
        padding = [0, 0, 0, 0, 0, 0]
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = 2
        blurred = functional.conv3d(functional.pad(blurred, padding, mode="replicate"), kernel.reshape(shape))
    return blurred[:, 0]


def _low_resolution(crop: Tensor, factor: float) -> Tensor:
    """Lose detail: sample down by `factor`, then up again."""
    size = crop.shape[1:]
    small = [max(2, round(edge * factor)) for edge in size]
    low = functional.interpolate(crop[None], size=small, mode="nearest-exact")
    return functional.interpolate(low, size=tuple(size), mode="trilinear", align_corners=False)[0]
