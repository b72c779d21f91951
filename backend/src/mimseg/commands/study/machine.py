"""The computer that a study runs on: in words, and the arithmetic that is fastest on it."""

from __future__ import annotations

from mimseg.computer.processor import describe_processor
from mimseg.networks.settings import NetworkSettings


def device_type(device: str) -> str:
    """`cpu`, `cuda` or `mps`."""
    from mimseg.training.loop import make_fabric

    return make_fabric(device).device.type


def describe_machine(device: str) -> str:
    """Such as `NVIDIA H200` or `AMD EPYC 9B14, 1 thread`; names no person and no computer."""
    import torch

    if device_type(device) == "cuda":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    name = f"{describe_processor().name}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{name}, Apple GPU" if device_type(device) == "mps" else name


def choose_precision_once(device: str, precision: str, network: NetworkSettings) -> str:
    """The asked precision, or for `auto` the faster one: chosen once, so that all runs calculate alike."""
    if precision != "auto":
        return precision
    import torch

    from mimseg.training.loop import make_fabric
    from mimseg.training.precision import choose_precision

    return choose_precision(make_fabric(device).device, network.build(), torch.randn(1, 1, *network.window))
