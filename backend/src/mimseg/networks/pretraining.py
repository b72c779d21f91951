"""What a pre-training method is: an encoder, and a loss that needs no labels.

A new method is one file beside `mae.py` with a frozen dataclass of settings and a subclass of `PretrainingNetwork`,
and one line in `methods.py`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mimseg.errors import UserError
from mimseg.networks.settings import NetworkSettings
from mimseg.networks.vit import ViT


class PretrainingNetwork(nn.Module):
    """A ViT encoder with what a method needs to train it.

    Args:
        network: Shape of the encoder.
        settings: An instance of `settings_type`.

    Attributes:
        title: The method's name for people.
        settings_type: Dataclass of the method's own settings.
        views: Crops of each volume that one step looks at.
        divisible: Whether the loss of a batch is the mean of the losses of its parts.
        encoder: What fine-tuning takes over.
    """

    title: ClassVar[str]
    settings_type: ClassVar[type]
    views: ClassVar[int] = 1
    divisible: ClassVar[bool] = True

    def __init__(self, network: NetworkSettings, settings: Any) -> None:
        super().__init__()
        self.network, self.settings = network, settings
        self.encoder = ViT(network)

    @classmethod
    def read_settings(cls, values: dict[str, Any]) -> Any:
        """The method's settings from their names and values.

        Raises:
            UserError: The method has no such setting, or a value does not fit.
        """
        known = [field.name for field in fields(cls.settings_type)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UserError(
                f"{cls.title} has no setting {', '.join(unknown)}.", f"It has {', '.join(known)}.", "bad-usage"
            )
        return cls.settings_type(**values)

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
