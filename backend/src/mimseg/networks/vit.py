"""Vision transformer encoder of UNETR.

Dosovitskiy et al., An Image is Worth 16x16 Words (ICLR 2021); Hatamizadeh et al., UNETR (WACV 2022), section 3.1.
Parameter names equal MONAI's `ViT` where MONAI has them. Attention is torch's scaled_dot_product_attention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from monai.networks.blocks.patchembedding import PatchEmbeddingBlock
from monai.networks.blocks.pos_embed_utils import build_sincos_position_embedding
from monai.networks.blocks.transformerblock import TransformerBlock
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mimseg.networks.positions import mask_volume, project_patches

if TYPE_CHECKING:
    from mimseg.networks.unetr_settings import UnetrSettings


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each voxel, `(B, C, X, Y, Z)`.

    Unlike instance normalisation it does not mix visible and hidden voxels of a masked volume.
    """

    def forward(self, volume: Tensor) -> Tensor:
        return super().forward(volume.movedim(1, -1)).movedim(-1, 1)


class ResidualConvolutions(nn.Module):
    """Two 3x3x3 convolutions with channel normalisation around a residual connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm1 = ChannelNorm(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = ChannelNorm(channels)

    def forward(self, volume: Tensor) -> Tensor:
        hidden = nn.functional.gelu(self.norm1(self.conv1(volume)))
        return nn.functional.gelu(volume + self.norm2(self.conv2(hidden)))


class ConvolutionStem(nn.Module):
    """Strided convolutions from voxels to tokens (cf. PrimusV2's convolutional tokenizer, arXiv 2503.01835).

    Each stage but the last halves the resolution; the feature maps before the last stage,
    `(B, feature_size * 2^s, ...)` for s = 1, 2, ..., serve the decoder as skip connections.
    """

    def __init__(self, settings: UnetrSettings) -> None:
        super().__init__()
        widths = [settings.feature_size * 2**stage for stage in range(1, settings.stages)]
        self.stages = nn.ModuleList()
        previous = settings.channels
        for width, factor in zip(widths, settings.factors, strict=False):
            self.stages.append(
                nn.Sequential(
                    nn.Conv3d(previous, width, 3, stride=factor, padding=1),
                    ChannelNorm(width),
                    nn.GELU(),
                    ResidualConvolutions(width),
                )
            )
            previous = width
        last = settings.factors[-1]
        self.projection = nn.Conv3d(previous, settings.hidden_size, last, stride=last)

    def forward(self, volume: Tensor) -> tuple[Tensor, list[Tensor]]:
        """`(B, C, X, Y, Z)` to tokens `(B, N, hidden)` and the feature maps, finest first."""
        features = []
        for stage in self.stages:
            volume = stage(volume)
            features.append(volume)
        return self.projection(volume).flatten(2).transpose(1, 2), features


class ConvolutionEmbedding(nn.Module):
    """Tokens from a convolutional stem plus position embeddings; counterpart of MONAI's PatchEmbeddingBlock."""

    def __init__(self, settings: UnetrSettings) -> None:
        super().__init__()
        self.stem = ConvolutionStem(settings)
        if settings.positions == "sincos":
            self.position_embeddings = build_sincos_position_embedding(list(settings.grid), settings.hidden_size)
        else:
            self.position_embeddings = nn.Parameter(torch.zeros(1, settings.tokens, settings.hidden_size))
            nn.init.trunc_normal_(self.position_embeddings, std=0.02)

    def forward(self, volume: Tensor) -> tuple[Tensor, list[Tensor]]:
        """`(B, C, X, Y, Z)` to tokens `(B, N, hidden)` and the stem's feature maps."""
        tokens, features = self.stem(volume)
        return tokens + self.position_embeddings, features


class ViT(nn.Module):
    """The encoder: `settings.layers` pre-norm transformer blocks over the patches of a window."""

    def __init__(self, settings: UnetrSettings) -> None:
        super().__init__()
        self.settings = settings
        self.patch_embedding: nn.Module
        if settings.stem == "convolution":
            self.patch_embedding = ConvolutionEmbedding(settings)
        else:
            self.patch_embedding = PatchEmbeddingBlock(
                in_channels=settings.channels,
                img_size=settings.window,
                patch_size=settings.patch_size,
                hidden_size=settings.hidden_size,
                num_heads=settings.heads,
                proj_type="conv",
                pos_embed_type="learnable" if settings.positions == "learned" else "sincos",
            )
        self.blocks = nn.ModuleList(
            TransformerBlock(
                settings.hidden_size,
                settings.mlp_size,
                settings.heads,
                qkv_bias=settings.qkv_bias,
                use_flash_attention=True,
            )
            for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(settings.hidden_size)
        self.recompute = False  # activations of blocks in the backward pass, to save memory
        if settings.class_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, settings.hidden_size))
        for name, parameter in self.named_parameters():
            # MONAI's blocks carry a norm for cross attention that plain blocks never use: without this,
            # distributed training waits for gradients that never come.
            if "norm_cross_attn" in name:
                parameter.requires_grad_(False)

    def embed(self, volume: Tensor) -> tuple[Tensor, list[Tensor]]:
        """`(B, C, X, Y, Z)` to tokens with positions `(B, N, hidden)` and the stem's feature maps (may be none)."""
        if self.settings.stem == "convolution":
            return self.patch_embedding(volume)
        return self.patch_embedding(volume), []

    def forward(self, volume: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Encode a whole window.

        Args:
            volume: `(B, C, X, Y, Z)` of the size `settings.window`.

        Returns:
            Normalised tokens `(B, N, hidden)`, the tokens after each block, and the stem's feature maps.
        """
        tokens, features = self.embed(volume)
        tokens = self._with_class_token(tokens)
        states = []
        for block in self.blocks:
            tokens = self._through(block, tokens)
            states.append(self._patches_only(tokens))
        return self.norm(states[-1]), states, features

    def encode_visible(self, volume: Tensor, hidden: Tensor, final_norm: bool = True) -> Tensor:
        """Encode only the visible patches, as MAE does (He et al., section 3).

        Args:
            volume: `(B, C, X, Y, Z)`.
            hidden: `(B, N)`, True where a patch is hidden; equally many per row.
            final_norm: Apply the final layer normalisation (the release of Chen et al. does not).

        Returns:
            `(B, visible, hidden)`, the visible patches in their order.
        """
        count, visible = len(hidden), ~hidden
        if self.settings.stem == "convolution":
            tokens = self._embed_masked(volume, hidden)[visible]
        else:
            positions = self.patch_embedding.get_parameter("position_embeddings").expand(count, -1, -1)
            projection: Any = self.patch_embedding.get_submodule("patch_embeddings")
            tokens = project_patches(projection, volume, visible) + positions[visible]
        tokens = tokens.reshape(count, -1, tokens.shape[-1])
        return self._encode(tokens, final_norm)

    def encode_masked(self, volume: Tensor, hidden: Tensor, mask_token: Tensor, final_norm: bool = True) -> Tensor:
        """Encode all patches, hidden ones as a mask token at their position, as SimMIM does (Xie et al., section 3.2).

        Args:
            volume: `(B, C, X, Y, Z)`.
            hidden: `(B, N)`, True where a patch is hidden.
            mask_token: `(1, 1, hidden)`.
            final_norm: Apply the final layer normalisation.

        Returns:
            `(B, N, hidden)`.
        """
        positions: Tensor = self.patch_embedding.get_parameter("position_embeddings")
        masked = mask_token + positions
        tokens = torch.where(hidden[..., None], masked, self._embed_masked(volume, hidden))
        return self._encode(tokens, final_norm)

    def _embed_masked(self, volume: Tensor, hidden: Tensor) -> Tensor:
        if self.settings.stem == "convolution":
            # A 3x3x3 kernel reaches into neighbouring patches, so hidden voxels are blanked first.
            volume = mask_volume(volume, hidden, self.settings.patch_size, self.settings.grid)
        return self.embed(volume)[0]

    def _encode(self, tokens: Tensor, final_norm: bool) -> Tensor:
        tokens = self._with_class_token(tokens)
        for block in self.blocks:
            tokens = self._through(block, tokens)
        tokens = self._patches_only(tokens)
        return self.norm(tokens) if final_norm else tokens

    def _through(self, block: nn.Module, tokens: Tensor) -> Tensor:
        if self.recompute and self.training:
            return checkpoint(block, tokens, use_reentrant=False)
        return block(tokens)

    def _with_class_token(self, tokens: Tensor) -> Tensor:
        if not self.settings.class_token:
            return tokens
        return torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)

    def _patches_only(self, tokens: Tensor) -> Tensor:
        return tokens[:, 1:] if self.settings.class_token else tokens
