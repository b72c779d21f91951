"""SimMIM: the encoder sees every patch, hidden ones as a learned mask token; a light head predicts their voxels.

Xie et al., SimMIM: A Simple Framework for Masked Image Modeling (CVPR 2022), section 3, in three dimensions as in
Chen et al., Masked Image Modeling Advances 3D Medical Image Analysis (WACV 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mimseg.networks.methods.pretraining import check_choice
from mimseg.networks.methods.reconstruction import MaskedReconstruction, ReconstructionSettings
from mimseg.networks.positions import patchify
from mimseg.networks.settings import PatchNetworkSettings

HEADS = ("linear", "perceptron", "transposed_convolution")


@dataclass(frozen=True)
class SimmimSettings(ReconstructionSettings):
    """What is particular to SimMIM.

    Attributes:
        head: `linear` (the release of Chen et al.), `perceptron` with one hidden layer, or two
            `transposed_convolution`s.
    """

    head: str = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.head, "head", HEADS)


class SimMIM(MaskedReconstruction):
    """A ViT encoder over visible and masked tokens with a light head."""

    settings_type = SimmimSettings

    def __init__(self, network: PatchNetworkSettings, settings: SimmimSettings) -> None:
        super().__init__(network, settings)
        width, voxels = network.hidden_size, network.patch_size**3 * network.channels
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.head: nn.Module
        if settings.head == "linear":
            self.head = nn.Linear(width, voxels)
        elif settings.head == "perceptron":
            self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, voxels))
        else:
            self.head = _TransposedConvolutions(network)
        self._freeze_unused(settings.encoder_norm)

    def predict(self, volume: Tensor, hidden: Tensor) -> Tensor:
        tokens = self.encoder.encode_masked(volume, hidden, self.mask_token, self.settings.encoder_norm)
        return self.head(tokens)


class _TransposedConvolutions(nn.Module):
    """Tokens `(B, N, hidden)` to patches `(B, N, patch_size^3 * C)` by two transposed convolutions."""

    def __init__(self, network: PatchNetworkSettings) -> None:
        super().__init__()
        self._network = network
        middle = network.stages // 2
        coarse, fine = math.prod(network.factors[middle:]), math.prod(network.factors[:middle])
        width = network.hidden_size // 6
        self.layers = nn.Sequential(
            nn.ConvTranspose3d(network.hidden_size, width, coarse, stride=coarse),
            nn.GELU(),
            nn.ConvTranspose3d(width, network.channels, fine, stride=fine),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        grid = tokens.transpose(1, 2).reshape(len(tokens), -1, *self._network.grid)
        return patchify(self.layers(grid), self._network.patch_size)
