"""Primus encoders in the checkpoint format of nnssl, which OpenMind, SSL3D and nnFoundation are published in.

The names are those of `dynamic_network_architectures`; the axes are z, y, x there and x, y, z here. What surrounds
the encoder in a pre-training (decoders, mask tokens) is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from mimseg.errors import UserError
from mimseg.importers.found import Converted, Found, convert_names
from mimseg.importers.network_shape import ShapeHints
from mimseg.networks.axis_order import reverse_axes
from mimseg.networks.primus_settings import PrimusSettings

NAME = "nnssl"
TITLE = "nnssl's Primus"
ANCHOR = "eva.pos_embed"

_DECODER = "belongs to the decoder of the pre-training"
_DROPPED = {
    "up_projection.": _DECODER,
    "decoder": _DECODER,
    "mask_token": _DECODER,
    "eva.rope.": "computed from the window",
}
_POSITIONS, _KERNEL = "vit.eva.pos_embed", "vit.down_projection.proj.weight"
# Of the published sizes, for files without a plan that says it; the tensors do not tell the heads.
_HEADS = {396: 6, 792: 12, 864: 12, 1056: 16}


def recognise(found: Found) -> bool:
    """Whether this is a Primus."""
    return found.inside("down_projection.proj.weight") and found.inside("eva.blocks.0.attn.q_proj.weight")


def convert(found: Found) -> Converted:
    """The encoder by our names."""
    if found.inside("register_tokens"):
        raise UserError(
            "This Primus has register tokens, which mimseg's has not.",
            "Choose weights without them, such as OpenMind's or nnFoundation's.",
            "unsupported-network",
        )
    return convert_names(found, found.root, {"down_projection.": "vit.down_projection.", "eva.": "vit.eva."}, _DROPPED)


def read_shape(tensors: Mapping[str, Tensor], hints: ShapeHints) -> tuple[PrimusSettings, list[str]]:
    """The settings of a Primus with these tensors, and what was assumed.

    Raises:
        UserError: The tensors are damaged, or do not say the window or the heads.
    """
    notes: list[str] = []
    positions, kernel = tensors.get(_POSITIONS), tensors.get(_KERNEL)
    if positions is None or kernel is None or positions.dim() != 3 or kernel.dim() != 5:
        raise UserError("The file lacks the positions or the patch kernel of a Primus.", "Get it again.", "bad-weights")
    tokens, width, edge = int(positions.shape[1]), int(positions.shape[2]), int(kernel.shape[2])
    heads = hints.heads or _HEADS.get(width)
    if heads is None:
        raise UserError(
            f"The file does not say how many attention heads share its {width} numbers per token.",
            "Give --heads as the network was built with; another number computes something else without any error.",
            "shape-unknown",
        )
    if hints.heads is None:
        notes.append(f"{heads} attention heads are assumed, as in the published Primus of this width.")
    settings = PrimusSettings(
        window=_window(tokens, edge, hints.window, notes),
        channels=int(kernel.shape[1]),
        classes=1,
        patch_size=edge,
        hidden_size=width,
        layers=len({name.split(".")[3] for name in tensors if name.startswith("vit.eva.blocks.")}),
        heads=heads,
        layer_scale="vit.eva.blocks.0.gamma_1" in tensors,
        attention_norm="vit.eva.blocks.0.attn.norm.weight" in tensors,
    )
    return settings, notes


def adapt(tensors: Mapping[str, Tensor], settings: PrimusSettings) -> dict[str, Tensor]:
    """The same encoder for axes in our order."""
    x, y, z = settings.grid
    return reverse_axes(tensors, (z, y, x), settings.heads)


def _window(tokens: int, edge: int, asked: tuple[int, int, int] | None, notes: list[str]) -> tuple[int, int, int]:
    if asked is not None and math.prod(length // edge for length in asked) == tokens:
        return asked
    side = round(tokens ** (1 / 3))
    if asked is not None or side**3 != tokens:
        raise UserError(
            f"The file has {tokens} patches of {edge} voxels, which the window {asked or 'of a cube'} has not.",
            "Give --window x,y,z as the network was trained with.",
            "bad-window",
        )
    notes.append(f"The window is taken to be a cube of {side * edge} voxels; --window says otherwise.")
    return side * edge, side * edge, side * edge
