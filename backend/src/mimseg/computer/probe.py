"""A program of its own, run in a second process: tries packages and measures speed.

A package is tried by importing the parts of it that mimseg uses, and two by a small computation: OpenVINO, and
MONAI, some of whose classes ask for further packages only when an object is made. A package that is half installed
may crash, hang or print on import; here that harms nothing. Writes one JSON object per line to standard output.
Usage: `python probe.py import NAME...` or `python probe.py speed`. It must not import mimseg: it is started by its
path.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import time
from typing import Any

# Below the packages themselves; a test compares this with what mimseg imports.
PARTS_USED = {
    "SimpleITK": (),
    "einops": ("einops.layers.torch",),
    "highdicom": (),
    "lightning_fabric": (),
    "matplotlib": ("matplotlib.backends.backend_agg", "matplotlib.figure"),
    "monai": (
        "monai.config",
        "monai.data",
        "monai.data.utils",
        "monai.losses",
        "monai.networks.blocks.dynunet_block",
        "monai.networks.blocks.patchembedding",
        "monai.networks.blocks.pos_embed_utils",
        "monai.networks.blocks.transformerblock",
        "monai.networks.blocks.unetr_block",
        "monai.networks.nets.dynunet",
        "monai.transforms",
    ),
    "numpy": ("numpy.typing",),
    "onnx": (),
    "onnxscript": (),
    "openvino": (),
    "pydicom": (),
    "safetensors": ("safetensors.torch",),
    "torch": ("torch.nn", "torch.optim.swa_utils", "torch.utils.checkpoint", "torch.utils.flop_counter"),
}


def main(arguments: list[str]) -> None:
    """Do what the first argument says."""
    # The folder of this file comes first in the search path and must not stand in for other packages.
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(os.path.abspath(__file__))]
    # As `mimseg.inference.engines.openvino_import`: OpenVINO's converter would report its use over the network.
    sys.modules["openvino.tools.ovc"] = None  # type: ignore[assignment]
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What packages print on import must not get between the lines.
    for task in [import_package(name) for name in arguments[1:]] if arguments[0] == "import" else [matrix, network]:
        output.write(json.dumps(task()) + "\n")
        output.flush()
    # Some packages crash while they are unloaded; the answer is complete, so nothing is unloaded.
    os._exit(0)


def import_package(name: str) -> Any:
    """A task that tries a package and tells how that went."""

    def task() -> dict[str, Any]:
        start = time.perf_counter()
        try:
            module = importlib.import_module(name)
            answer: dict[str, Any] = {"name": name, "version": str(getattr(module, "__version__", ""))}
            if not getattr(module, "__file__", None):
                answer["error"] = "the package's folder is there but its content is missing"
            for part in PARTS_USED.get(name, ()):
                importlib.import_module(part)
            if name in COMPUTATIONS and "error" not in answer:
                answer.update(COMPUTATIONS[name](module))
        except BaseException as fault:
            needed = re.search(r"No module named '(\w+)", str(fault))
            if needed and needed[1] in PARTS_USED and needed[1] != name:
                answer = {"name": name, "waits_for": needed[1]}
            else:
                answer = {"name": name, "error": f"{type(fault).__name__}: {fault}"[:500]}
        answer["seconds"] = round(time.perf_counter() - start, 3)
        return answer

    return task


def compute_openvino(openvino: Any) -> dict[str, Any]:
    """Compile and run the smallest network on the processor; what it returns is checked."""
    import numpy as np

    operators = importlib.import_module("openvino.opset13")
    image = operators.parameter([1, 4], np.float32)
    model = openvino.Model([operators.relu(image)], [image])
    values = np.array([[-1, 0, 1, 2]], np.float32)
    result = openvino.Core().compile_model(model, "CPU").create_infer_request().infer({0: values})[0]
    return {} if result.tolist() == [[0, 0, 1, 2]] else {"error": "it computes wrong results on this processor"}


def compute_monai(monai: Any) -> dict[str, Any]:
    """Run MONAI's parts of a transformer, some of which ask for einops only now."""
    import torch

    embedding = importlib.import_module("monai.networks.blocks.patchembedding").PatchEmbeddingBlock
    block = importlib.import_module("monai.networks.blocks.transformerblock").TransformerBlock
    with torch.no_grad():
        tokens = embedding(1, 8, 4, 12, 2, proj_type="conv", spatial_dims=3)(torch.zeros(1, 1, 8, 8, 8))
        shape = tuple(block(12, 12, 2)(tokens).shape)
    return {} if shape == (1, 8, 12) else {"error": f"its transformer returns the shape {shape}"}


def describe_torch(torch: Any) -> dict[str, Any]:
    """What PyTorch can compute on, tried out with one small sum per device."""
    answer: dict[str, Any] = {"version": torch.__version__, "cuda_build": torch.version.cuda or "", "devices": []}
    answer["hip_build"] = getattr(torch.version, "hip", None) or ""
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        names.append("mps")
    for name in names:
        device: dict[str, Any] = {"device": name}
        try:
            if name.startswith("cuda"):
                device["name"] = torch.cuda.get_device_name(name)
                device["free"], device["total"] = torch.cuda.mem_get_info(name)
            device["works"] = float((torch.ones(8, device=name) + 1).sum().cpu()) == 16.0
        except Exception as fault:
            device["works"] = False
            device["error"] = str(fault)[:300]
        answer["devices"].append(device)
    return answer


COMPUTATIONS = {
    "torch": lambda module: {"torch": describe_torch(module)},
    "openvino": compute_openvino,
    "monai": compute_monai,
}


def matrix() -> dict[str, Any]:
    """Speed of numpy's float32 matrix product, half a second."""
    try:
        import numpy as np

        size = 1024
        left, right = np.ones((size, size), np.float32), np.ones((size, size), np.float32)
        left @ right
        seconds = _best_time(lambda: left @ right, 0.4)
        return {"name": "matrix", "gflops": 2 * size**3 / seconds / 1e9}
    except BaseException as fault:
        return {"name": "matrix", "error": f"{type(fault).__name__}: {fault}"[:500]}


def network() -> dict[str, Any]:
    """Speed of a small 3D convolution in OpenVINO, half a second, and what it says of the processor."""
    try:
        import numpy as np
        import openvino as ov

        operators = importlib.import_module("openvino.opset13")
        channels, edge = 16, 48
        image = operators.parameter([1, channels, edge, edge, edge], np.float32)
        weights = operators.constant(np.full((channels, channels, 3, 3, 3), 0.01, np.float32))
        ones, zeros = [1, 1, 1], [1, 1, 1]
        result = operators.convolution(image, weights, ones, zeros, zeros, ones)
        core = ov.Core()
        request = core.compile_model(ov.Model([result], [image]), "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        data = np.ones((1, channels, edge, edge, edge), np.float32)
        request(data)
        seconds = _best_time(lambda: request(data), 0.3)
        return {
            "name": "network",
            "gflops": 2 * 27 * channels**2 * edge**3 / seconds / 1e9,
            "capabilities": list(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")),
            "devices": list(core.available_devices),
        }
    except BaseException as fault:
        return {"name": "network", "error": f"{type(fault).__name__}: {fault}"[:500]}


def _best_time(work: Any, seconds: float) -> float:
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        work()
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= end:
            return best


if __name__ == "__main__":
    main(sys.argv[1:])
