"""The shape of a network from its tensors; what tensors cannot tell comes from hints or is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from monai.networks.blocks.pos_embed_utils import build_sincos_position_embedding
from torch import Tensor

from mimseg.errors import UserError
from mimseg.importers.found import MONAI_ANCHOR
from mimseg.networks.settings import PATCH_SIZES
from mimseg.networks.unetr_settings import UnetrSettings

POSITIONS = f"vit.{MONAI_ANCHOR}"
KERNEL = "vit.patch_embedding.patch_embeddings.weight"
PERCEPTRON = "vit.patch_embedding.patch_embeddings.1.weight"
# Of a whole UNETR: its first and last convolution.
ENTRY, OUTPUT = "encoder1.layer.conv1.conv.weight", "out.conv.conv.weight"
# Scans have rarely more channels, which tells 16^3 voxels of one channel from 8^3 voxels of eight.
_MOST_CHANNELS = 4
# Every class of MONAI and MIM-Med3D has 12 heads by default; only ViT-B's width makes it likely that they stayed.
_VIT_B_SIZE, _VIT_B_HEADS = 768, 12


@dataclass(frozen=True)
class ShapeHints:
    """What the user or a declaration says about a network; None where nothing is said.

    Attributes:
        window: Voxels along x, y, z.
        heads: Attention heads.
        patch_size: Edge of a patch in voxels.
    """

    window: tuple[int, int, int] | None = None
    heads: int | None = None
    patch_size: int | None = None


def read_shape(tensors: Mapping[str, Tensor], hints: ShapeHints) -> tuple[UnetrSettings, list[str]]:
    """The settings that a network of these tensors has.

    Args:
        tensors: By the names of our UNETR; the patch projection may be MONAI's `conv` or `perceptron`.
        hints: What else is known.

    Returns:
        The settings, and a sentence for each assumption that was made.

    Raises:
        UserError: A part is missing, of a kind that our UNETR cannot have, or not determined.
    """
    notes: list[str] = []
    positions = _tensor(tensors, POSITIONS, 3)
    tokens, hidden_size = int(positions.shape[1]), int(positions.shape[2])
    patch_size, channels = _patch(tensors, hidden_size, hints.patch_size)
    window = _window(tokens, patch_size, hints.window, notes)
    settings = UnetrSettings(
        window=window,
        patch_size=patch_size,
        channels=channels,
        classes=len(_tensor(tensors, OUTPUT, 5)) if OUTPUT in tensors else UnetrSettings.classes,
        hidden_size=hidden_size,
        mlp_size=len(_tensor(tensors, "vit.blocks.0.mlp.linear1.weight", 2)),
        layers=len({name.split(".")[2] for name in tensors if name.startswith("vit.blocks.")}),
        heads=_heads(hidden_size, hints.heads, notes),
        feature_size=len(_tensor(tensors, ENTRY, 5)) if ENTRY in tensors else UnetrSettings.feature_size,
        class_token="vit.cls_token" in tensors,
        qkv_bias="vit.blocks.0.attn.qkv.bias" in tensors,
        positions="sincos" if _are_sincos(positions, window, patch_size) else "learned",
    )
    return settings, notes


def with_convolution(tensors: Mapping[str, Tensor], settings: UnetrSettings) -> dict[str, Tensor]:
    """The tensors with a perceptron's patch projection as the convolution that computes the same.

    MONAI's perceptron sees the voxels of a patch in x, y, z order with the channel fastest.
    """
    converted = dict(tensors)
    if PERCEPTRON in converted:
        p = settings.patch_size
        matrix = converted.pop(PERCEPTRON)
        cube = matrix.reshape(settings.hidden_size, p, p, p, settings.channels)
        converted[KERNEL] = cube.permute(0, 4, 1, 2, 3).contiguous()
        bias = converted.pop(PERCEPTRON.replace("weight", "bias"), None)
        if bias is not None:
            converted[KERNEL.replace("weight", "bias")] = bias
    return converted


def _tensor(tensors: Mapping[str, Tensor], name: str, dimensions: int) -> Tensor:
    if name not in tensors or tensors[name].dim() != dimensions:
        raise UserError(f"The file lacks {name}, or it has another shape.", "Get the file again.", "bad-weights")
    return tensors[name]


def _patch(tensors: Mapping[str, Tensor], hidden_size: int, asked: int | None) -> tuple[int, int]:
    """Patch size and channels."""
    if PERCEPTRON in tensors:
        matrix = _tensor(tensors, PERCEPTRON, 2)
        if len(matrix) != hidden_size:
            raise UserError(f"{PERCEPTRON} does not fit {POSITIONS}.", "Get the file again.", "bad-weights")
        known = int(_tensor(tensors, ENTRY, 5).shape[1]) if ENTRY in tensors else None
        return _cube(int(matrix.shape[1]), known, asked)
    kernel = tensors.get(KERNEL)
    if kernel is None or kernel.dim() != 5 or len(set(kernel.shape[2:])) != 1:
        shape = "none" if kernel is None else " x ".join(str(edge) for edge in kernel.shape[2:])
        raise UserError(
            f"The network's patches are {shape}, not cubes of voxels.",
            f"mimseg has cubic patches of {', '.join(map(str, PATCH_SIZES))} voxels.",
            "unsupported-network",
        )
    if asked not in (None, int(kernel.shape[2])):
        raise UserError(
            f"The network's patches have {kernel.shape[2]} voxels, not {asked}.", "Leave --patch-size out.", "bad-usage"
        )
    return int(kernel.shape[2]), int(kernel.shape[1])


def _cube(values: int, channels: int | None, asked: int | None) -> tuple[int, int]:
    """Patch size and channels of patches of so many values."""
    fitting = [(size, values // size**3) for size in PATCH_SIZES if values % size**3 == 0]
    if asked is not None:
        fitting = [(size, count) for size, count in fitting if size == asked]
    elif channels is not None:
        fitting = [(size, count) for size, count in fitting if count == channels]
    elif len(fitting) > 1:
        fitting = [(size, count) for size, count in fitting if count <= _MOST_CHANNELS]
    if len(fitting) != 1:
        raise UserError(
            f"Patches of {values} values can be cut in several ways, or not into cubes.",
            f"Give --patch-size, one of {', '.join(map(str, PATCH_SIZES))}.",
            "shape-unknown",
        )
    return fitting[0]


def _window(tokens: int, patch_size: int, asked: tuple[int, int, int] | None, notes: list[str]) -> tuple[int, int, int]:
    if asked is not None:
        if math.prod(edge // patch_size for edge in asked) != tokens or any(edge % patch_size for edge in asked):
            raise UserError(
                f"The window {asked} is not cut into the {tokens} patches of {patch_size} voxels that the file has.",
                f"Give the window that the network was trained with, of multiples of {patch_size}.",
                "bad-window",
            )
        return asked
    edge = round(tokens ** (1 / 3))
    if edge**3 != tokens:
        raise UserError(
            f"The file has {tokens} patches, which form no cube: it does not say the window.",
            f"Give --window, three multiples of {patch_size}, for example --window 96,96,64.",
            "shape-unknown",
        )
    notes.append(f"The window is taken to be a cube of {edge * patch_size} voxels; --window says otherwise.")
    return edge * patch_size, edge * patch_size, edge * patch_size


def _heads(hidden_size: int, asked: int | None, notes: list[str]) -> int:
    if asked is not None:
        if asked < 1 or hidden_size % asked:
            raise UserError(
                f"{asked} attention heads cannot share {hidden_size} numbers per token.",
                "Give --heads as the network was built with, a divisor of that number.",
                "bad-usage",
            )
        return asked
    if hidden_size != _VIT_B_SIZE:
        raise UserError(
            f"The file does not say how many attention heads share its {hidden_size} numbers per token.",
            "Give --heads as the network was built with; another number computes something else without any error.",
            "shape-unknown",
        )
    notes.append(f"{_VIT_B_HEADS} attention heads are assumed, as in every ViT-B; --heads says otherwise.")
    return _VIT_B_HEADS


def _are_sincos(positions: Tensor, window: tuple[int, int, int], patch_size: int) -> bool:
    if positions.shape[2] % 6:
        return False
    x, y, z = (edge // patch_size for edge in window)
    fixed = build_sincos_position_embedding([x, y, z], int(positions.shape[2]))
    return bool(torch.allclose(fixed, positions, atol=1e-5))
