"""A network's weights by name, each tensor once: some networks know the same tensor by several names."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network's `state_dict`, shared ones under their first name only."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor.detach()
    return found


def load_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load what `weights_of` returned.

    Raises:
        RuntimeError: A tensor is missing, unknown or of another shape.
    """
    missing, unknown = network.load_state_dict(weights, strict=False)
    absent = sorted(set(weights_of(network)) & set(missing))
    if absent or unknown:
        raise RuntimeError(f"missing: {absent}; unknown: {sorted(unknown)}")


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """The weights in a model's safetensors file, as float32."""
    return {name: tensor.float() for name, tensor in load_file(file).items()}


def with_weights(network: nn.Module, file: str | Path, device: torch.device | str) -> nn.Module:
    """`network` on `device` with the weights of a model's safetensors file: what `configs/inference.json` calls.

    Raises:
        RuntimeError: A tensor is missing, unknown or of another shape.
    """
    load_weights(network, read_weights(file))
    return network.to(device)
