"""Which engine runs the network on which device."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.half_precision import bf16_changes_nothing
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.installation import remedy

if TYPE_CHECKING:
    from mimseg.bundle.reader import Bundle

DEVICES = ("auto", "cpu", "cuda", "mps")


class Engine(Protocol):
    """Runs a network on windows.

    Attributes:
        name: `openvino` or `torch`.
        device: `cpu`, `cuda`, `cuda:1`, `mps`.
        precision: `f32` or `bf16`.
    """

    name: str
    device: str
    precision: str

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits `(B, K, x, y, z)` of windows `(B, C, x, y, z)`, both float32."""
        ...


def open_engine(
    bundle: Bundle,
    device: str = "auto",
    engine: str = "auto",
    threads: int | None = None,
    reporter: Reporter | None = None,
    precision: str = "f32",
    gpu: int = 0,
) -> Engine:
    """Load a model's network.

    `auto` takes torch on a CUDA GPU if both are there, otherwise OpenVINO on the CPU, and torch on the CPU
    only where OpenVINO is not installed.

    Args:
        bundle: The model.
        device: One of `DEVICES`.
        engine: `auto`, `openvino` or `torch`.
        threads: Processor threads; None takes one for each physical core.
        reporter: Is told what is not available.
        precision: `f32`, or `bf16`: 16-bit products with 32-bit sums, faster where the device has them. `auto` takes
            `bf16` on a processor that has it, if it was measured to change no score of this model.
        gpu: Which CUDA GPU of this computer, for several processes that share the work.

    Raises:
        UserError: Engine and device do not go together, or are not available.
        OutOfMemory: Memory ran out.
    """
    reporter = reporter or Reporter()
    engine, device = _choose(engine, device, reporter)
    if engine == "openvino":
        from mimseg.inference.engines.openvino_engine import OpenVinoEngine

        if precision == "auto" and not bf16_changes_nothing(bundle.description.scores):
            precision = "f32"
        return OpenVinoEngine(bundle.onnx_path, threads, precision, bundle.identity, reporter)
    if not _installed("torch"):
        raise UserError(
            f"The engine torch, which --device {device} or --engine torch asks for, is not installed.",
            f"Leave the options out, or add it. {remedy('train')}",
            code="no-engine",
        )
    from mimseg.inference.engines.torch_engine import TorchEngine

    precision = "f32" if precision == "auto" else precision
    return TorchEngine(bundle, f"cuda:{gpu}" if device == "cuda" and gpu else device, threads, precision)


def _choose(engine: str, device: str, reporter: Reporter) -> tuple[str, str]:
    if engine == "openvino" and device in ("cuda", "mps"):
        raise UserError(
            f"OpenVINO does not run on {device}.", f"Use --engine torch with --device {device}.", code="no-engine"
        )
    if engine == "auto" and device == "auto":
        if _cuda_usable():
            return "torch", "cuda"
        device = "cpu"
    if engine == "auto" and device == "cpu":
        engine = "openvino"
        if not _installed("openvino"):
            if not _installed("torch"):
                raise UserError("Segmenting needs OpenVINO, which is not installed.", remedy(), code="no-engine")
            reporter.warning("engine", "OpenVINO is not installed; torch is used, which is slower on the CPU.")
            engine = "torch"
    if engine == "torch" and device == "auto":
        device = "cuda" if _cuda_usable() else "cpu"
    return ("torch" if engine == "auto" else engine), ("cpu" if device == "auto" else device)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _cuda_usable() -> bool:
    """True if torch sees a CUDA GPU; torch, slow to import, is asked only where an NVIDIA driver is installed."""
    if not _nvidia_driver_present() or not _installed("torch"):
        return False
    try:
        import torch

        return bool(torch.cuda.is_available())
    except (ImportError, OSError, RuntimeError):  # A broken torch must not keep the CPU from working.
        return False


def _nvidia_driver_present() -> bool:
    if sys.platform == "win32":
        import os

        return (Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").exists()
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()
