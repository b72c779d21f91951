"""Masked auto-encoder: hide most patches of a volume, encode the rest, reconstruct the hidden ones.

He et al., Masked Autoencoders Are Scalable Vision Learners (CVPR 2022), section 3, in three dimensions as in
Chen et al., Masked Image Modeling Advances 3D Medical Image Analysis (WACV 2023).
Deviation from the latter's release: the encoder's final normalisation is applied by default, so that it is trained.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from monai.networks.blocks.transformerblock import TransformerBlock
from torch import Tensor, nn

from mimseg.errors import UserError
from mimseg.networks.methods.reconstruction import MaskedReconstruction, ReconstructionSettings
from mimseg.networks.settings import PatchNetworkSettings


@dataclass(frozen=True)
class MaeSettings(ReconstructionSettings):
    """What is particular to MAE.

    Attributes:
        decoder_size: Width of the decoder's tokens; 512 in the release of Chen et al.
        decoder_layers: Transformer blocks of the decoder; 8 in that release.
        decoder_heads: Attention heads of the decoder; 8 in that release.
    """

    decoder_size: int = 192
    decoder_layers: int = 1
    decoder_heads: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        if (
            min(self.decoder_size, self.decoder_layers, self.decoder_heads) < 1
            or self.decoder_size % self.decoder_heads
        ):
            raise UserError(
                f"A decoder of width {self.decoder_size}, {self.decoder_layers} blocks and {self.decoder_heads} heads "
                "is not possible.",
                "The width must be a multiple of the heads, for example 192 with 6.",
                "bad-usage",
            )


class MaskedAutoencoder(MaskedReconstruction):
    """A ViT encoder that sees visible patches only, and MAE's light decoder."""

    settings_type = MaeSettings

    def __init__(self, network: PatchNetworkSettings, settings: MaeSettings) -> None:
        super().__init__(network, settings)
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
        self._freeze_unused(settings.encoder_norm)

    def predict(self, volume: Tensor, hidden: Tensor) -> Tensor:
        visible = self.to_decoder(self.encoder.encode_visible(volume, hidden, self.settings.encoder_norm))
        tokens = self.mask_token.to(visible.dtype).expand(*hidden.shape, -1).clone()
        tokens[~hidden] = visible.reshape(-1, visible.shape[-1])
        tokens = tokens + self.decoder_positions
        for block in self.decoder_blocks:
            tokens = block(tokens)
        return self.to_voxels(self.decoder_norm(tokens))
