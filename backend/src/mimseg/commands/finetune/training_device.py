"""The device of a training, said loudly: a GPU that is there but not used is a warning with the reason."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mimseg.computer.graphics import describe_graphics
from mimseg.computer.memory import describe_memory
from mimseg.computer.processor import describe_processor
from mimseg.events import Reporter


def choose_device(device: str, reporter: Reporter) -> str:
    """What `auto` means on this computer.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`; all but `auto` are the user's choice and returned as they are.
        reporter: Is warned where a GPU is there that cannot be used.
    """
    if device != "auto":
        return device
    chosen, reason = _best_device()
    if reason:
        reporter.warning("gpu-not-used", f"TRAINING RUNS ON THE CPU, which is many times slower: {reason}")
    return chosen


def device_name(device: Any) -> str:
    """What people call a `torch.device`."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    count = torch.get_num_threads()
    return f"{describe_processor().name or 'CPU'}, {count} {'thread' if count == 1 else 'threads'}"


def free_memory(device: Any) -> int | None:
    """Bytes that a training may still take on a `torch.device`; None where the system does not tell."""
    import torch

    if device.type == "cuda":
        reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + reusable
    return describe_memory().free


@lru_cache(maxsize=1)
def _best_device() -> tuple[str, str]:
    """`cuda`, `mps` or `cpu`, and why a GPU of this computer is not used."""
    import torch

    if torch.cuda.is_available():
        fault = _fault_of("cuda")
        return ("cpu", f"the GPU {torch.cuda.get_device_name(0)} fails ({fault}).") if fault else ("cuda", "")
    if torch.backends.mps.is_available():
        fault = _fault_of("mps")
        return ("cpu", f"the Apple GPU fails ({fault}).") if fault else ("mps", "")
    cards = [card.name for card in describe_graphics() if card.kind == "cuda"]
    if not cards:
        return "cpu", ""
    build = f"is built for CUDA {torch.version.cuda}, which its driver refuses" if torch.version.cuda else "has no CUDA"
    return "cpu", f"PyTorch {torch.__version__} {build}, so it cannot use {cards[0]}. See `mimseg doctor`."


def _fault_of(device: str) -> str:
    """Why a small sum on a device fails; empty if it does not."""
    import torch

    try:
        works = float((torch.ones(8, device=device) + 1).sum().cpu()) == 16.0
    except RuntimeError as fault:
        return str(fault).splitlines()[0][:200]
    return "" if works else "it computes wrong results"
