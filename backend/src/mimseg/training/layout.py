"""The order of kernels in memory, which decides how fast convolutions are, not what they compute."""

from __future__ import annotations

import torch
from torch import nn


def lay_out(network: nn.Module, channels_last: bool) -> None:
    """Store the kernels `(out, in, X, Y, Z)` of a network with the input channels innermost in memory, or outermost.

    Values and shapes stay; activations follow the kernels.
    """
    wanted = torch.channels_last_3d if channels_last else torch.contiguous_format
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.contiguous(memory_format=wanted)


def is_channels_last(network: nn.Module) -> bool:
    """Whether `lay_out` has put the channels last."""
    kernels = (each for each in network.parameters() if each.ndim == 5 and not each.is_contiguous())
    return any(each.is_contiguous(memory_format=torch.channels_last_3d) for each in kernels)
