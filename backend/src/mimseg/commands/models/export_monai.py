"""A model for programs that want MONAI's own file of weights: `monai.bundle load` and MONAI Label."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from mimseg.bundle.archive import write_zip
from mimseg.bundle.checked_folder import CHECKPOINT_FILE, Bundle, list_files
from mimseg.bundle.documents import write_hashes
from mimseg.bundle.torch_network import torch_network
from mimseg.commands.models.collection import show_model


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
    with tempfile.TemporaryDirectory(prefix="mimseg-model-") as temporary:
        folder = Path(temporary) / description.name
        shutil.copytree(bundle.path, folder)
        _write_checkpoint(bundle, folder / CHECKPOINT_FILE)
        write_hashes(folder)
        files = ((f"{description.name}/{name}", path.read_bytes()) for name, path in list_files(folder).items())
        return write_zip(target, f"{description.name}-{description.version}-monai.zip", files)


def _write_checkpoint(bundle: Bundle, path: Path) -> None:
    """A `state_dict` of the stored numbers, each tensor under every name that the network knows it by.

    MONAI loads strictly, and safetensors hold such a tensor once.
    """
    import torch
    from safetensors.torch import load_file

    stored = load_file(bundle.weights_path)
    named = torch_network(bundle).state_dict(keep_vars=True)
    first = {id(tensor): stored[name] for name, tensor in named.items() if name in stored}
    torch.save({name: first[id(tensor)] for name, tensor in named.items()}, path)
