"""Learning rates over a run and over the depth of the network, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mimseg.errors import UserError
from mimseg.networks.settings import NetworkSettings

OPTIMIZERS = ("muon", "adamw")
_WITHOUT_DECAY = ("position_embeddings", "pos_embed", "decoder_positions", "mask_token", "cls_token")


@dataclass(frozen=True)
class Schedule:
    """How the optimiser is driven, and how the weights are averaged.

    Attributes:
        learning_rate: The peak.
        weight_decay: Decoupled, for matrices and kernels.
        warmup: Share of the run with rising learning rate.
        floor: Learning rate at the end, as a share of the peak.
        betas: AdamW's.
        clip: Largest norm of the gradient; 0 for no limit.
        average: Decay of the moving average of the weights; 0 for none.
        optimizer: `muon` for matrices and kernels, with AdamW for the rest; or `adamw` for everything.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    floor: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    average: float = 0.995
    optimizer: str = "adamw"

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise UserError(
                f"Unknown optimizer {self.optimizer!r}.", f"Choose one of {', '.join(OPTIMIZERS)}.", "bad-usage"
            )
        shares = (self.warmup, self.floor, self.average)
        if self.learning_rate <= 0 or self.weight_decay < 0 or self.clip < 0 or not all(0 <= s <= 1 for s in shares):
            raise UserError(
                f"The schedule {self} is not usable.",
                "The learning rate is positive; warm-up, floor and average are shares from 0 to 1.",
                "bad-usage",
            )

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {**asdict(self), "betas": list(self.betas)}


def warmup_cosine(fraction: float, warmup: float = 0.1, floor: float = 0.01) -> float:
    """Factor on the peak learning rate: linear from 0, then half a cosine down to `floor`.

    Args:
        fraction: Finished share of the run, 0..1.
        warmup: Share of the run spent on the way up.
        floor: Factor at the end.
    """
    fraction = min(max(fraction, 0.0), 1.0)
    if fraction < warmup:
        return max(fraction / warmup, 1e-3)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (fraction - warmup) / (1 - warmup)))


def parameter_groups(
    network: nn.Module,
    peak: float,
    weight_decay: float,
    shape: NetworkSettings,
    decay: float,
    pretrained: set[str],
    optimizer: str = "adamw",
) -> list[dict]:
    """Group a network's parameters for the optimiser: lower rates deep inside what was pre-trained.

    A pre-trained parameter at depth d of D gets `peak * decay^(D - d)`; for a transformer D is the number of its blocks
    and one (layer-wise decay, Bao et al., BEiT, 2021, appendix). Everything else gets `peak`, and so does all of a
    network whose parameters have no depth. Vectors (norms, biases, positions) have no weight decay.

    Args:
        network: The network.
        peak: Highest learning rate.
        weight_decay: Decay for matrices and kernels.
        shape: Its settings, which tell the depth of a parameter.
        decay: Factor per block, in (0, 1]; 1 switches layer-wise decay off.
        pretrained: Names of the parameters that were loaded.
        optimizer: One of `OPTIMIZERS`; `muon` marks the groups of matrices and kernels.

    Returns:
        Groups for `training.muon.make_optimizer`, each with `peak_lr`.
    """
    groups: dict[tuple[float, float, bool], dict] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = 1.0
        depth = shape.depth_of(name) if name in pretrained else None
        if depth is not None:
            scale = decay ** (shape.depth - depth)
        plain = parameter.ndim < 2 or name.endswith(_WITHOUT_DECAY)
        # Muon is made for hidden layers; the output layer stays with AdamW.
        is_output = bool(shape.output_layer) and name.startswith(shape.output_layer)
        muon = optimizer == "muon" and not plain and not is_output
        key = (scale, 0.0 if plain else weight_decay, muon)
        group = groups.setdefault(
            key, {"params": [], "lr": peak * scale, "peak_lr": peak * scale, "weight_decay": key[1], "muon": muon}
        )
        group["params"].append(parameter)
    return list(groups.values())


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's rate to `factor` times its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Averaging function for `torch.optim.swa_utils.AveragedModel`: exponential, with a short memory at first."""

    @torch.no_grad()
    def update(average: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        steps = float(count)
        weight = 1 - min(decay, (1 + steps) / (10 + steps))
        for mean, value in zip(average, current, strict=True):
            mean.lerp_(value, weight)

    return update
