"""Writing a model: one safetensors file with the weights, and everything that refers to it.

`models/model.safetensors` holds the weights as plain tensors; `models/model.onnx` points into it (onnx_export.py),
so OpenVINO on a CPU and torch on a GPU, called by mimseg or by MONAI, compute from the same bytes.
"""

from __future__ import annotations

import copy
import importlib.metadata
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mimseg import __version__
from mimseg.bundle.checked_folder import ONNX_FILE, WEIGHTS_FILE, Bundle, describe_folder
from mimseg.bundle.description import Description
from mimseg.bundle.documents import write_documents, write_hashes
from mimseg.bundle.folders import refuse_foreign_folder, replace_folder, temporary_sibling
from mimseg.errors import UserError

if TYPE_CHECKING:
    import torch

_LARGEST_HALF = 65504.0


def write_bundle(folder: Path, network: torch.nn.Module, description: Description, half: bool = True) -> Bundle:
    """Write a model; the folder is complete or not there.

    Args:
        folder: To create. A model that is there already is replaced, an empty folder is used.
        network: Maps `(B, C, *window)` to logits `(B, K, *window)`; stays as it is.
        description: Everything else about the model.
        half: Round the weights to float16, which halves the files; they are computed with in float32.

    Raises:
        UserError: The folder holds something else, a weight is not finite, or a package is missing.
    """
    folder = Path(folder)
    refuse_foreign_folder(folder)
    description = replace(description, versions={**_installed_versions(), **description.versions})
    with temporary_sibling(folder) as temporary:
        (temporary / WEIGHTS_FILE).parent.mkdir()
        _write_network(temporary, network, description, half)
        write_documents(temporary, description)
        write_hashes(temporary)
        describe_folder(temporary)  # raises where it could not be read again
        replace_folder(temporary, folder)
    return describe_folder(folder)


def _write_network(folder: Path, network: torch.nn.Module, description: Description, half: bool) -> None:
    from safetensors.torch import save_file

    from mimseg.bundle.onnx_export import export_onnx
    from mimseg.networks.weights import load_weights, weights_of

    network = copy.deepcopy(network).cpu().float().eval()
    tensors = {name: _stored(name, tensor, half) for name, tensor in weights_of(network).items()}
    load_weights(network, tensors)
    save_file(tensors, folder / WEIGHTS_FILE)
    os.chmod(folder / WEIGHTS_FILE, 0o644)
    window = description.window
    shape = (len(description.channels), window[0], window[1], window[2])
    export_onnx(network, shape, folder / WEIGHTS_FILE, folder / ONNX_FILE)


def _stored(name: str, tensor: torch.Tensor, half: bool) -> torch.Tensor:
    # A clone: tensors that share memory would be refused by safetensors.
    tensor = tensor.detach().clone().contiguous()
    if not tensor.is_floating_point():
        return tensor
    if not bool(tensor.isfinite().all()):
        raise UserError(
            f"The weights {name} are not finite: the training failed.",
            "Train again with a lower learning rate.",
            "bad-weights",
        )
    return tensor.half() if half and tensor.numel() and float(tensor.abs().max()) <= _LARGEST_HALF else tensor


def _installed_versions() -> dict[str, str]:
    versions = {"mimseg": __version__}
    for name, package in (("torch", "torch"), ("monai", "monai"), ("numpy", "numpy")):
        try:
            versions[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
