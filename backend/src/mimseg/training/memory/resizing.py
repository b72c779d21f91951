"""Going on from a checkpoint with another window: what belongs to patches is resized, everything else is kept."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from mimseg.networks.positions import resize_positions

Grid = tuple[int, int, int]


def fit_checkpoint(content: dict[str, Any], network: nn.Module, groups: list[dict], grid: Grid | None) -> bool:
    """Change a checkpoint of `training.loop` in place so that it fits a network with another grid of patches.

    Learned position embeddings are interpolated as in `training.transfer`, with their averages and with AdamW's
    moments of them; fixed ones are those of `network`.

    Args:
        content: With the `grid` that it was saved with.
        network: The one that goes on.
        groups: Its parameter groups, in the order in which the optimiser numbers the parameters.
        grid: Its patches along x, y, z.

    Returns:
        Whether anything had to be changed.
    """
    old = content.get("grid")
    if old is None or grid is None or tuple(old) == tuple(grid):
        return False
    own = network.state_dict()
    learned = {name for name, parameter in network.named_parameters() if parameter.requires_grad}

    def fit(name: str, value: Tensor) -> Tensor:
        target = own.get(name.removeprefix("module."))
        if target is None or target.shape == value.shape:
            return value
        return _resized(value, target, tuple(old), grid) if name.removeprefix("module.") in learned else target.clone()

    for key in ("network", "average", "best"):
        content[key] = {name: fit(name, value) for name, value in content[key].items()}
    parameters = [parameter for group in groups for parameter in group["params"]]
    for number, moments in content["optimizer"]["state"].items():
        target = parameters[number]
        for key, value in moments.items():
            if isinstance(value, Tensor) and value.ndim and value.shape != target.shape:
                moments[key] = _resized(value, target, tuple(old), grid)
    return True


def _resized(value: Tensor, target: Tensor, old: Grid, new: Grid) -> Tensor:
    """`(1, N, hidden)` on the new grid; zeros for what is no embedding of positions."""
    if value.ndim == 3 and value.shape[1] == math.prod(old) and target.shape[1] == math.prod(new):
        return resize_positions(value, old, new).contiguous()
    return target.detach().new_zeros(target.shape)
