"""MAE and SimMIM pre-trainings of MIM-Med3D, the code of Chen et al. (WACV 2023): Lightning checkpoints.

Its fine-tuned UNETR is a copy of MONAI's and is read by `monai_unetr`.
"""

from __future__ import annotations

from mimseg.importers.found import MONAI_ANCHOR, Converted, Found, convert_names

NAME = "mim-med3d"
TITLE = "MIM-Med3D pre-training"
ANCHOR = MONAI_ANCHOR

_DECODER = "belongs to the decoder of the pre-training"
_DROPPED = {
    "patch_to_emb.": "the patch projection under a second name",
    "mask_token": _DECODER,
    "enc_to_dec.": _DECODER,
    "decoder_": _DECODER,
    "to_pixels.": _DECODER,
}
_NOTES = (
    "MIM-Med3D neither applies nor trains the encoder's final normalisation (encoder.norm) in pre-training; it is kept "
    "as it is in the file.",
)


def recognise(found: Found) -> bool:
    """Whether this is the encoder of MIM-Med3D's `MAE` or `ViTSimMIM`."""
    return found.root.endswith("encoder.") and found.beside("patch_to_emb.weight") and found.beside("to_pixels.weight")


def convert(found: Found) -> Converted:
    """The encoder by our names."""
    return convert_names(found, found.parent, {"encoder.": "vit."}, _DROPPED, notes=_NOTES)
