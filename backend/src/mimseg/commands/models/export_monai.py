"""A model for programs that want MONAI's own file of weights: `monai.bundle load` and MONAI Label."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import torch

from mimseg.bundle.archive import write_zip
from mimseg.bundle.checked_folder import CHECKPOINT_FILE, HASH_FILE, list_files
from mimseg.commands.models.collection import show_model
from mimseg.networks.weights import with_weights


def export_monai(model: str, target: Path) -> Path:
    """Write a model and, beside its safetensors, the same weights as `models/model.pt`.

    Args:
        model: Name, folder or zip file.
        target: File to write, ending in `.zip`, or an existing folder in which `<name>-<version>-monai.zip` is written.

    Raises:
        UserError: There is no such model, it is damaged, or the target cannot be written.
    """
    bundle = show_model(model)
    description = bundle.description
    files = {name: path.read_bytes() for name, path in list_files(bundle.path).items()}
    files[CHECKPOINT_FILE] = _checkpoint(with_weights(description.network_settings.build(), bundle.weights_path, "cpu"))
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != HASH_FILE}
    files[HASH_FILE] = (json.dumps(dict(sorted(hashes.items())), indent=2) + "\n").encode()
    named = ((f"{description.name}/{name}", content) for name, content in sorted(files.items()))
    return write_zip(target, f"{description.name}-{description.version}-monai.zip", named)


def _checkpoint(network: torch.nn.Module) -> bytes:
    """A `state_dict` as `torch.save` writes it; `torch.load` with `weights_only` takes it."""
    stream = io.BytesIO()
    torch.save(dict(network.state_dict()), stream)
    return stream.getvalue()
