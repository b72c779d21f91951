"""Move pre-trained weights into a network and say exactly what arrived."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, nn

from mimseg.errors import UserError
from mimseg.networks.positions import resize_positions
from mimseg.networks.settings import NetworkSettings

POSITIONS = "vit.patch_embedding.position_embeddings"


@dataclass
class TransferReport:
    """Names of tensors by what happened to them.

    Attributes:
        source: What the weights came from.
        loaded: Copied unchanged.
        resized: Interpolated to another grid of patches.
        skipped: In the source, but of another shape or unknown here; with the reason.
        random: In the network, but not in the source: left at their random start.
    """

    source: str
    loaded: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    random: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """One sentence for the log."""
        return (
            f"From {self.source}: {len(self.loaded)} tensors loaded, {len(self.resized)} resized, "
            f"{len(self.skipped)} skipped, {len(self.random)} left random."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, as stored in the model's provenance."""
        return asdict(self)


def transfer(
    network: nn.Module, settings: NetworkSettings, weights: dict[str, Tensor], source: NetworkSettings, name: str
) -> TransferReport:
    """Copy `weights` into `network` where name and shape agree; positions are interpolated to the new grid.

    Args:
        network: A UNETR; changed in place.
        settings: Its settings.
        weights: Tensors by the names of a UNETR (`vit.*` for the encoder).
        source: Settings of the network that the weights came from.
        name: What to call the source in the report.

    Raises:
        UserError: Not every tensor of the encoder arrived: training would silently start from random weights.
    """
    report = TransferReport(name)
    own = network.state_dict()
    merged = {}
    for key, value in weights.items():
        if key not in own:
            report.skipped[key] = "unknown in this network"
        elif key == POSITIONS and own[key].shape[-1] == value.shape[-1] and settings.grid != source.grid:
            merged[key] = resize_positions(value, source.grid, settings.grid)
            report.resized.append(key)
        elif own[key].shape != value.shape:
            report.skipped[key] = f"shape {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        else:
            merged[key] = value
            report.loaded.append(key)
    report.random = [key for key in own if key not in merged]
    missing = [key for key in report.random if key.startswith("vit.")]
    if missing:
        raise UserError(
            f"{len(missing)} of {sum(key.startswith('vit.') for key in own)} encoder tensors did not arrive from "
            f"{name}, for example {missing[0]} ({report.skipped.get(missing[0], 'not in the source')}).",
            "Pre-training and fine-tuning must use the same patch size, hidden size, layers, stem and channels.",
            code="transfer-incomplete",
        )
    network.load_state_dict(merged, strict=False)
    return report
