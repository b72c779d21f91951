"""A ViT found in a file of weights, and what an importer makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

# Every ViT of MONAI and MIM-Med3D has this tensor; what stands before it is the encoder's place in the file.
ANCHOR = "patch_embedding.position_embeddings"
_NEVER_USED = (".norm_cross_attn.", ".cross_attn.")


@dataclass(frozen=True)
class Found:
    """A ViT in a file.

    Attributes:
        tensors: All tensors of the file by their names.
        root: What the names of the encoder's tensors begin with, e.g. `state_dict.model.encoder.`.
    """

    tensors: Mapping[str, Tensor]
    root: str

    @property
    def parent(self) -> str:
        """What the names of the network begin with that the encoder is an attribute of: `state_dict.model.`."""
        return self.root[: self.root[:-1].rfind(".") + 1]

    def inside(self, name: str) -> bool:
        """Whether the encoder itself has a tensor of this name."""
        return self.root + name in self.tensors

    def beside(self, name: str) -> bool:
        """Whether the network around the encoder has a tensor of this name."""
        return self.parent + name in self.tensors


def encoders_in(tensors: Mapping[str, Tensor]) -> list[Found]:
    """All ViTs in a file, in the order of the file."""
    return [Found(tensors, name[: -len(ANCHOR)]) for name in tensors if name == ANCHOR or name.endswith(f".{ANCHOR}")]


@dataclass(frozen=True)
class Converted:
    """The tensors of a file by the names of our UNETR (`vit.*` for the encoder), values unchanged.

    Attributes:
        tensors: By their new names.
        segments: It is a whole UNETR, not only an encoder.
        dropped: Names in the file of what was left out on purpose, each with the reason.
        notes: What the user should know about such weights.
    """

    tensors: dict[str, Tensor]
    segments: bool = False
    dropped: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def convert_names(
    found: Found,
    base: str,
    renamed: Mapping[str, str],
    dropped: Mapping[str, str],
    segments: bool = False,
    notes: tuple[str, ...] = (),
) -> Converted:
    """Rename the tensors of a network.

    Args:
        found: Where it is.
        base: What the names of all its tensors begin with.
        renamed: New beginnings of names by old ones, after `base`; the first that fits is taken.
        dropped: Beginnings of names that are left out, with the reason; looked at first.
        segments: See `Converted`.
        notes: See `Converted`.
    """
    tensors: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    elsewhere: Counter[str] = Counter()
    for full, tensor in found.tensors.items():
        name = full[len(base) :] if full.startswith(base) else ""
        reason = next((why for start, why in dropped.items() if name.startswith(start)), "")
        if any(part in name for part in _NEVER_USED):
            reason = "never used without cross attention"
        start = next((start for start in renamed if name.startswith(start)), None)
        if reason:
            left_out[name] = reason
        elif name and start is not None:
            tensors[renamed[start] + name[len(start) :]] = tensor
        else:
            elsewhere[full.split(".")[0]] += 1
    left_out.update({f"{top}.*": f"{count} tensors of something else" for top, count in elsewhere.items()})
    return Converted(tensors, segments, left_out, notes)
