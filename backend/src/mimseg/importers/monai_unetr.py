"""UNETR of MONAI 0.9 to 1.6, and its copies, such as the fine-tuned network of MIM-Med3D."""

from __future__ import annotations

from mimseg.errors import UserError
from mimseg.importers.found import MONAI_ANCHOR, Converted, Found, convert_names

NAME = "monai-unetr"
TITLE = "MONAI UNETR"
ANCHOR = MONAI_ANCHOR
# In MONAI's class and its copies. What is left where the last ones are missing is a network, too, but another one.
_BLOCKS = 12


def recognise(found: Found) -> bool:
    """Whether this is the encoder of a UNETR."""
    parts = ("out.conv.conv.weight", "decoder2.transp_conv.conv.weight")
    return found.root.endswith("vit.") and any(found.beside(part) for part in parts)


def convert(found: Found) -> Converted:
    """The whole network; ours has the same names.

    Raises:
        UserError: It has not the blocks of a UNETR.
    """
    parts = ("vit.", "encoder", "decoder", "out.")
    converted = convert_names(found, found.parent, {part: part for part in parts}, {}, segments=True)
    blocks = len({name.split(".")[2] for name in converted.tensors if name.startswith("vit.blocks.")})
    if blocks != _BLOCKS:
        raise UserError(
            f"This UNETR has {blocks} transformer blocks; MONAI's has always {_BLOCKS}.",
            "The file is incomplete, or of another network: get it again.",
            "bad-weights",
        )
    return converted
