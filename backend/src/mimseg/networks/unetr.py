"""UNETR: a ViT encoder and a convolutional decoder with skip connections from the transformer's states.

Hatamizadeh et al., UNETR: Transformers for 3D Medical Image Segmentation (WACV 2022), section 3. For patch size
16 with 12 blocks and the stem `patch`, names and outputs equal MONAI 1.6 `UNETR` (test_networks.py). The decoder
has one stage for each up-sampling factor from patch to voxel, so the patch sizes 8 and 12 (2 x 2 x 3) have three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from monai.networks.blocks.dynunet_block import UnetOutBlock, get_conv_layer
from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrPrUpBlock, UnetrUpBlock
from torch import Tensor, nn

if TYPE_CHECKING:
    from mimseg.networks.primus_settings import PrimusSettings
    from mimseg.networks.unetr_settings import UnetrSettings


class UNETR(nn.Module):
    """Logits `(B, classes, X, Y, Z)` of a window `(B, channels, X, Y, Z)`; the encoder is a ViT, or that of Primus."""

    def __init__(self, settings: UnetrSettings | PrimusSettings) -> None:
        super().__init__()
        self.settings = settings
        self.vit: Any = settings.build_encoder()
        stages, feature_size, hidden_size = settings.stages, settings.feature_size, settings.hidden_size
        shared: dict[str, Any] = {"spatial_dims": 3, "kernel_size": 3, "norm_name": "instance"}
        self.encoder1 = UnetrBasicBlock(
            in_channels=settings.channels, out_channels=feature_size, stride=1, res_block=True, **shared
        )
        for level in range(1, stages):
            # With a convolutional stem its feature maps bring the detail; the states only add context.
            lift = UnetrPrUpBlock(
                in_channels=hidden_size,
                out_channels=feature_size * 2**level,
                num_layer=stages - 1 - level,
                stride=1,
                upsample_kernel_size=2,
                conv_block=settings.stem == "patch",
                res_block=settings.stem == "patch",
                **shared,
            )
            if settings.factors[-1] != 2:  # MONAI's block knows one factor only; the coarsest step is its first
                lift.transp_conv_init = _up(hidden_size, feature_size * 2**level, settings.factors[-1])
            self.add_module(f"encoder{level + 1}", lift)
        for level in range(stages - 1, -1, -1):
            merge = UnetrUpBlock(
                in_channels=hidden_size if level == stages - 1 else feature_size * 2 ** (level + 1),
                out_channels=feature_size * 2**level,
                upsample_kernel_size=settings.factors[level],
                res_block=True,
                **shared,
            )
            self.add_module(f"decoder{level + 2}", merge)
        self.out = UnetOutBlock(spatial_dims=3, in_channels=feature_size, out_channels=settings.classes)

    def recompute_activations(self) -> None:
        """Save memory in training: activations of the transformer are computed again in the backward pass."""
        self.vit.recompute = True

    def _to_volume(self, tokens: Tensor) -> Tensor:
        """`(B, N, hidden)` to `(B, hidden, x, y, z)` on the grid of patches."""
        return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *self.settings.grid)

    def forward(self, volume: Tensor) -> Tensor:
        tokens, states, features = self.vit(volume)
        stages, layers = self.settings.stages, self.settings.layers
        up = self._to_volume(tokens)
        for level in range(stages - 1, 0, -1):
            # 12 blocks and 4 stages: the states after blocks 10, 7, 4 (counted from 1), as in MONAI's UNETR.
            state = states[min(level * layers // stages, layers - 1)]
            skip = self.get_submodule(f"encoder{level + 1}")(self._to_volume(state))
            if features:
                skip = skip + features[level - 1]
            up = self.get_submodule(f"decoder{level + 2}")(up, skip)
        return self.out(self.get_submodule("decoder2")(up, self.encoder1(volume)))


def _up(channels: int, out_channels: int, factor: int) -> nn.Module:
    """Transposed convolution that enlarges by `factor`."""
    return get_conv_layer(
        3, channels, out_channels, kernel_size=factor, stride=factor, conv_only=True, is_transposed=True
    )
