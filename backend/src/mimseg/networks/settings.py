"""What every network is described by; stored beside its weights. No torch needed to read it.

A new network is one file beside `unetr_settings.py` with a frozen dataclass that derives from `NetworkSettings`, or
from `PatchNetworkSettings` if it sees patches and so can be pre-trained, and one line in `table.py`. Only its method
`build` imports torch.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from mimseg.errors import UserError
from mimseg.networks.table import settings_class

if TYPE_CHECKING:
    from torch import nn

# Up-sampling factors from voxels to patches, finest first: a decoder has one stage for each.
FACTORS = {8: (2, 2, 2), 12: (2, 2, 3), 16: (2, 2, 2, 2), 24: (2, 2, 2, 3), 32: (2, 2, 2, 2, 2)}
PATCH_SIZES = tuple(FACTORS)
# The network of what was stored before there was a second one.
_FIRST_NETWORK = "unetr"


@dataclass(frozen=True)
class NetworkSettings:
    """What fixes the shape of a network; each network adds its own sizes.

    Attributes:
        window: Voxels along x, y, z of the crop that the network sees; multiples of `divisor`.
        channels: Input channels.
        classes: Output channels, background included.
        name: In `mimseg.networks.table.NETWORKS`.
        title: For people.
        reference: The paper.
        sizes: Choices of the other fields by name, the everyday one first; an empty name if there is only one.
        encoder: Attribute of the network that pre-training trains, or nothing.
        position_embeddings: Tensor `(1, patches, width)` that is interpolated where the patches are others; or nothing.
        patch_kernel: Tensor `(width, C, p, p, p)` that projects patches, which is resized where they are larger; or
            nothing.
        entry_kernels: Kernels `(out, C, x, y, z)` that see the channels of the scan.
    """

    window: tuple[int, int, int] = (96, 96, 96)
    channels: int = 1
    classes: int = 2

    name: ClassVar[str]
    title: ClassVar[str]
    reference: ClassVar[str]
    sizes: ClassVar[dict[str, dict[str, Any]]] = {"": {}}
    encoder: ClassVar[str] = ""
    position_embeddings: ClassVar[str] = ""
    patch_kernel: ClassVar[str] = ""
    entry_kernels: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if len(self.window) != 3 or any(edge < self.divisor or edge % self.divisor for edge in self.window):
            raise UserError(
                f"The window {self.window} is not made of whole patches of {self.divisor} voxels, as {self.title} "
                "needs.",
                f"Give three multiples of {self.divisor}.",
            )
        if min(self.channels, self.classes) < 1:
            raise UserError(f"A size in {self} is smaller than 1.", "All sizes are positive whole numbers.")

    @property
    def divisor(self) -> int:
        """Edges of a window are multiples of it: the edge of a patch, or all halvings together."""
        raise NotImplementedError

    @property
    def patches(self) -> tuple[int, int, int] | None:
        """Patches along x, y, z of a network whose tensors depend on them; None for others."""
        return None

    @property
    def output_layer(self) -> str:
        """What the names of the last layer's tensors begin with, or nothing."""
        return ""

    @property
    def fixed_positions(self) -> bool:
        """Whether the position embeddings are computed, not learned, and so made anew for another window."""
        return False

    @property
    def depth(self) -> int:
        """Steps of layer-wise learning rates from the voxels to the encoder's end; 0 where they do not apply."""
        return 0

    def depth_of(self, name: str) -> int | None:
        """How deep a parameter of the encoder lies, from 0 at the voxels to `depth`; None for all others."""
        return None

    def in_words(self) -> str:
        """The network and its sizes in a few words."""
        return self.title

    def build(self) -> nn.Module:
        """The network with random weights: `(B, channels, *window)` to logits `(B, classes, *window)`.

        It may have a method `recompute_activations()`, which saves memory in training by computing activations again
        in the backward pass.
        """
        raise NotImplementedError

    def encoder_of(self, network: nn.Module) -> nn.Module | None:
        """The part of a built network that pre-training trains, or None."""
        return network.get_submodule(self.encoder) if self.encoder else None

    def changed(self, **changes: Any) -> NetworkSettings:
        """These settings with others in place of some.

        Raises:
            UserError: The network has no such setting, or a value does not fit.
        """
        unknown = sorted(set(changes) - {field.name for field in fields(self)})
        if unknown:
            known = ", ".join(field.name for field in fields(self))
            raise UserError(f"{self.title} has no setting {', '.join(unknown)}.", f"It has {known}.", "bad-usage")
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, with the network's name."""
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"name": self.name, **values}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> NetworkSettings:
        """The settings that `to_json` wrote; without a name those of UNETR.

        Raises:
            UserError: The network is unknown, a key is unknown, or a value does not fit.
        """
        values = dict(values)
        kind = settings_class(str(values.pop("name", _FIRST_NETWORK)))
        unknown = set(values) - {field.name for field in fields(kind)}
        if unknown:
            raise UserError(
                f"The network settings have unknown entries: {', '.join(sorted(unknown))}.",
                "The model was probably made by a newer version of mimseg; update it.",
            )
        try:
            values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
            if "window" in values:
                values["window"] = tuple(int(edge) for edge in values["window"])
            return kind(**values)
        except (TypeError, ValueError) as fault:
            raise UserError(f"The network settings are not usable ({fault}).", "The model is damaged.") from fault


@dataclass(frozen=True)
class PatchNetworkSettings(NetworkSettings):
    """A network whose encoder, a transformer, sees a window as cubes of voxels, which pre-training can hide.

    Attributes:
        patch_size: Edge of a patch in voxels: 8, 12, 16, 24 or 32.
        hidden_size: Width of a token.
        layers: Number of transformer blocks.
        blocks: What the names of the blocks' parameters begin with, their numbers following.
        norm: What the names of the parameters of the norm after the last block begin with.
    """

    patch_size: int = 16
    hidden_size: int = 768
    layers: int = 12

    encoder: ClassVar[str] = "vit"
    blocks: ClassVar[str]
    norm: ClassVar[str]

    def __post_init__(self) -> None:
        if self.patch_size not in PATCH_SIZES:
            raise UserError(f"Patch size {self.patch_size} is not supported.", f"Choose one of {PATCH_SIZES}.")
        super().__post_init__()

    @property
    def divisor(self) -> int:
        return self.patch_size

    @property
    def factors(self) -> tuple[int, ...]:
        """Up-sampling factors from voxels to patches, finest first: (2, 2, 3) for patch size 12."""
        return FACTORS[self.patch_size]

    @property
    def stages(self) -> int:
        """Number of decoder stages: 3 for the patch sizes 8 and 12, 4 for 16 and 24, 5 for 32."""
        return len(self.factors)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Number of patches along x, y, z."""
        x, y, z = (edge // self.patch_size for edge in self.window)
        return x, y, z

    @property
    def patches(self) -> tuple[int, int, int] | None:
        return self.grid

    @property
    def tokens(self) -> int:
        """Number of patches of a window."""
        return math.prod(self.grid)

    @property
    def depth(self) -> int:
        return self.layers + 1

    def depth_of(self, name: str) -> int | None:
        if name.startswith(self.blocks):
            return int(name.removeprefix(self.blocks).split(".")[0]) + 1
        if name.startswith(self.norm):
            return self.depth
        return 0 if name.startswith(f"{self.encoder}.") else None

    def build_encoder(self) -> nn.Module:
        """The encoder alone, for pre-training: a `mimseg.networks.methods.pretraining.Encoder`."""
        raise NotImplementedError


def pretrainable(settings: NetworkSettings) -> PatchNetworkSettings:
    """The same settings, if the network can be pre-trained.

    Raises:
        UserError: It cannot.
    """
    if not isinstance(settings, PatchNetworkSettings):
        raise UserError(
            f"{settings.title} cannot be pre-trained: it does not see patches that could be hidden.",
            "Pre-train another --network, or fine-tune this one from random weights.",
            "no-encoder",
        )
    return settings


def build_network(values: dict[str, Any]) -> nn.Module:
    """The network, with random weights, of what `NetworkSettings.to_json` wrote; for MONAI's bundle configurations.

    Raises:
        UserError: The network is unknown, or its settings do not fit.
    """
    return NetworkSettings.from_json(values).build()
