"""What a step costs, found by one small step before the run starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from mimseg import stopping
from mimseg.events import format_seconds
from mimseg.training.budget import Budget

# Weights, gradients, AdamW's two moments and the moving average, each float32.
_COPIES = 5


def _attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(
    gradient: Any, query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any
) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


# torch's counter knows the attention of GPUs only.
_CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


@dataclass(frozen=True)
class Cost:
    """Size and cost of a training.

    Attributes:
        tokens: Patches of a window; 0 for a network without.
        encoder_parameters: Trainable ones; 0 for a network without an encoder that is pre-trained.
        decoder_parameters: Trainable ones outside the encoder.
        gflop_per_step: Counted arithmetic of forward and backward pass, in 10^9.
        memory_bytes: Counted: weights, gradients, optimiser, average, and what is kept for the backward pass.
        seconds_per_step: Timed on this computer, now.
    """

    tokens: int
    encoder_parameters: int
    decoder_parameters: int
    gflop_per_step: float
    memory_bytes: int
    seconds_per_step: float

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return asdict(self)

    def of_batch(self, crops: int, seconds: float | None = None) -> Cost:
        """The cost of a step of `crops` crops, if this is that of one.

        Args:
            crops: Of a batch.
            seconds: As timed; None for `crops` times as long.
        """
        fixed = 4 * _COPIES * (self.encoder_parameters + self.decoder_parameters)
        return replace(
            self,
            gflop_per_step=float(f"{self.gflop_per_step * crops:.4g}"),
            memory_bytes=fixed + (self.memory_bytes - fixed) * crops,
            seconds_per_step=round(self.seconds_per_step * crops if seconds is None else seconds, 4),
        )

    def in_words(self, budget: Budget, device: str) -> str:
        """For the user, before the run starts."""
        expected = self.expectation(budget)
        length = (
            f"{budget.steps} steps will take about {format_seconds(budget.steps * self.seconds_per_step)}"
            if budget.steps
            else f"{budget.minutes:g} min will be enough for about {expected['expected_steps']:g} steps"
        )
        decoder = f"{self.decoder_parameters / 1e6:.2f} M"
        size = f"{self.encoder_parameters / 1e6:.2f} M parameters in the encoder, {decoder} in the decoder"
        return (
            f"{f'{self.tokens} patches; ' if self.tokens else ''}"
            f"{size if self.encoder_parameters else f'{decoder} parameters'}. A step costs "
            f"{self.gflop_per_step:.3g} GFLOP, "
            f"{self.seconds_per_step:.2g} s on {device} and about {self.memory_bytes / 1e9:.2g} GB of memory; "
            f"{length}, validation not counted."
        )

    def expectation(self, budget: Budget) -> dict[str, float]:
        """Expected minutes of a run of so many steps, or expected steps of a run of so many minutes."""
        if budget.steps:
            return {"expected_minutes": round(budget.steps * self.seconds_per_step / 60, 1)}
        return {"expected_steps": int(60 * (budget.minutes or 0) / self.seconds_per_step)}


def measure_cost(
    fabric: Fabric,
    network: nn.Module,
    encoder: nn.Module | None,
    tokens: int,
    compute_loss: Callable[[nn.Module, Any], Tensor],
    example: Any,
    share: float,
) -> Cost:
    """Count and time a step.

    Args:
        fabric: Device and precision of the run.
        network: Before training; its weights stay as they are.
        encoder: The part of `network` that is pre-trained, or None.
        tokens: Patches of a window, or 0.
        compute_loss: Loss of (network, example).
        example: A small batch on the CPU.
        share: Size of a real batch of this process divided by that of `example`.
    """
    state = torch.get_rng_state()
    network.to(fabric.device).train()
    batch = fabric.to_device(example)
    kept = _Kept(network)
    with (
        FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION) as counter,
        torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor),
    ):
        _step(fabric, network, compute_loss, batch)
    seconds = min(_timed(fabric, network, compute_loss, batch) for _ in range(2))
    torch.set_rng_state(state)
    inner, whole = _count(encoder) if encoder else 0, _count(network)
    return Cost(
        tokens,
        inner,
        whole - inner,
        float(f"{counter.get_total_flops() * share / 1e9:.4g}"),
        int(4 * _COPIES * whole + kept.bytes * share),
        round(seconds * share, 4),
    )


def time_step(
    fabric: Fabric, network: nn.Module, compute_loss: Callable[[nn.Module, Any], Tensor], example: Any
) -> float:
    """Seconds of forward and backward pass of a batch: the shorter of two, weights and random state as before."""
    state = torch.get_rng_state()
    network.to(fabric.device).train()
    batch = fabric.to_device(example)
    try:
        return min(_timed(fabric, network, compute_loss, batch) for _ in range(2))
    finally:
        torch.set_rng_state(state)
        network.zero_grad(set_to_none=True)


class _Kept:
    """Sums the memory of tensors that the backward pass needs, each storage once, without the network's weights."""

    def __init__(self, network: nn.Module) -> None:
        self._seen = {value.untyped_storage().data_ptr() for value in network.state_dict().values()}
        self._alive: list[Tensor] = []  # or a freed address could be taken for a known one
        self.bytes = 0

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self._alive.append(tensor)
            self.bytes += storage.nbytes()
        return tensor


def _step(fabric: Fabric, network: nn.Module, compute_loss: Callable, batch: Any) -> None:
    with fabric.autocast():
        loss = compute_loss(network, batch)
    loss.float().backward()
    network.zero_grad(set_to_none=True)


def _timed(fabric: Fabric, network: nn.Module, compute_loss: Callable, batch: Any) -> float:
    stopping.check()
    began = time.perf_counter()
    _step(fabric, network, compute_loss, batch)
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
