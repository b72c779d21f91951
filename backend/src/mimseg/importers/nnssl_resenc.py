"""Convolutional encoders in nnssl's format (ResEnc-L): known, and refused with the reason."""

from __future__ import annotations

from mimseg.errors import UserError
from mimseg.importers.found import Converted, Found

NAME = "nnssl-resenc"
TITLE = ""  # not among what can be imported
ANCHOR = "encoder.stem.convs.0.conv.weight"


def recognise(found: Found) -> bool:
    """Whether this is the encoder itself, not its second name inside the decoder."""
    return not found.root.endswith("decoder.")


def convert(found: Found) -> Converted:
    """Never converts.

    Raises:
        UserError: Always.
    """
    raise UserError(
        "The file holds a convolutional encoder (ResEnc-L), and mimseg has no such network.",
        "Choose a transformer such as PrimusM-OpenMind-MAE, or fine-tune this one with nnU-Net.",
        "unsupported-network",
    )
