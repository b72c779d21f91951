"""Sizes of a UNETR. No torch needed to read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mimseg.errors import UserError
from mimseg.networks.settings import PatchNetworkSettings

if TYPE_CHECKING:
    from torch import nn

POSITIONS = ("learned", "sincos")
STEMS = ("patch", "convolution")


@dataclass(frozen=True)
class UnetrSettings(PatchNetworkSettings):
    """Sizes of a UNETR. The defaults are UNETR-B/16 of the UNETR paper and MONAI.

    Attributes:
        mlp_size: Width of the hidden layer of the transformer's perceptrons.
        heads: Attention heads; divides `hidden_size`.
        feature_size: Channels of the full-resolution convolutions; they double with each halving.
        positions: `learned` position embeddings or fixed `sincos`.
        stem: `patch` projects each patch linearly (UNETR); `convolution` reaches the tokens through strided
            3x3x3 convolutions whose feature maps also feed the skip connections.
        class_token: The encoder has one more, learned token that belongs to no patch (as MONAI's
            MaskedAutoEncoderViT); the decoder does not see it.
        qkv_bias: Queries, keys and values have a bias (as in timm's ViT; MONAI's has none).
    """

    mlp_size: int = 3072
    heads: int = 12
    feature_size: int = 16
    positions: str = "learned"
    stem: str = "patch"
    class_token: bool = False
    qkv_bias: bool = False

    name: ClassVar[str] = "unetr"
    title: ClassVar[str] = "UNETR"
    reference: ClassVar[str] = "Hatamizadeh A. et al. UNETR: Transformers for 3D Medical Image Segmentation. WACV 2022."
    # `small` trains in minutes on two CPU cores; `base` is UNETR-B of the papers and wants a GPU.
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {
            "window": (48, 48, 48),
            "patch_size": 8,
            "hidden_size": 192,
            "mlp_size": 320,
            "layers": 6,
            "heads": 6,
            "stem": "convolution",
        },
        "base": {},
    }
    blocks: ClassVar[str] = "vit.blocks."
    norm: ClassVar[str] = "vit.norm."
    position_embeddings: ClassVar[str] = "vit.patch_embedding.position_embeddings"
    patch_kernel: ClassVar[str] = "vit.patch_embedding.patch_embeddings.weight"
    entry_kernels: ClassVar[tuple[str, ...]] = (
        "vit.patch_embedding.patch_embeddings.weight",
        "vit.patch_embedding.stem.stages.0.0.weight",
        "encoder1.layer.conv1.conv.weight",
        "encoder1.layer.conv3.conv.weight",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.hidden_size, self.mlp_size, self.layers, self.heads, self.feature_size) < 1:
            raise UserError(f"A size in {self} is smaller than 1.", "All sizes are positive whole numbers.")
        if self.hidden_size % self.heads or self.hidden_size % 6:
            raise UserError(
                f"Hidden size {self.hidden_size} must be a multiple of 6 and of the number of heads, {self.heads}.",
                "For example hidden size 192 with 6 heads.",
            )
        if self.positions not in POSITIONS or self.stem not in STEMS:
            raise UserError(
                f"Unknown positions {self.positions!r} or stem {self.stem!r}.",
                f"Positions: {', '.join(POSITIONS)}; stem: {', '.join(STEMS)}.",
            )
        if self.layers < self.stages:
            raise UserError(
                f"{self.layers} transformer blocks are too few for patch size {self.patch_size}.",
                f"Use {self.stages} or more.",
            )

    @property
    def output_layer(self) -> str:
        return "out."

    @property
    def fixed_positions(self) -> bool:
        return self.positions == "sincos"

    def in_words(self) -> str:
        return (
            f"UNETR with {self.layers} blocks of width {self.hidden_size}, {self.heads} heads, patch "
            f"{self.patch_size}, stem “{self.stem}”"
        )

    def build(self) -> nn.Module:
        from mimseg.networks.unetr import UNETR

        return UNETR(self)

    def build_encoder(self) -> nn.Module:
        from mimseg.networks.vit import ViT

        return ViT(self)
