"""Losses of segmentation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from monai.losses import DiceCELoss, DiceLoss
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def dice_and_cross_entropy(include_background: bool = False) -> Loss:
    """Soft Dice over the structures plus cross entropy (Isensee et al., nnU-Net, Nature Methods 2021).

    Takes logits `(B, K, X, Y, Z)` and class indices `(B, 1, X, Y, Z)`.
    """
    return DiceCELoss(
        include_background=include_background,
        to_onehot_y=True,
        softmax=True,
        batch=True,
        smooth_nr=1e-5,
        smooth_dr=1e-5,
    )


def dice_and_binary_cross_entropy(membership: NDArray[np.bool_]) -> Loss:
    """Soft Dice plus binary cross entropy of structures that may overlap.

    MONAI's DiceCELoss would take the softmax over structures for its cross entropy, which makes them exclude each
    other.

    Args:
        membership: `(K, classes)`: which classes of the labelmap each structure is made of.

    Returns:
        Function of logits `(B, K, X, Y, Z)` and class indices `(B, 1, X, Y, Z)`.
    """
    table = torch.from_numpy(membership.T.astype(np.float32))
    soft_dice = DiceLoss(sigmoid=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)

    def compute(logits: Tensor, classes: Tensor) -> Tensor:
        target = table.to(logits.device)[classes[:, 0].long()].movedim(-1, 1)
        return soft_dice(logits, target) + functional.binary_cross_entropy_with_logits(logits, target)

    return compute
