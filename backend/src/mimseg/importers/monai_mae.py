"""Encoder of MONAI's `MaskedAutoEncoderViT`, 1.4 to 1.6."""

from __future__ import annotations

from mimseg.importers.found import MONAI_ANCHOR, Converted, Found, convert_names

NAME = "monai-mae"
TITLE = "MONAI MaskedAutoEncoderViT"
ANCHOR = MONAI_ANCHOR

_DECODER = "belongs to the decoder of the pre-training"
_DROPPED = {"decoder_": _DECODER, "mask_tokens": _DECODER}
_NOTES = ("Its class token is kept: the encoder was trained with it.",)


def recognise(found: Found) -> bool:
    """Whether this is a MaskedAutoEncoderViT."""
    return found.inside("decoder_embed.weight") and found.inside("cls_token") and bool(_blocks(found))


def convert(found: Found) -> Converted:
    """The encoder by our names: there the final normalisation is one more block."""
    renamed = {f"blocks.{max(_blocks(found))}.": "vit.norm.", "": "vit."}
    return convert_names(found, found.root, renamed, _DROPPED, notes=_NOTES)


def _blocks(found: Found) -> set[int]:
    start = f"{found.root}blocks."
    numbers = (name[len(start) :].split(".")[0] for name in found.tensors if name.startswith(start))
    return {int(number) for number in numbers if number.isdecimal()}
