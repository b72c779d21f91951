"""What fixes the shape of a network; stored beside its weights. No torch needed to read it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from mimseg.errors import UserError

# Up-sampling factors from voxels to patches, finest first: the decoder has one stage for each.
FACTORS = {8: (2, 2, 2), 12: (2, 2, 3), 16: (2, 2, 2, 2), 24: (2, 2, 2, 3), 32: (2, 2, 2, 2, 2)}
PATCH_SIZES = tuple(FACTORS)
POSITIONS = ("learned", "sincos")
STEMS = ("patch", "convolution")


@dataclass(frozen=True)
class NetworkSettings:
    """Sizes of a UNETR. The defaults are UNETR-B/16 of the UNETR paper and MONAI.

    Attributes:
        window: Voxels along x, y, z of the crop that the network sees; multiples of `patch_size`.
        patch_size: Edge of a ViT patch in voxels: 8, 12, 16, 24 or 32.
        channels: Input channels.
        classes: Output channels, background included.
        hidden_size: Width of a token.
        mlp_size: Width of the hidden layer of the transformer's perceptrons.
        layers: Number of transformer blocks.
        heads: Attention heads; divides `hidden_size`.
        feature_size: Channels of the full-resolution convolutions; they double with each halving.
        positions: `learned` position embeddings or fixed `sincos`.
        stem: `patch` projects each patch linearly (UNETR); `convolution` reaches the tokens through strided
            3x3x3 convolutions whose feature maps also feed the skip connections.
        class_token: The encoder has one more, learned token that belongs to no patch (as MONAI's
            MaskedAutoEncoderViT); the decoder does not see it.
    """

    window: tuple[int, int, int] = (96, 96, 96)
    patch_size: int = 16
    channels: int = 1
    classes: int = 2
    hidden_size: int = 768
    mlp_size: int = 3072
    layers: int = 12
    heads: int = 12
    feature_size: int = 16
    positions: str = "learned"
    stem: str = "patch"
    class_token: bool = False

    def __post_init__(self) -> None:
        if self.patch_size not in PATCH_SIZES:
            raise UserError(f"Patch size {self.patch_size} is not supported.", f"Choose one of {PATCH_SIZES}.")
        if len(self.window) != 3 or any(edge < self.patch_size or edge % self.patch_size for edge in self.window):
            raise UserError(
                f"The window {self.window} is not made of whole patches of {self.patch_size} voxels.",
                f"Give three multiples of {self.patch_size}.",
            )
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
        if min(self.channels, self.classes, self.hidden_size, self.mlp_size, self.layers, self.feature_size) < 1:
            raise UserError(f"A size in {self} is smaller than 1.", "All sizes are positive whole numbers.")
        if self.layers < self.stages:
            raise UserError(
                f"{self.layers} transformer blocks are too few for patch size {self.patch_size}.",
                f"Use {self.stages} or more.",
            )

    @property
    def factors(self) -> tuple[int, ...]:
        """Up-sampling factors from voxels to patches, finest first: (2, 2, 3) for patch size 12."""
        return FACTORS[self.patch_size]

    @property
    def stages(self) -> int:
        """Number of decoder stages: 3 for the patch sizes 8 and 12, 4 for 16 and 24, 5 for 32."""
        return len(self.factors)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Number of patches along x, y, z."""
        x, y, z = (edge // self.patch_size for edge in self.window)
        return x, y, z

    @property
    def tokens(self) -> int:
        """Number of patches of a window."""
        x, y, z = self.grid
        return x * y * z

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {**asdict(self), "window": list(self.window)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> NetworkSettings:
        """The settings that `to_json` wrote.

        Raises:
            UserError: A key is unknown, or a value does not fit.
        """
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise UserError(
                f"The network settings have unknown entries: {', '.join(sorted(unknown))}.",
                "The model was probably made by a newer version of mimseg; update it.",
            )
        try:
            values = dict(values)
            if "window" in values:
                values["window"] = tuple(int(edge) for edge in values["window"])
            return cls(**values)
        except (TypeError, ValueError) as fault:
            raise UserError(f"The network settings are not usable ({fault}).", "The model is damaged.") from fault
