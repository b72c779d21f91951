"""Encoder of MONAI's `ViTAutoEnc`, 0.9 to 1.6."""

from __future__ import annotations

from mimseg.importers.found import MONAI_ANCHOR, Converted, Found, convert_names

NAME = "monai-vit-autoencoder"
TITLE = "MONAI ViTAutoEnc"
ANCHOR = MONAI_ANCHOR

_DROPPED = {"conv3d_transpose": "belongs to the decoder of the pre-training"}


def recognise(found: Found) -> bool:
    """Whether this is a ViTAutoEnc."""
    return found.inside("norm.weight") and found.inside("conv3d_transpose.weight")


def convert(found: Found) -> Converted:
    """The encoder by our names."""
    return convert_names(found, found.root, {"": "vit."}, _DROPPED)
