"""A ViT found in a file of weights, and what an importer makes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from mimseg.importers.checkpoint_file import Checkpoint

# Every ViT of MONAI and MIM-Med3D has this tensor.
MONAI_ANCHOR = "patch_embedding.position_embeddings"
_NEVER_USED = (".norm_cross_attn.", ".cross_attn.")


@dataclass(frozen=True)
class Found:
    """A ViT in a file.

    Attributes:
        tensors: All tensors of the file by their names.
        root: What the names of the encoder's tensors begin with, e.g. `state_dict.model.encoder.`.
        content: The file as it is, with what lies beside the tensors.
    """

    tensors: Mapping[str, Tensor]
    root: str
    content: Mapping[str, Any] = field(default_factory=dict)

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


def encoders_in(checkpoint: Checkpoint, anchor: str) -> list[Found]:
    """All networks in a file that have a tensor `anchor`, in the order of the file."""
    names = [name for name in checkpoint.tensors if name == anchor or name.endswith(f".{anchor}")]
    return [Found(checkpoint.tensors, name[: -len(anchor)], checkpoint.content) for name in names]


@dataclass(frozen=True)
class Converted:
    """The tensors of a file by the names of one of our networks (of UNETR's encoder `vit.*`).

    Attributes:
        tensors: By their new names, values unchanged.
        segments: It is a whole network that segments, not only an encoder.
        dropped: Names in the file of what was left out on purpose, each with the reason.
        notes: What the user should know about such weights.
    """

    tensors: dict[str, Tensor]
    segments: bool = False
    dropped: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Importer(Protocol):
    """What a module must have to be an importer.

    It may also have `read_shape(tensors, hints)`, as in `network_shape`, for a network other than UNETR, and
    `adapt(tensors, settings)`, where values must change for a network of these settings.

    Attributes:
        NAME: For the option `--source`.
        TITLE: For people.
        ANCHOR: A tensor that each such network has; what stands before it is the encoder's place in the file.
    """

    NAME: str
    TITLE: str
    ANCHOR: str

    def recognise(self, found: Found) -> bool:
        """Whether the network at this place is of this kind."""

    def convert(self, found: Found) -> Converted:
        """Its tensors by our names."""


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
