"""The network on the CPU by OpenVINO, from ONNX; needs neither torch nor monai.

Profile of UNETR-B/16, 96^3, 14 classes on two AVX-512 cores (`Testing/benchmarks/inference.py --rows window` repeats
it): nine tenths of the time are convolutions and matrix products at the processor's matrix-product speed, normalisation
takes 5 %, changes of layout 3 %. OpenVINO itself turns instance normalisation and LeakyReLU into fused kernels, so the
graph is left as PyTorch exports it; what is done here is one window per call, no copies of input and output, and the
compiled network kept for the next start.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.cache import LARGEST_BYTES, Cache, cache_folder
from mimseg.errors import Stopped, UserError
from mimseg.events import Reporter
from mimseg.inference.engines.linear_head import LinearHead, split_head
from mimseg.inference.engines.openvino_import import import_openvino
from mimseg.memory import is_out_of_memory, memory_errors_named

# How often a running window looks whether the user asked to stop.
_POLL_MS = 100


def _has_bf16(core: Any) -> bool:
    """Whether OpenVINO finds 16-bit products (AVX-512 bf16, AMX) in this processor."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoEngine:
    """Runs windows one by one: on a CPU a batch is no faster, and one needs the least memory.

    Args:
        onnx_path: Network with one input `(B, C, x, y, z)` and one output `(B, K, x, y, z)`.
        threads: Processor threads; None leaves it to OpenVINO, which takes one for each physical core.
        precision: `f32`, or `bf16` for 16-bit products with 32-bit sums where the processor has them; elsewhere f32
            is used, and said; `auto` for the same without a word.
        identity: Hash of the model, by which its compiled network is kept; empty keeps nothing.
        reporter: Is told when `precision` is not available.

    Attributes:
        head: The network's last layer if it makes many classes of few features: whoever averages windows needs less
            memory for what `features` gives. None if `features` gives the logits.

    Raises:
        UserError: The network cannot be read.
        OutOfMemory: Memory ran out.
    """

    name = "openvino"
    device = "cpu"

    def __init__(
        self,
        onnx_path: Path,
        threads: int | None = None,
        precision: str = "f32",
        identity: str = "",
        reporter: Reporter | None = None,
    ) -> None:
        # Loaded here because it takes a tenth of a second that the other commands should not pay.
        openvino = import_openvino()
        self._tensor = openvino.Tensor
        core = openvino.Core()
        if precision != "f32" and not _has_bf16(core):
            if precision == "bf16":
                (reporter or Reporter()).warning("precision", "This processor has no bfloat16 arithmetic; f32 is used.")
            precision = "f32"
        elif precision == "auto":
            precision = "bf16"
        properties: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        if threads is not None:
            properties["INFERENCE_NUM_THREADS"] = threads
        with memory_errors_named("load the network"):
            try:
                compiled, self.head = _compile(core, onnx_path, properties, identity, openvino.get_version())
                self._request = compiled.create_infer_request()
            except RuntimeError as fault:
                if is_out_of_memory(fault):
                    raise
                raise UserError(
                    f"The network {onnx_path} cannot be read by OpenVINO ({_last_line(fault)}).",
                    "Import the model again, or update OpenVINO.",
                    code="model-damaged",
                ) from fault
        self.precision = precision
        self.threads = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        self._shape = tuple(compiled.output(0).shape)[1:]
        self._input: NDArray[np.float32] | None = None
        self._output: NDArray[np.float32] | None = None

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits `(B, K, x, y, z)` of windows `(B, C, x, y, z)`, both float32.

        Raises:
            OutOfMemory: Memory ran out.
            Stopped: The user asked to stop; a window takes seconds on a slow computer, so it is broken off.
        """
        outputs = self.features(batch)
        if self.head is None:
            return outputs
        with memory_errors_named("run the network"):
            return np.stack([self.head(output) for output in outputs])

    def features(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """What `head` makes logits of, `(B, F, x, y, z)`; raises as a call does."""
        with memory_errors_named("run the network"):
            # OpenVINO writes into this array itself. The references stay with the engine: a run that ends by an
            # exception in between must not leave OpenVINO writing into freed memory.
            self._output = outputs = np.empty((len(batch), *self._shape), np.float32)
            self._input = np.ascontiguousarray(batch, np.float32)
            for number in range(len(batch)):
                self._run(self._input[number : number + 1], outputs[number : number + 1])
        return outputs

    def _run(self, window: NDArray[np.float32], logits: NDArray[np.float32]) -> None:
        self._request.set_output_tensor(0, self._tensor(logits, shared_memory=True))
        self._request.start_async({0: window}, share_inputs=True)
        try:
            while not self._request.wait_for(_POLL_MS):
                if stopping.requested():
                    raise Stopped()
        except BaseException:
            self._request.cancel()
            with suppress(RuntimeError):  # It says that it was cancelled.
                self._request.wait()
            raise


def _compile(
    core: Any, onnx_path: Path, properties: dict[str, object], identity: str, version: str
) -> tuple[Any, LinearHead | None]:
    """The network compiled for one window, and its head if it was cut off; from the cache if they are there."""
    cache = Cache(cache_folder("compiled") if identity else None)
    abilities = (core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES"))
    key = (identity, version, repr(sorted(properties.items())), *map(repr, abilities))
    kept = cache.read(*key)
    if kept is not None:
        try:
            with np.load(io.BytesIO(kept)) as stored:
                head = LinearHead(stored["weight"], stored["bias"]) if "weight" in stored else None
                return core.import_model(stored["network"].tobytes(), "CPU", properties), head
        except (RuntimeError, ValueError, KeyError, OSError):
            cache.drop(*key)
    network = core.read_model(onnx_path)
    # Compiled for exactly one window, OpenVINO plans its memory ahead and runs faster.
    shape = network.input(0).partial_shape
    shape[0] = 1
    network.reshape(shape)
    head = split_head(network)
    compiled = core.compile_model(network, "CPU", properties)
    # Compiled, weights are float32, twice as large as stored: what is too large to be kept is not even exported.
    weights = sum(file.stat().st_size for file in onnx_path.parent.glob("*.safetensors"))
    if identity and 2 * weights <= LARGEST_BYTES:
        content = io.BytesIO()
        arrays = {} if head is None else {"weight": head.weight, "bias": head.bias}
        np.savez(content, network=np.frombuffer(compiled.export_model().getvalue(), np.uint8), **arrays)  # type: ignore[arg-type]
        cache.write(content.getvalue(), *key)
    return compiled, head


def _last_line(fault: Exception) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[-1] if lines else type(fault).__name__
