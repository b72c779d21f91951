"""What MAE and SimMIM share: random masks, and the reconstruction of hidden patches as the task.

Chen et al., Masked Image Modeling Advances 3D Medical Image Analysis (WACV 2023): raw voxels as target, L1 on the
hidden patches. The other targets and losses are those of He et al. (MAE, CVPR 2022) and Xie et al. (SimMIM, CVPR
2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mimseg.errors import UserError
from mimseg.networks.methods.pretraining import PretrainingNetwork, check_choice
from mimseg.networks.positions import patchify, unpatchify
from mimseg.networks.settings import PatchNetworkSettings

TARGETS = ("raw", "normalized")
LOSSES = ("l1", "l2")
LOSS_REGIONS = ("masked", "all")


@dataclass(frozen=True)
class ReconstructionSettings:
    """What is reconstructed, and how the difference is measured.

    Attributes:
        mask_ratio: Share of patches hidden, in (0, 1).
        target: `raw` voxels, or `normalized`: each patch with mean 0 and variance 1.
        loss: `l1` mean absolute or `l2` mean squared difference.
        loss_on: `masked` patches only, or `all`.
        encoder_norm: Apply the encoder's final layer normalisation (the release of Chen et al. does not, so
            its weights stay untrained there).
    """

    mask_ratio: float = 0.75
    target: str = "raw"
    loss: str = "l1"
    loss_on: str = "masked"
    encoder_norm: bool = True

    def __post_init__(self) -> None:
        check_choice(self.target, "target", TARGETS)
        check_choice(self.loss, "loss", LOSSES)
        check_choice(self.loss_on, "choice of patches for the loss", LOSS_REGIONS)
        if not 0 < self.mask_ratio < 1:
            raise UserError(f"Mask ratio {self.mask_ratio} is not between 0 and 1.", "For example 0.75.", "bad-usage")


def random_mask(batch: int, patches: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Choose the patches to hide, independently and uniformly for each volume.

    Args:
        batch: Number of volumes B.
        patches: Number of patches N of one volume.
        ratio: Share of patches to hide, in (0, 1).
        generator: Source of randomness on the CPU; the same state gives the same mask.

    Returns:
        `(B, N)`, True where hidden; `int(ratio * N)` in each row (Chen et al.'s rule).

    Raises:
        UserError: No patch would be hidden, or none left visible.
    """
    hidden = int(ratio * patches)
    if not 0 < hidden < patches:
        raise UserError(
            f"Mask ratio {ratio} hides {hidden} of {patches} patches.",
            "Choose a ratio between 0 and 1 that hides at least one patch and leaves one, or a smaller patch size.",
        )
    order = torch.rand(batch, patches, generator=generator).argsort(dim=1)
    return order < hidden


class MaskedReconstruction(PretrainingNetwork):
    """A method that hides patches and predicts them; subclasses define `predict`."""

    def __init__(self, network: PatchNetworkSettings, settings: ReconstructionSettings) -> None:
        super().__init__(network, settings)

    def predict(self, volume: Tensor, hidden: Tensor) -> Tensor:
        """Predicted patches `(B, N, patch_size^3 * C)` of `volume` `(B, C, X, Y, Z)`; `hidden` `(B, N)`."""
        raise NotImplementedError

    def draw_mask(self, crops: int, generator: torch.Generator) -> Tensor:
        return random_mask(crops, self.network.tokens, self.settings.mask_ratio, generator)

    def target(self, volume: Tensor) -> Tensor:
        """Patches to be reconstructed `(B, N, patch_size^3 * C)`."""
        patches = patchify(volume, self.network.patch_size)
        if self.settings.target == "normalized":
            deviation, mean = torch.std_mean(patches, dim=-1, keepdim=True)
            patches = (patches - mean) / (deviation + 1e-4)
        return patches

    def forward(self, crops: Tensor, hidden: Tensor | None) -> Tensor:
        if hidden is None:
            raise ValueError("a masked reconstruction needs a mask")
        difference = self.predict(crops, hidden) - self.target(crops)
        error = (difference.abs() if self.settings.loss == "l1" else difference.square()).mean(dim=-1)
        return error[hidden].mean() if self.settings.loss_on == "masked" else error.mean()

    @torch.no_grad()
    def reconstruct(self, volume: Tensor, hidden: Tensor) -> Tensor:
        """`volume` with its hidden patches replaced by the prediction, in the units of `volume`."""
        predicted, original = self.predict(volume, hidden), patchify(volume, self.network.patch_size)
        if self.settings.target == "normalized":
            deviation, mean = torch.std_mean(original, dim=-1, keepdim=True)
            predicted = predicted * (deviation + 1e-4) + mean
        merged = torch.where(hidden[..., None], predicted.to(original.dtype), original)
        return unpatchify(merged, self.network.patch_size, self.network.grid, self.network.channels)
