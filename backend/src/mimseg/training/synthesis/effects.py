"""What a scanner does to an image: bias field, resolution and slice thickness, gamma, an incomplete field of view."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

# Millimetres: thickest slices, and coarsest voxels within a slice.
THICKEST_SLICE, COARSEST_VOXEL = 7.0, 2.5
THICK_SHARE, FIELD_CUT_SHARE = 0.5, 0.2
# Full width at half maximum of a Gaussian, in standard deviations.
_FWHM = 2.355


def smooth_field(size: Sequence[int], knots: int, generator: torch.Generator) -> Tensor:
    """Smooth random numbers `(x, y, z)` of about unit variance, from `knots` per axis."""
    coarse = torch.randn((1, 1, knots, knots, knots), generator=generator)
    return functional.interpolate(coarse, size=tuple(size), mode="trilinear", align_corners=True)[0, 0]


def apply_bias(image: Tensor, generator: torch.Generator) -> Tensor:
    """Multiply by the exponential of a smooth field (Van Leemput et al., IEEE TMI 1999)."""
    strength = 0.5 * float(torch.rand((), generator=generator))
    return image * (strength * smooth_field(image.shape, 4, generator)).exp()


def apply_resolution(image: Tensor, spacing: Sequence[float], generator: torch.Generator) -> Tensor:
    """Lose detail as a scan of larger voxels does, in half of the images of thick slices along a random axis.

    Slices are averages over a Gaussian of their thickness; the image is interpolated linearly between them.
    """
    voxel = 1.0 + (COARSEST_VOXEL - 1.0) * torch.rand((), generator=generator).square()
    edges = [float(voxel)] * 3
    if torch.rand((), generator=generator) < THICK_SHARE:
        axis = int(torch.randint(3, (), generator=generator))
        edges[axis] = 2.0 + (THICKEST_SLICE - 2.0) * float(torch.rand((), generator=generator))
    phases = torch.rand(3, generator=generator).tolist()
    for axis, (edge, own) in enumerate(zip(edges, spacing, strict=True)):
        if edge > 1.05 * own:
            matrix = _slicing(image.shape[axis], edge / own, phases[axis])
            image = torch.tensordot(matrix, image, dims=([1], [axis])).movedim(0, axis)
    return image.contiguous()


def _slicing(size: int, step: float, phase: float) -> Tensor:
    """`(size, size)`: average over slices `step` voxels thick and apart, then linear interpolation between them."""
    voxels = torch.arange(size, dtype=torch.float32)
    centres = torch.arange(-1, int(size / step) + 3, dtype=torch.float32) * step + (phase - 0.5) * step
    average = torch.exp(-0.5 * ((voxels[None] - centres[:, None]) * _FWHM / step) ** 2)
    average = average / average.sum(1, keepdim=True).clamp_min(1e-6)
    between = (1 - (voxels[:, None] - centres[None]).abs() / step).clamp_min(0)
    usable = ((centres >= 0) & (centres <= size - 1)).float()  # slices beyond the image are not there
    between = between * usable
    lonely = between.sum(1, keepdim=True) == 0
    nearest = functional.one_hot(
        ((voxels[:, None] - centres[None]).abs() + 1e6 * (1 - usable)).argmin(1), len(centres)
    ).float()
    between = torch.where(lonely, nearest, between)
    return (between / between.sum(1, keepdim=True)) @ average


def apply_gamma(image: Tensor, generator: torch.Generator) -> Tensor:
    """Bend the grey values 0..1 by a random exponent."""
    exponent = float(torch.exp(0.25 * torch.randn((), generator=generator)))
    return image.clamp(0, 1.5) ** exponent


def field_of_view(size: Sequence[int], generator: torch.Generator) -> Tensor | None:
    """True `(x, y, z)` inside the scan; a fifth of the images end before the crop does. None if nothing is cut."""
    if torch.rand((), generator=generator) >= FIELD_CUT_SHARE:
        return None
    axis = int(torch.randint(3, (), generator=generator))
    cut = int(size[axis] * 0.35 * float(torch.rand((), generator=generator)))
    inside = torch.ones(tuple(size), dtype=torch.bool)
    low = torch.rand((), generator=generator) < 0.5
    inside.narrow(axis, 0 if low else size[axis] - cut, cut).fill_(False)
    return inside
