"""Choose arithmetic and memory layout by measuring them: processors differ, and so do versions of PyTorch.

Half precision is taken only where it is faster on this device; so are kernels with the channels last in memory, which
pay with the matrix units of new processors and cost time on others. Timings are taken in turn and the shortest count,
so that a busy computer does not decide.
"""

from __future__ import annotations

import time

import torch
from lightning_fabric import Fabric
from torch import nn

from mimseg import stopping
from mimseg.training.layout import is_channels_last, lay_out
from mimseg.training.loop import make_fabric

BF16_CPU_FLAGS = ("avx512_bf16", "amx_bf16", "amx_tile")


def fabric_in_best_precision(
    fabric: Fabric,
    device: str,
    precision: str,
    devices: int | None,
    nodes: int,
    layers: nn.Module,
    window: tuple[int, ...],
    choose_layout: bool,
) -> tuple[Fabric, str]:
    """Fabric for the asked precision, or for the fastest one if `auto` is asked.

    Args:
        fabric: The float32 one.
        device: As for `make_fabric`.
        precision: `auto` or a Fabric precision.
        devices: As for `make_fabric`.
        nodes: As for `make_fabric`.
        layers: A module to time.
        window: Its input without batch, `(C, X, Y, Z)`.
        choose_layout: On a CPU, lay its kernels out as is fastest. Not where the user named the precision: such runs
            give the same result bit for bit however busy the computer is.

    Returns:
        The fabric to use and its precision.
    """
    example = torch.randn(1, *window)
    # Processes that train together must calculate alike.
    layouts = (False, True) if choose_layout and fabric.device.type == "cpu" and fabric.world_size == 1 else (False,)
    precisions = possible_precisions(fabric.device) if precision == "auto" else (precision,)
    if len(layouts) * len(precisions) > 1:
        precision, channels_last = _timed(fabric.device, layers, example, precisions, layouts)
        lay_out(layers, channels_last)
    else:
        precision = precisions[0]
    if precision != "32-true":
        fabric = make_fabric(device, precision, devices, nodes)
    return fabric, precision


def choose_precision(device: torch.device, layers: nn.Module, example: torch.Tensor) -> str:
    """Fabric precision for `device`: `32-true` or `bf16-mixed`.

    Args:
        device: Where training will run.
        layers: A module to time; unchanged.
        example: Its input.
    """
    return fastest(device, layers, example, channels_last=False)[0]


def fastest(device: torch.device, layers: nn.Module, example: torch.Tensor, channels_last: bool) -> tuple[str, bool]:
    """Fabric precision for `device`, and whether kernels are better stored channels last.

    Args:
        device: Where training will run.
        layers: A module to time; unchanged.
        example: Its input.
        channels_last: Try that layout, too.
    """
    return _timed(device, layers, example, possible_precisions(device), (False, True) if channels_last else (False,))


def possible_precisions(device: torch.device) -> tuple[str, ...]:
    """Precisions worth trying: a CPU without bfloat16 instructions runs it a hundred times slower than float32."""
    if device.type == "mps" or (device.type == "cpu" and not _cpu_has_bf16()):
        return ("32-true",)
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return ("32-true",)
    return ("32-true", "bf16-mixed")


# Seconds of a step, forward and backward, below which nothing is worth choosing.
_QUICK = 0.05
_ROUNDS = 4


def _timed(
    device: torch.device,
    layers: nn.Module,
    example: torch.Tensor,
    precisions: tuple[str, ...],
    layouts: tuple[bool, ...],
) -> tuple[str, bool]:
    """Precision and whether channels last are faster; the plain choice unless another takes a tenth less time."""
    choices = [(precision, last) for precision in precisions for last in layouts]
    if len(choices) == 1:
        return choices[0]
    layers, example = layers.to(device), example.to(device)
    before = is_channels_last(layers)
    best: dict[tuple[str, bool], float] = {}
    try:
        for turn in range(_ROUNDS):
            # What is far behind after the first turn is not tried again: float32 may take ten times as long.
            limit = 1.5 * min(best.values(), default=float("inf"))
            for choice in choices:
                if turn and best[choice] > limit:
                    continue
                stopping.check()
                lay_out(layers, choice[1])
                seconds = _seconds(device, layers, example, choice[0])
                best[choice] = min(seconds, best.get(choice, seconds))
    finally:
        lay_out(layers, before)
    plain = choices[0]
    winner = min(best, key=lambda choice: best[choice])
    return winner if best[plain] > _QUICK and best[winner] < 0.9 * best[plain] else plain


def _cpu_has_bf16() -> bool:
    capabilities = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    if not str(capabilities).upper().startswith(("AVX512", "AMX")):
        return False
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="ignore") as stream:
            text = stream.read()
    except OSError:
        return False
    return any(flag in text for flag in BF16_CPU_FLAGS)


def _seconds(device: torch.device, layers: nn.Module, example: torch.Tensor, precision: str) -> float:
    """Seconds of one step forward and backward."""
    kind = torch.float16 if precision.startswith("16") else torch.bfloat16
    began = time.perf_counter()
    with torch.autocast(device.type, kind, enabled=not precision.startswith("32")):
        layers(example).float().mean().backward()
    if device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    layers.zero_grad(set_to_none=True)
    return seconds
