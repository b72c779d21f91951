"""Sizes of a Primus. No torch needed to read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mimseg.errors import UserError
from mimseg.networks.settings import PatchNetworkSettings

if TYPE_CHECKING:
    from torch import nn

# Patches that are halved without rest, as the light decoder needs them.
PATCH_SIZES = (8, 16, 32)
DECODERS = ("light", "unetr")


@dataclass(frozen=True)
class PrimusSettings(PatchNetworkSettings):
    """Sizes of a Primus. The defaults are Primus-S of the paper.

    Attributes:
        patch_size: Edge of a patch in voxels: 8, 16 or 32.
        hidden_size: Width of a token; a multiple of six times the number of heads.
        heads: Attention heads.
        decoder: `light` (transposed convolutions, as published), or `unetr`, the decoder of UNETR.
        feature_size: Channels of the full-resolution convolutions of the decoder `unetr`.
        layer_scale: Every branch of a block is scaled by a learned vector (LayerScale).
        attention_norm: The heads' joint output is normalised before it is projected.
        drop_path: Share of the branches left out in a training step, rising to this in the last block.
    """

    patch_size: int = 8
    hidden_size: int = 396
    heads: int = 6
    decoder: str = "light"
    feature_size: int = 16
    layer_scale: bool = True
    attention_norm: bool = True
    drop_path: float = 0.0

    name: ClassVar[str] = "primus"
    title: ClassVar[str] = "Primus"
    reference: ClassVar[str] = (
        "Wald T. et al. Primus: Enforcing Attention Usage for 3D Medical Image Segmentation. arXiv:2503.01835."
    )
    # `tiny` trains on two CPU cores; `s` and `m` are those of the paper, with its stochastic depth, and want a GPU.
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "tiny": {"hidden_size": 192, "layers": 6, "heads": 4},
        "s": {"drop_path": 0.2},
        "m": {"hidden_size": 864, "layers": 16, "heads": 12, "drop_path": 0.2},
    }
    blocks: ClassVar[str] = "vit.eva.blocks."
    norm: ClassVar[str] = "vit.eva.norm."
    position_embeddings: ClassVar[str] = "vit.eva.pos_embed"
    patch_kernel: ClassVar[str] = "vit.down_projection.proj.weight"
    entry_kernels: ClassVar[tuple[str, ...]] = (
        "vit.down_projection.proj.weight",
        "encoder1.layer.conv1.conv.weight",
        "encoder1.layer.conv3.conv.weight",
    )

    def __post_init__(self) -> None:
        if self.patch_size not in PATCH_SIZES:
            raise UserError(f"Primus has no patches of {self.patch_size} voxels.", f"Choose one of {PATCH_SIZES}.")
        super().__post_init__()
        if self.heads < 1 or self.hidden_size < 1 or self.hidden_size % (6 * self.heads):
            raise UserError(
                f"Hidden size {self.hidden_size} must be a multiple of 6 times the number of heads, {self.heads}.",
                "For example hidden size 192 with 4 heads.",
            )
        if self.decoder not in DECODERS:
            raise UserError(f"Unknown decoder {self.decoder!r}.", f"Choose one of {', '.join(DECODERS)}.")
        if self.layers < self.stages or self.feature_size < 1 or not 0 <= self.drop_path < 1:
            raise UserError(
                f"A Primus of {self.layers} blocks, feature size {self.feature_size} and drop path {self.drop_path} is "
                "not possible.",
                f"Use {self.stages} blocks or more, a positive feature size, and a share below 1.",
            )

    @property
    def stem(self) -> str:
        """How voxels become tokens: patches are projected linearly."""
        return "patch"

    @property
    def mlp_size(self) -> int:
        """Width of the gated perceptrons: 4 x 2/3 of a token's, so that their three matrices cost as much as two."""
        return int(self.hidden_size * (4 * 2 / 3))

    @property
    def output_layer(self) -> str:
        return f"up_projection.decode.{self.stages - 1}." if self.decoder == "light" else "out."

    def in_words(self) -> str:
        return (
            f"Primus with {self.layers} blocks of width {self.hidden_size}, {self.heads} heads, patch "
            f"{self.patch_size}, {self.decoder} decoder"
        )

    def build(self) -> nn.Module:
        from mimseg.networks.primus import Primus
        from mimseg.networks.unetr import UNETR

        return Primus(self) if self.decoder == "light" else UNETR(self)

    def build_encoder(self) -> nn.Module:
        from mimseg.networks.primus import PrimusEncoder

        return PrimusEncoder(self)
