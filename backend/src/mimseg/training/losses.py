"""Losses of segmentation, computed from class indices: no one-hot volume is made of them.

With 14 classes and a window of 96 x 80 x 64 this takes half the time and memory of MONAI's `DiceCELoss`, to which it is
equal (test_losses.py); with more classes it is worth more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mimseg.data.labels.scheme import IGNORED

Loss = Callable[[Tensor, Tensor], Tensor]

_SMOOTH = 1e-5


def dice_and_cross_entropy(include_background: bool = False, balance: bool = False) -> Loss:
    """Soft Dice over the structures plus cross entropy (Isensee et al., nnU-Net, Nature Methods 2021).

    Dice is that of the whole batch. Takes logits `(B, K, X, Y, Z)` and class indices `(B, 1, X, Y, Z)`; voxels of the
    index `IGNORED` are left out.

    Args:
        include_background: Dice counts the background as a class.
        balance: In the cross entropy a voxel of a class counts as one over the square root of the voxels that the class
            has in the batch: many small structures in a large window are learned before the large ones are perfect.
    """

    def compute(logits: Tensor, classes: Tensor) -> Tensor:
        outputs = logits.shape[1]
        index, known = _split_ignored(classes[:, 0].long())
        log_probability = torch.log_softmax(logits.float().contiguous(), dim=1)
        of_truth = log_probability.gather(1, index[:, None])[:, 0]
        probability, hit = log_probability.exp(), of_truth.exp()
        if known is not None:
            of_truth, hit, probability = of_truth * known, hit * known, probability * known[:, None]
        flat = index.flatten()
        overlap = torch.zeros(outputs, device=logits.device).index_add(0, flat, hit.flatten())
        found = probability.sum(dim=(0, 2, 3, 4))
        true = torch.bincount(flat, None if known is None else known.flatten(), outputs).to(found.dtype)
        dice_losses = _dice_losses(overlap, found, true)
        return dice_losses[0 if include_background else 1 :].mean() - _mean(of_truth, index, known, true, balance)

    return compute


def balance_offsets(counts: Tensor) -> Tensor:
    """What takes `balance` back if it is added to logits: rare structures, which it makes too large, get smaller.

    All of it is right after cross entropy alone (Menon et al., Long-tail learning via logit adjustment, ICLR 2021,
    section 4); half of this loss is Dice, which is not weighed.

    Args:
        counts: `(K,)`: mean number of voxels of each class in the crops that show it; 0 for a class in none.

    Returns:
        `(K,)`: 0 for the most frequent class and for classes that no crop shows, less for rarer ones.
    """
    weights = counts.clamp_min(1).double().rsqrt()
    return torch.where(counts > 0, -(weights / weights.min()).log(), 0.0).float()


def dice_and_binary_cross_entropy(membership: NDArray[np.bool_]) -> Loss:
    """Soft Dice plus binary cross entropy of structures that may overlap.

    Args:
        membership: `(K, classes)`: which classes of the labelmap each structure is made of.

    Returns:
        Function of logits `(B, K, X, Y, Z)` and class indices `(B, 1, X, Y, Z)`; voxels of the index `IGNORED` are
        left out.
    """
    table = torch.from_numpy(membership.T.astype(np.float32))

    def compute(logits: Tensor, classes: Tensor) -> Tensor:
        index, known = _split_ignored(classes[:, 0].long())
        target = table.to(logits.device)[index].movedim(-1, 1)
        entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        probability = logits.sigmoid()
        voxels: Tensor | int = entropy.numel()
        if known is not None:
            target, probability, entropy = (each * known[:, None] for each in (target, probability, entropy))
            voxels = (known.sum() * len(membership)).clamp_min(1)
        over = (0, 2, 3, 4)
        overlap, found, true = (probability * target).sum(over), probability.sum(over), target.sum(over)
        return _dice_losses(overlap, found, true).mean() + entropy.sum() / voxels

    return compute


def _mean(values: Tensor, index: Tensor, known: Tensor | None, counts: Tensor, balance: bool) -> Tensor:
    """Mean over voxels; `balance` weighs a voxel by one over the square root of its class's count."""
    if balance:
        weights = counts.clamp_min(1).rsqrt()[index]
        weights = weights if known is None else weights * known
        return (values * weights).sum() / weights.sum().clamp_min(1e-12)
    return values.sum() / (values.numel() if known is None else known.sum().clamp_min(1))


def _dice_losses(overlap: Tensor, found: Tensor, true: Tensor) -> Tensor:
    """1 - soft Dice of each class `(K,)`, from sums over voxels."""
    return 1 - (2 * overlap + _SMOOTH) / (found + true + _SMOOTH)


def _split_ignored(index: Tensor) -> tuple[Tensor, Tensor | None]:
    """Class indices with 0 in place of `IGNORED`, and 1 where a voxel counts, 0 where not; None if all count."""
    ignored = index == IGNORED
    if not bool(ignored.any()):
        return index, None
    return index.masked_fill(ignored, 0), (~ignored).float()
