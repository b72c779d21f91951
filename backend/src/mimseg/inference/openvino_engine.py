"""The network on the CPU by OpenVINO, from ONNX; needs neither torch nor monai."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.errors import UserError
from mimseg.memory import is_out_of_memory, memory_errors_named


class OpenVinoEngine:
    """Runs windows one by one: on a CPU a batch is no faster, and one needs the least memory.

    Args:
        onnx_path: Network with one input `(B, C, x, y, z)` and one output `(B, K, x, y, z)`.
        threads: Processor threads; None leaves it to OpenVINO, which takes one for each physical core.

    Raises:
        UserError: The network cannot be read.
        OutOfMemory: Memory ran out.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, onnx_path: Path, threads: int | None = None) -> None:
        # Imported here because it takes a third of a second that the other commands should not pay.
        import openvino

        properties: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            properties["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        with memory_errors_named("load the network"):
            try:
                network = core.read_model(onnx_path)
                # Compiled for exactly one window, OpenVINO plans its memory ahead and runs faster.
                shape = network.input(0).partial_shape
                shape[0] = 1
                network.reshape(shape)
                compiled = core.compile_model(network, "CPU", properties)
                self._request = compiled.create_infer_request()
            except RuntimeError as fault:
                if is_out_of_memory(fault):
                    raise
                raise UserError(
                    f"The network {onnx_path} cannot be read by OpenVINO ({_last_line(fault)}).",
                    "Import the model again, or update OpenVINO.",
                    code="model-damaged",
                ) from fault
        self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits `(B, K, x, y, z)` of windows `(B, C, x, y, z)`, both float32.

        Raises:
            OutOfMemory: Memory ran out.
        """
        outputs = []
        with memory_errors_named("run the network"):
            for window in batch:
                result = self._request.infer([np.ascontiguousarray(window[None], np.float32)], share_inputs=True)
                outputs.append(np.array(result[0], np.float32))
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)


def _last_line(fault: Exception) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[-1] if lines else type(fault).__name__
