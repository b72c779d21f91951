"""A network that mimseg does not know: what a newcomer would write, one file; the tests add its line to the table.

Its export holds arrays that are none of its weights: one is computed from two of them, one from none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mimseg.networks.settings import NetworkSettings

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TwoConvolutionsSettings(NetworkSettings):
    width: int = 8

    name: ClassVar[str] = "two-convolutions"
    title: ClassVar[str] = "Two Convolutions"
    reference: ClassVar[str] = "Nobody. Two convolutions suffice. 2026."

    @property
    def divisor(self) -> int:
        return 4

    def build(self) -> nn.Module:
        import torch
        from torch import nn

        class TwoConvolutions(nn.Module):
            def __init__(self, settings: Any) -> None:
                super().__init__()
                self.first = nn.Conv3d(settings.channels, settings.width, 3, padding=1)
                self.normalisation = nn.BatchNorm3d(settings.width)
                self.scale = nn.Parameter(torch.rand(settings.width) + 1)
                self.last = nn.Conv3d(settings.width, settings.classes, 3, padding=1)
                ramp = torch.linspace(-1, 1, settings.window[0])[:, None, None].expand(settings.window)
                self.register_buffer("ramp", ramp.clone(), persistent=False)

            def forward(self, volume: Any) -> Any:
                kernel = self.first.weight * self.scale[:, None, None, None, None]
                hidden = torch.conv3d(volume, kernel, self.first.bias, padding=1)
                return self.last(torch.relu(self.normalisation(hidden)) + self.ramp)

        return TwoConvolutions(self)
