"""The same Primus for volumes whose axes stand in reverse order: nnU-Net and nnssl see z, y, x, mimseg x, y, z."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_KERNEL, _POSITIONS = "down_projection.proj.weight", "eva.pos_embed"
_ROTATED = (".attn.q_proj.weight", ".attn.q_proj.bias", ".attn.k_proj.weight")


def reverse_axes(tensors: Mapping[str, Tensor], grid: tuple[int, int, int], heads: int) -> dict[str, Tensor]:
    """The encoder's tensors with which the transposed volume gives the same tokens, transposed.

    Patch kernels and learned positions are transposed. Each third of a head's queries and keys turns with the position
    along one axis, so the thirds change places, in queries and keys alike, which leaves their products as they were.

    Args:
        tensors: By names that end as those of `PrimusEncoder`; others are left as they are.
        grid: Patches along the axes in the order that the tensors have now.
        heads: Attention heads.
    """
    return {name: _reversed(name, value, grid, heads) for name, value in tensors.items()}


def _reversed(name: str, value: Tensor, grid: tuple[int, int, int], heads: int) -> Tensor:
    if name.endswith(_KERNEL):
        return value.permute(0, 1, 4, 3, 2).contiguous()
    if name.endswith(_POSITIONS):
        return value.reshape(1, *grid, -1).permute(0, 3, 2, 1, 4).reshape(value.shape)
    if name.endswith(_ROTATED):
        return value.reshape(heads, 3, -1, *value.shape[1:]).flip(1).reshape(value.shape)
    return value
