"""What the encoder of a model makes of a scan: the tokens behind its last normalisation, without PyTorch.

A bundle's ONNX network gives logits only. Its encoder's last tensor is found by its shape, never by its name: of all
inner tensors `(1, tokens, hidden)` the one that the most operations lead to, because everything after it has the
decoder's shape. It becomes a second output of the same compiled network, so features cost nothing beside logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.reader import Bundle
from mimseg.errors import UserError
from mimseg.inference.engines.openvino_import import import_openvino
from mimseg.memory import is_out_of_memory, memory_errors_named
from mimseg.networks.settings import PatchNetworkSettings

if TYPE_CHECKING:
    import openvino


class FeatureEngine:
    """A model's network on the CPU that also collects the encoder's tokens; an engine like `OpenVinoEngine`.

    Args:
        bundle: The model.
        threads: Processor threads; None leaves it to OpenVINO.

    Attributes:
        name: `openvino`.
        device: `cpu`.
        precision: `f32`.

    Raises:
        UserError: The network cannot be read (`model-damaged`), or no tensor in it has the shape of the encoder's
            tokens (`no-features`).
        ImportError: OpenVINO is not installed.
        OutOfMemory: Memory ran out.
    """

    name = "openvino"
    device = "cpu"
    precision = "f32"

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        # Loaded here because it takes a tenth of a second that the other commands should not pay.
        openvino = import_openvino()
        properties: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads is not None:
            properties["INFERENCE_NUM_THREADS"] = threads
        settings = bundle.description.network_settings
        if not isinstance(settings, PatchNetworkSettings):
            raise UserError(
                f"The model {bundle.description.name} is a {settings.title}, which sees no patches.",
                "Rank with a model of a network that does, such as UNETR.",
                code="no-features",
            )
        with memory_errors_named("load the network"):
            try:
                core = openvino.Core()
                network = core.read_model(bundle.onnx_path)
                shape = network.input(0).partial_shape
                shape[0] = 1
                network.reshape(shape)
                tokens = find_tokens(network, settings.tokens, settings.hidden_size)
                if tokens is not None:
                    network.add_outputs(tokens)
                    self._request = core.compile_model(network, "CPU", properties).create_infer_request()
            except RuntimeError as fault:
                if is_out_of_memory(fault):
                    raise
                raise UserError(
                    f"The network of the model {bundle.description.name} cannot be read by OpenVINO.",
                    "Import the model again, or update OpenVINO.",
                    code="model-damaged",
                ) from fault
        if tokens is None:
            raise UserError(
                f"The network of the model {bundle.description.name} has no tensor of {settings.tokens} tokens of "
                f"width {settings.hidden_size}.",
                "Train or import the model again with this mimseg.",
                code="no-features",
            )
        self._sum: NDArray[np.float64] = np.zeros(settings.hidden_size)
        self._windows = 0

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits `(B, K, x, y, z)` of windows `(B, C, x, y, z)`, both float32; their tokens are added up.

        Raises:
            OutOfMemory: Memory ran out.
        """
        outputs = []
        with memory_errors_named("run the network"):
            for window in batch:
                result = self._request.infer([np.ascontiguousarray(window[None], np.float32)], share_inputs=True)
                outputs.append(np.array(result[0], np.float32))
                self._sum += np.asarray(result[1], np.float64)[0].mean(axis=0)
                self._windows += 1
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def take(self) -> NDArray[np.float32]:
        """Mean token `(hidden,)` of all windows since the last call; zeros if there was none."""
        mean = (self._sum / max(1, self._windows)).astype(np.float32)
        self._sum[:], self._windows = 0, 0
        return mean


def find_tokens(network: openvino.Model, tokens: int, hidden_size: int) -> openvino.Output | None:
    """The deepest inner tensor `(1, tokens, hidden_size)` of a network, or None if it has none.

    Depth is the longest way from an input. The branches that lead tokens on to the decoder transpose them first.
    """
    depths: dict[str, int] = {}
    best: tuple[int, Any] | None = None
    for node in network.get_ordered_ops():
        before = [depths[node.input_value(index).get_node().get_name()] for index in range(node.get_input_size())]
        depth = depths[node.get_name()] = 1 + max(before, default=0)
        if node.get_type_name() in ("Constant", "Parameter", "Result"):
            continue
        for output in node.outputs():
            shape = output.get_partial_shape()
            if shape.is_static and tuple(shape.to_shape()) == (1, tokens, hidden_size):
                best = (depth, output) if best is None or depth >= best[0] else best
    return None if best is None else best[1]
