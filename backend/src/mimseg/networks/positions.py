"""Position embeddings on a grid of patches, and their change to another grid."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def resize_positions(positions: Tensor, old: tuple[int, int, int], new: tuple[int, int, int]) -> Tensor:
    """Interpolate position embeddings trilinearly to another grid of patches.

    Args:
        positions: `(1, N, hidden)` with N = product of `old`, patches in x, y, z order, z fastest.
        old: Patches along x, y, z that `positions` was made for.
        new: Patches along x, y, z wanted.

    Returns:
        `(1, M, hidden)` with M = product of `new`.
    """
    if old == new:
        return positions
    grid = positions.reshape(1, *old, -1).permute(0, 4, 1, 2, 3)
    resized = functional.interpolate(grid.float(), size=new, mode="trilinear", align_corners=False)
    return resized.permute(0, 2, 3, 4, 1).reshape(1, -1, positions.shape[-1]).to(positions.dtype)


def patchify(volume: Tensor, patch_size: int) -> Tensor:
    """Cut `(B, C, X, Y, Z)` into patches `(B, N, patch_size^3 * C)`, N in x, y, z order, channel fastest."""
    batch, channels, x, y, z = volume.shape
    p = patch_size
    cut = volume.reshape(batch, channels, x // p, p, y // p, p, z // p, p)
    return cut.permute(0, 2, 4, 6, 3, 5, 7, 1).reshape(batch, -1, p * p * p * channels)


def project_patches(projection: torch.nn.Conv3d, volume: Tensor, chosen: Tensor) -> Tensor:
    """What a convolution as wide as its stride makes of some patches: the others cost nothing.

    Args:
        projection: Kernel and stride are the patch's edge, no padding.
        volume: `(B, C, X, Y, Z)`.
        chosen: `(B, N)`, True for the patches wanted.

    Returns:
        `(patches wanted, hidden)`, in the order of `chosen`.
    """
    patches = patchify(volume, projection.kernel_size[0])[chosen]
    weight = projection.weight.movedim(1, -1).flatten(1)
    return torch.nn.functional.linear(patches, weight, projection.bias)


def unpatchify(patches: Tensor, patch_size: int, grid: tuple[int, int, int], channels: int) -> Tensor:
    """Inverse of `patchify`: `(B, N, patch_size^3 * C)` to `(B, C, X, Y, Z)`."""
    batch, p = patches.shape[0], patch_size
    x, y, z = grid
    cut = patches.reshape(batch, x, y, z, p, p, p, channels)
    return cut.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(batch, channels, x * p, y * p, z * p)


def mask_volume(volume: Tensor, hidden: Tensor, patch_size: int, grid: tuple[int, int, int]) -> Tensor:
    """Set the voxels of hidden patches to 0. `hidden`: `(B, N)`, True where hidden."""
    visible = (~hidden).to(volume.dtype).reshape(hidden.shape[0], 1, *grid)
    return volume * torch.nn.functional.interpolate(visible, scale_factor=patch_size, mode="nearest")
