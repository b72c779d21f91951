"""A model for programs that know nothing of mimseg: its ONNX network, its weights, and all around it in words."""

from __future__ import annotations

from pathlib import Path

from mimseg.bundle.archive import write_zip
from mimseg.bundle.documents.onnx_readme import onnx_readme
from mimseg.commands.models.collection import show_model


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
    texts = [
        path for path in (bundle.path / "LICENSE", *sorted((bundle.path / "docs").glob("*.txt"))) if path.is_file()
    ]
    files = {path.name: path.read_bytes() for path in (bundle.onnx_path, bundle.weights_path, *texts)}
    files["README.md"] = onnx_readme(description).encode()
    named = ((f"{description.name}-onnx/{name}", content) for name, content in sorted(files.items()))
    return write_zip(target, f"{description.name}-{description.version}-onnx.zip", named)
