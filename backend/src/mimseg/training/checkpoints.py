"""Checkpoints that are complete or absent: written under a temporary name, flushed, then renamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mimseg.errors import UserError
from mimseg.files import replacing


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors, numbers and texts to `path` so that a kill at any moment leaves the old or the new file."""
    with replacing(path, also=(RuntimeError,)) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; tensors and plain values only, no code is run.

    Raises:
        UserError: The file is missing, damaged, or holds anything but tensors and plain values.
    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}.", "Start without --resume.", code="not-found")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # torch raises many kinds for a damaged file
        raise UserError(
            f"The checkpoint {path} cannot be read ({type(fault).__name__}).",
            "It is damaged or not a mimseg checkpoint; start again without --resume.",
            code="bad-checkpoint",
        ) from fault
