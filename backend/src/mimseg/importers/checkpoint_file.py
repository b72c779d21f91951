"""Reading a file of weights as tensors and plain values only; nothing in it is ever run."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimseg.bundle.checked_folder import sha256_of
from mimseg.bundle.foreign_files import ZIP_FAULTS, check_safetensors, unpacks_within_bounds
from mimseg.errors import UserError

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
_FORMATS = f"Give a file of weights, ending in {', '.join(SUFFIXES)}."
_DEEPEST = 6
_SAVE_AGAIN = (
    "In the program that made it, save the weights alone: `torch.save(network.state_dict(), FILE)`, or with "
    "safetensors. Then import that file."
)


@dataclass(frozen=True)
class Checkpoint:
    """What a file of weights holds.

    Attributes:
        tensors: Float32 tensors by their names; names of nested dictionaries are joined by dots, as in
            `state_dict.model.encoder.norm.weight`.
        content: The file as it is, with plain values such as a configuration beside the tensors.
        sha256: Of the file.
    """

    tensors: dict[str, Tensor]
    content: Mapping[str, Any]
    sha256: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a safetensors file, or what `torch.save` wrote.

    Raises:
        UserError: It is neither, holds no tensors or not finite ones, or could only be read by running code.
    """
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        check_safetensors(path)
        content: Any = load_file(path)
    else:
        content = _load(path)
    if not isinstance(content, Mapping):
        raise _refused(path, f"holds a {type(content).__name__} instead of named tensors", _SAVE_AGAIN)
    tensors = {name: tensor.float() for name, tensor in _flatten(content, path) if tensor.is_floating_point()}
    broken = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if broken or not tensors:
        fault = f"has values that are not finite ({broken[0]})" if broken else "holds no tensors"
        raise _refused(path, fault, "Give another checkpoint of that training.")
    return Checkpoint(tensors, content, sha256_of(path))


def _load(path: Path) -> Any:
    _check_archive(path)
    try:
        # The restricted unpickler: it builds tensors and plain values, and stops at everything else.
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as fault:
        needed = re.search(r"GLOBAL ([\w.]+)", str(fault))
        reason = f"can only be read by running code ({needed[1]})" if needed else "is no file of weights"
        raise _refused(path, reason, _SAVE_AGAIN, "unsafe-weights" if needed else "bad-weights") from fault
    except Exception as fault:  # A damaged file can raise anything.
        raise _refused(path, "is no file of weights, or damaged", _FORMATS) from fault


def _check_archive(path: Path) -> None:
    """Refuse programs, and zips that could fill the memory from a small file."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            bounded = unpacks_within_bounds(archive, path)
    except ZIP_FAULTS as fault:
        raise _refused(path, "is damaged", "Get it again.") from fault
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise _refused(path, "is TorchScript, which is a program", _SAVE_AGAIN, "unsafe-weights")
    if not bounded:
        raise _refused(path, "is no file of weights", _FORMATS)


def _flatten(content: Mapping, path: Path, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and depth < _DEEPEST:
            yield from _flatten(value, path, f"{name}.", depth + 1)
        elif isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu":
            if value.numel() * value.element_size() > value.untyped_storage().nbytes():
                raise _refused(path, f"has a tensor larger than what is stored of it ({name})", _SAVE_AGAIN)
            yield name, value


def _refused(path: Path, fault: str, hint: str, code: str = "bad-weights") -> UserError:
    return UserError(f"{path.name} {fault}.", hint, code)
