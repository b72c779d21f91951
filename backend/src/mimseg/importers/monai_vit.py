"""ViT of MONAI 0.9 to 1.6, alone or as the encoder of a network of another kind."""

from __future__ import annotations

from mimseg.importers import mim_med3d, monai_mae, monai_unetr, monai_vit_autoencoder
from mimseg.importers.found import MONAI_ANCHOR, Converted, Found, convert_names

NAME = "monai-vit"
TITLE = "MONAI ViT"
ANCHOR = MONAI_ANCHOR

_DROPPED = {"classification_head.": "classifies, which segmenting does not need"}


def recognise(found: Found) -> bool:
    """Whether this is a ViT that none of the more special importers knows."""
    special = (mim_med3d, monai_unetr, monai_mae, monai_vit_autoencoder)
    return found.inside("norm.weight") and not any(importer.recognise(found) for importer in special)


def convert(found: Found) -> Converted:
    """The encoder by our names; the class token of a classifier stays, since its blocks were trained with it."""
    return convert_names(found, found.root, {"": "vit."}, _DROPPED)
