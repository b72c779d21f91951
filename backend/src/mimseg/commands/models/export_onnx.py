"""A model for programs that know nothing of mimseg: its ONNX network, its weights, and all around it in words."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

from mimseg.bundle.onnx_readme import onnx_readme
from mimseg.commands.models.collection import show_model
from mimseg.errors import UserError
from mimseg.files import replacing


def export_onnx(model: str, target: Path) -> Path:
    """Write `model.onnx` with its weights, README.md and licences as one zip file.

    Args:
        model: Name, folder or zip file.
        target: File to write, ending in `.zip`, or an existing folder in which `<name>-<version>-onnx.zip` is written.

    Raises:
        UserError: There is no such model, it is damaged, or the target cannot be written.
    """
    bundle = show_model(model)
    description = bundle.description
    if target.is_dir():
        target = target / f"{description.name}-{description.version}-onnx.zip"
    if target.suffix.lower() != ".zip":
        raise UserError(f"{target} does not end in .zip.", "Choose a name that does.", "bad-name")
    texts = [
        path for path in (bundle.path / "LICENSE", *sorted((bundle.path / "docs").glob("*.txt"))) if path.is_file()
    ]
    files = {path.name: path.read_bytes() for path in (bundle.onnx_path, bundle.weights_path, *texts)}
    files["README.md"] = onnx_readme(description).encode()
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            # A fixed date: the same model gives the same file.
            entry = zipfile.ZipInfo(f"{description.name}-onnx/{name}", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content)
    return target
