"""Masked auto-encoder: hide most patches of a volume, encode the rest, reconstruct the hidden ones.

He et al., Masked Autoencoders Are Scalable Vision Learners (CVPR 2022), section 3, in three dimensions as in
Chen et al., Masked Image Modeling Advances 3D Medical Image Analysis (WACV 2023): raw voxels, L1 on hidden patches.
Deviation from the latter's release: the encoder's final normalisation is applied by default, so that it is trained.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from monai.networks.blocks.transformerblock import TransformerBlock
from torch import Tensor, nn

from mimseg.errors import UserError
from mimseg.networks.positions import patchify, unpatchify
from mimseg.networks.settings import NetworkSettings
from mimseg.networks.vit import ViT


@dataclass(frozen=True)
class MaeSettings:
    """What is particular to MAE.

    Attributes:
        mask_ratio: Share of patches hidden, in (0, 1).
        decoder_size: Width of the decoder's tokens.
        decoder_layers: Transformer blocks of the decoder.
        decoder_heads: Attention heads of the decoder.
        normalize_target: Reconstruct each patch normalised to mean 0, variance 1, instead of raw voxels.
        encoder_norm: Apply the encoder's final layer normalisation before the decoder.
    """

    mask_ratio: float = 0.75
    decoder_size: int = 192
    decoder_layers: int = 1
    decoder_heads: int = 6
    normalize_target: bool = False
    encoder_norm: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return asdict(self)


def random_mask(batch: int, patches: int, ratio: float, generator: torch.Generator) -> Tensor:
    """Choose the patches hidden from the encoder, independently for each volume.

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


class MaskedAutoencoder(nn.Module):
    """A ViT encoder with MAE's light decoder."""

    def __init__(self, network: NetworkSettings, settings: MaeSettings) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.encoder = ViT(network)
        width = settings.decoder_size
        self.to_decoder = nn.Linear(network.hidden_size, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_positions = nn.Parameter(torch.zeros(1, network.tokens, width))
        self.decoder_blocks = nn.ModuleList(
            TransformerBlock(width, 4 * width, settings.decoder_heads, use_flash_attention=True)
            for _ in range(settings.decoder_layers)
        )
        self.decoder_norm = nn.LayerNorm(width)
        self.to_voxels = nn.Linear(width, network.patch_size**3 * network.channels)
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        nn.init.trunc_normal_(self.decoder_positions, std=0.02)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_("norm_cross_attn" not in name and parameter.requires_grad)
        if not settings.encoder_norm:
            self.encoder.norm.requires_grad_(False)

    def predict(self, volume: Tensor, hidden: Tensor) -> Tensor:
        """Predicted patches `(B, N, patch_size^3 * C)` of `volume` `(B, C, X, Y, Z)`; `hidden` `(B, N)`."""
        visible = self.to_decoder(self.encoder.encode_visible(volume, hidden, self.settings.encoder_norm))
        tokens = self.mask_token.to(visible.dtype).expand(*hidden.shape, -1).clone()
        tokens[~hidden] = visible.reshape(-1, visible.shape[-1])
        tokens = tokens + self.decoder_positions
        for block in self.decoder_blocks:
            tokens = block(tokens)
        return self.to_voxels(self.decoder_norm(tokens))

    def target(self, volume: Tensor) -> Tensor:
        """Patches to be reconstructed `(B, N, patch_size^3 * C)`."""
        patches = patchify(volume, self.network.patch_size)
        if self.settings.normalize_target:
            deviation, mean = torch.std_mean(patches, dim=-1, keepdim=True)
            patches = (patches - mean) / (deviation + 1e-4)
        return patches

    def forward(self, volume: Tensor, hidden: Tensor) -> Tensor:
        """Mean absolute error over the voxels of hidden patches."""
        difference = (self.predict(volume, hidden) - self.target(volume)).abs().mean(dim=-1)
        return difference[hidden].mean()

    @torch.no_grad()
    def reconstruct(self, volume: Tensor, hidden: Tensor) -> Tensor:
        """`volume` with its hidden patches replaced by the prediction, in the units of `volume`."""
        predicted, original = self.predict(volume, hidden), patchify(volume, self.network.patch_size)
        if self.settings.normalize_target:
            deviation, mean = torch.std_mean(original, dim=-1, keepdim=True)
            predicted = predicted * (deviation + 1e-4) + mean
        merged = torch.where(hidden[..., None], predicted.to(original.dtype), original)
        return unpatchify(merged, self.network.patch_size, self.network.grid, self.network.channels)
