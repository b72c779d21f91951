"""The network in PyTorch: on a CUDA or Apple GPU, or on the CPU as the reference. Imports torch when created."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimseg.errors import OutOfMemory, UserError
from mimseg.memory import HINT, is_out_of_memory, memory_errors_named

if TYPE_CHECKING:
    from mimseg.bundle.reader import Bundle


class TorchEngine:
    """Runs windows without gradients.

    Args:
        bundle: The model.
        device: `cpu`, `cuda` (or `cuda:1`), `mps`. A CUDA GPU that is not there becomes one that is, counted round.
        threads: Processor threads on the CPU, or None for torch's own choice.
        precision: `f32`, or `bf16` for torch's automatic mixed precision with the channels last in memory, the
            layout of the tensor cores' convolutions.

    Raises:
        UserError: The device is not there, or the weights do not fit the network.
        OutOfMemory: Memory ran out.
    """

    name = "torch"

    def __init__(self, bundle: Bundle, device: str = "cpu", threads: int | None = None, precision: str = "f32") -> None:
        import torch

        from mimseg.bundle.torch_network import torch_network

        check_device(device)
        if threads is not None:
            torch.set_num_threads(threads)
        kind, _, number = device.partition(":")
        self.device = f"cuda:{int(number) % torch.cuda.device_count()}" if kind == "cuda" and number else device
        self.precision = precision
        self._layout = torch.channels_last_3d if precision == "bf16" else torch.contiguous_format
        with memory_errors_named("load the network"):
            network: Any = torch_network(bundle).eval().to(self.device)
            self._network = network.to(memory_format=self._layout) if precision == "bf16" else network

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits `(B, K, x, y, z)` of windows `(B, C, x, y, z)`, both float32.

        Raises:
            OutOfMemory: Memory ran out, on the GPU with code `gpu-out-of-memory`.
        """
        import torch

        kind = self.device.split(":")[0]
        try:
            with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"):
                windows = torch.from_numpy(np.ascontiguousarray(batch, np.float32)).to(self.device)
                logits = self._network(windows.to(memory_format=self._layout))
                return logits.float().contiguous().cpu().numpy()
        except RuntimeError as fault:
            if not is_out_of_memory(fault):
                raise
            code = "out-of-memory" if self.device == "cpu" else "gpu-out-of-memory"
            raise OutOfMemory(f"{self.device} does not have enough memory to run the network.", HINT, code) from fault


def check_device(device: str) -> None:
    """Raise UserError unless torch can use `device`."""
    import torch

    kind = device.split(":")[0]
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "No CUDA GPU can be used.",
            "Use --device cpu, or install the CUDA build of torch; `mimseg doctor` says what is missing.",
            code="no-device",
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise UserError("No Apple GPU can be used.", "Use --device cpu.", code="no-device")
