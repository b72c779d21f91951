"""What a pre-training method is: an encoder, and a loss that needs no labels.

A new method is one file beside `mae.py` with a frozen dataclass of settings and a subclass of `PretrainingNetwork`,
and one line in `methods.py`; `pretrain`, `study` and the panel offer it then.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from mimseg.errors import UserError
from mimseg.networks.settings import PatchNetworkSettings


class Encoder(Protocol):
    """What methods ask of an encoder that `build_encoder` returns, an `nn.Module`.

    Attributes:
        settings: Its shape, with `hidden_size`, `patch_size`, `grid` and `tokens`.
        norm: The final normalisation of the tokens.
        recompute: Whether activations are computed again in the backward pass.
    """

    settings: Any
    norm: nn.Module
    recompute: bool

    def __call__(self, volume: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """`(B, C, X, Y, Z)` to normalised tokens `(B, N, hidden)`, tokens after each block, and feature maps."""

    def encode_visible(self, volume: Tensor, hidden: Tensor, final_norm: bool = True) -> Tensor:
        """Visible patches alone, `(B, visible, hidden)`; `hidden`: `(B, N)`, True where hidden."""

    def encode_masked(self, volume: Tensor, hidden: Tensor, mask_token: Tensor, final_norm: bool = True) -> Tensor:
        """All patches, hidden ones as `mask_token` `(1, 1, hidden)`: `(B, N, hidden)`."""


class PretrainingNetwork(nn.Module):
    """An encoder with what a method needs to train it.

    Args:
        network: Whose encoder, in which shape.
        settings: An instance of `settings_type`.

    Attributes:
        settings_type: Dataclass of the method's own settings.
        views: Crops of each volume that one step looks at.
        divisible: Whether the loss of a batch is the mean of the losses of its parts.
        encoder: What fine-tuning takes over.
    """

    settings_type: ClassVar[type]
    views: ClassVar[int] = 1
    divisible: ClassVar[bool] = True

    def __init__(self, network: PatchNetworkSettings, settings: Any) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.encoder: Any = network.build_encoder()

    def draw_mask(self, crops: int, generator: torch.Generator) -> Tensor | None:
        """What is hidden in one step: `(crops, N)`, True where a patch is hidden; None if nothing is.

        Args:
            crops: Number of crops, views included.
            generator: Source of randomness on the CPU; the same state gives the same mask.
        """
        return None

    def forward(self, crops: Tensor, hidden: Tensor | None) -> Tensor:
        """Loss of a batch, a scalar.

        Args:
            crops: `(views * B, C, X, Y, Z)`: the first view of every volume, then the second, and so on.
            hidden: As drawn by `draw_mask`.
        """
        raise NotImplementedError

    def recompute_activations(self) -> None:
        """Save memory: activations of the encoder's transformer are computed again in the backward pass."""
        self.encoder.recompute = True

    def after_step(self, step: int, done: float) -> None:
        """Called after every step of the optimiser, for what it does not change, such as a moving-average teacher.

        Such parameters take no gradient (`requires_grad_(False)`); they are kept in checkpoints like all others.

        Args:
            step: Number of the step, from 1.
            done: Share of the run that was done before this step, 0 to 1.
        """

    def advice(self, batch: int) -> str:
        """A warning to the user about `batch` volumes per step, or nothing."""
        return ""

    def _freeze_unused(self, encoder_norm: bool = True) -> None:
        """Switch gradients off that never come: distributed training would wait for them."""
        for name, parameter in self.named_parameters():
            if "norm_cross_attn" in name:  # MONAI's blocks carry a norm for cross attention
                parameter.requires_grad_(False)
        if not encoder_norm:
            self.encoder.norm.requires_grad_(False)


def check_choice(value: str, name: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not among `choices`.

    Raises:
        UserError: It is not.
    """
    if value not in choices:
        raise UserError(f"Unknown {name} {value!r}.", f"Choose one of {', '.join(choices)}.", "bad-usage")
