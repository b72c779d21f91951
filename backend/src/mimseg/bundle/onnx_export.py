"""A torch network as ONNX whose weights lie in the model's safetensors file.

torch's exporter built on torch.export is used (its TorchScript predecessor is deprecated, and writes negative axes
for `movedim` that OpenVINO refuses). Its optimiser stores weights of linear layers transposed; here every stored
array is traced back to the tensor it came from and replaced by: the float16 tensor as ONNX external data inside
`model.safetensors`, Cast to float32, Transpose where needed. Runtimes fold these nodes when they load the network,
so the computation is plain float32. One weights file then serves torch, OpenVINO and ONNX Runtime, and the numbers
cannot differ. What the exporter computed from weights or made itself (tables of positions, a normalisation folded
into a convolution) is none of them and stays in the `.onnx` file as float32. The window is fixed; the batch axis is
free (fixing it again in OpenVINO costs nothing).
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimseg.errors import UserError
from mimseg.installation import remedy

if TYPE_CHECKING:
    import torch
    from onnx import GraphProto, ModelProto, TensorProto

INPUT, OUTPUT = "image", "logits"
# What the network adds to the name of a tensor in the file of weights.
STORED = ".safetensors"
_LARGEST_BATCH = 64


def export_onnx(network: torch.nn.Module, shape: tuple[int, int, int, int], weights: Path, target: Path) -> None:
    """Write a network as ONNX that reads its weights from `weights`.

    Args:
        network: On the CPU, with the float32 values of exactly the tensors in `weights`.
        shape: Input channels and window, `(C, x, y, z)`.
        weights: Safetensors file of the network's `state_dict`, in the folder of `target`.
        target: The `.onnx` file to write.

    Raises:
        UserError: onnx or onnxscript is missing.
    """
    model = _exported(network, shape)
    _remove_traces(model)
    _refer_to_weights(model, network, weights)
    target.write_bytes(model.SerializeToString(deterministic=True))


def _exported(network: torch.nn.Module, shape: tuple[int, int, int, int]) -> ModelProto:
    import torch

    # Two windows: torch.export takes an axis of length one for a constant.
    example = torch.zeros(2, *shape)
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    try:
        with _quiet():
            program = torch.onnx.export(
                network.eval(),
                (example,),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch},),
            )
    except ImportError as fault:
        raise UserError(
            f"Writing a model needs the package {fault.name}.", remedy("train"), "missing-package"
        ) from fault
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    return program.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's notes about itself and absent packages are of no use to the user."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _remove_traces(model: ModelProto) -> None:
    """Drop the exporter's notes, which name files of the computer that the model was made on."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    model.doc_string = graph.doc_string = ""
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def _refer_to_weights(model: ModelProto, network: torch.nn.Module, weights: Path) -> None:
    """Replace the arrays of the graph by references into the safetensors file."""
    from onnx import helper, numpy_helper

    places = _Places(weights)
    sources = _sources(network)
    kept, nodes = [], []
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer)
        source = sources.get(_key(array)) if array.dtype == np.float32 and array.size > 1 else None
        if source is None:
            kept.append(initializer)
            continue
        name, transposed = source
        cast = f"{initializer.name}.stored" if transposed else initializer.name
        stored = places.add(name)
        nodes.append(helper.make_node("Cast", [stored], [cast], to=helper.TensorProto.FLOAT))
        if transposed:
            nodes.append(helper.make_node("Transpose", [cast], [initializer.name], perm=[1, 0]))
    _replace(model.graph, [*places.tensors.values(), *kept], nodes)


def _replace(graph: GraphProto, initializers: list[TensorProto], first_nodes: list[Any]) -> None:
    nodes = [*first_nodes, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(initializers)
    graph.node.extend(nodes)


def _sources(network: torch.nn.Module) -> dict[tuple[tuple[int, ...], bytes], tuple[str, bool]]:
    """Name of the tensor that has given values, and whether they are its transpose."""
    found: dict[tuple[tuple[int, ...], bytes], tuple[str, bool]] = {}
    for name, tensor in network.state_dict().items():
        array = tensor.detach().cpu().numpy()
        if array.dtype == np.float32:
            found.setdefault(_key(array), (name, False))
    for name, tensor in network.state_dict().items():
        array = tensor.detach().cpu().numpy()
        if array.dtype == np.float32 and array.ndim == 2:
            found.setdefault(_key(array.T), (name, True))
    return found


def _key(array: NDArray) -> tuple[tuple[int, ...], bytes]:
    return array.shape, array.tobytes()


class _Places:
    """External-data tensors that point into a safetensors file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            self._header: dict[str, Any] = json.loads(stream.read(length))
        self._start = 8 + length
        self._location = path.name
        self.tensors: dict[str, TensorProto] = {}

    def add(self, name: str) -> str:
        """Name of the graph's tensor for the file's tensor `name`."""
        from onnx import TensorProto

        stored = f"{name}{STORED}"
        if name not in self.tensors:
            entry = self._header[name]
            first, end = entry["data_offsets"]
            types = {"F16": TensorProto.FLOAT16, "F32": TensorProto.FLOAT}
            tensor = TensorProto(name=stored, data_type=types[entry["dtype"]], dims=entry["shape"])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", self._location), ("offset", self._start + first), ("length", end - first)):
                tensor.external_data.add(key=key, value=str(value))
            self.tensors[name] = tensor
        return stored
