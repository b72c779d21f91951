"""Choose the arithmetic by measuring it: half precision is taken only where it is faster on this device."""

from __future__ import annotations

import time

import torch
from lightning_fabric import Fabric
from torch import nn

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
) -> tuple[Fabric, str]:
    """Fabric for the asked precision, or for the fastest one if `auto` is asked.

    Args:
        fabric: The float32 one.
        device: As for `make_fabric`.
        precision: `auto` or a Fabric precision.
        devices: As for `make_fabric`.
        nodes: As for `make_fabric`.
        layers: A module to time; unchanged.
        window: Its input without batch, `(C, X, Y, Z)`.

    Returns:
        The fabric to use and its precision.
    """
    if precision == "auto":
        precision = choose_precision(fabric.device, layers, torch.randn(1, *window))
    if precision != "32-true":
        fabric = make_fabric(device, precision, devices, nodes)
    return fabric, precision


def choose_precision(device: torch.device, layers: nn.Module, example: torch.Tensor) -> str:
    """Fabric precision for `device`.

    A CPU without bfloat16 instructions runs it a hundred times slower than float32, so it is not even tried there.

    Args:
        device: Where training will run.
        layers: A module to time; unchanged.
        example: Its input.

    Returns:
        `32-true` or `bf16-mixed`.
    """
    if device.type == "mps" or (device.type == "cpu" and not _cpu_has_bf16()):
        return "32-true"
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return "32-true"
    plain, mixed = (_seconds(device, layers, example, half) for half in (False, True))
    return "bf16-mixed" if mixed < 0.9 * plain else "32-true"


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


def _seconds(device: torch.device, layers: nn.Module, example: torch.Tensor, half: bool) -> float:
    layers, example = layers.to(device), example.to(device)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            layers(example).float().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
        layers.zero_grad(set_to_none=True)
    return best
