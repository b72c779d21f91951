"""Say clearly when the training runtime is not installed."""

from __future__ import annotations

from importlib.util import find_spec

from mimseg.errors import UserError
from mimseg.installation import remedy

TRAINING_PACKAGES = ("torch", "monai", "einops", "lightning_fabric", "safetensors", "onnx", "onnxscript", "matplotlib")


def need_training_runtime() -> None:
    """Check that the packages of the extra `train` are there.

    Raises:
        UserError: naming what is missing and how to install it.
    """
    missing = [name for name in TRAINING_PACKAGES if find_spec(name) is None]
    if missing:
        raise UserError(
            f"Training needs packages that are not installed: {', '.join(missing)}.",
            f"{remedy('train')} `mimseg doctor` shows the details.",
            code="training-runtime-missing",
        )
