"""UNETR of MONAI 0.9 to 1.6, and its copies, such as the fine-tuned network of MIM-Med3D."""

from __future__ import annotations

from mimseg.importers.found import MONAI_ANCHOR, Converted, Found, convert_names

NAME = "monai-unetr"
TITLE = "MONAI UNETR"
ANCHOR = MONAI_ANCHOR


def recognise(found: Found) -> bool:
    """Whether this is the encoder of a UNETR."""
    parts = ("out.conv.conv.weight", "decoder2.transp_conv.conv.weight")
    return found.root.endswith("vit.") and any(found.beside(part) for part in parts)


def convert(found: Found) -> Converted:
    """The whole network; ours has the same names."""
    parts = ("vit.", "encoder", "decoder", "out.")
    return convert_names(found, found.parent, {part: part for part in parts}, {}, segments=True)
