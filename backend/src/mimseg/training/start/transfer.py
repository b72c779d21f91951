"""Move pre-trained weights into a network and say exactly what arrived."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from mimseg.errors import UserError
from mimseg.networks.positions import resize_positions
from mimseg.networks.settings import NetworkSettings
from mimseg.networks.weights import weights_of

# MONAI's blocks carry these although blocks without cross attention never use them (versions differ in which).
_UNUSED = re.compile(r"\.(?:norm_cross_attn|cross_attn)\.")


@dataclass
class TransferReport:
    """Names of tensors by what happened to them.

    Attributes:
        source: What the weights came from.
        encoder: What the names of the encoder's tensors begin with; empty if the network has none of its own, so that
            all of it counts.
        loaded: Copied unchanged.
        changes: Adapted to another grid of patches, patch size or number of channels; with what was done.
        dropped: In the source, but not taken over; with the reason.
        missing: Of the encoder, but not in the source: left at their random start.
        random: Of the rest of the network, likewise; by design where the source is an encoder.
    """

    source: str
    encoder: str
    loaded: list[str] = field(default_factory=list)
    changes: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    random: list[str] = field(default_factory=list)

    @property
    def resized(self) -> list[str]:
        """Names of the adapted tensors."""
        return list(self.changes)

    @property
    def encoder_counts(self) -> tuple[int, int]:
        """How many tensors of the encoder arrived, of how many that it uses."""
        names = [name for name in (*self.loaded, *self.changes) if is_used_in(name, self.encoder)]
        return len(names), len(names) + len(self.missing)

    def summary(self) -> str:
        """One sentence for the log."""
        arrived, expected = self.encoder_counts
        part = "encoder tensors" if self.encoder else "tensors"
        changes = ", ".join(f"{name.split('.')[-1]} {change}" for name, change in self.changes.items())
        parts = (
            f"{arrived} of {expected} {part} arrived",
            f"{len(self.loaded)} loaded",
            f"{len(self.changes)} resized" + (f" ({changes})" if changes else ""),
            f"{len(self.dropped)} dropped on purpose",
            f"{len(self.missing)} missing",
            f"{len(self.random)} of the decoder start at random",
        )
        return f"From {self.source}: {', '.join(parts)}."

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary, as stored in the model's provenance; what was dropped is listed by reason."""
        dropped: dict[str, list[str]] = {}
        for name, reason in self.dropped.items():
            dropped.setdefault(reason, []).append(name)
        return {
            "source": self.source,
            "loaded": self.loaded,
            "resized": self.changes,
            "dropped": dropped,
            "missing": self.missing,
            "random": self.random,
        }


def transfer(
    network: nn.Module,
    settings: NetworkSettings,
    weights: dict[str, Tensor],
    source: NetworkSettings,
    name: str,
    allow_incomplete: bool = False,
) -> TransferReport:
    """Copy `weights` into `network` where the names agree, adapted to its window, patch size and channels.

    Args:
        network: Changed in place.
        settings: Its settings.
        weights: Tensors by the names of that network.
        source: Settings of the network that the weights came from.
        name: What to call the source in the report.
        allow_incomplete: Leave what is missing of the encoder at its random start instead of refusing.

    Raises:
        UserError: Not every tensor of the encoder arrived: training would silently start from random weights.
    """
    prefix = f"{settings.encoder}." if settings.encoder else ""
    report = TransferReport(name, prefix)
    own = weights_of(network)
    merged = {}
    for key, value in weights.items():
        if key not in own:
            report.dropped[key] = _why_unknown(key, prefix)
            continue
        adapted, change = _adapt(key, value, own[key], settings, source)
        if adapted.shape != own[key].shape:
            report.dropped[key] = f"shape {tuple(value.shape)} instead of {tuple(own[key].shape)}"
            continue
        merged[key] = adapted
        if change:
            report.changes[key] = change
        else:
            report.loaded.append(key)
    for key in own.keys() - merged.keys():
        if not _UNUSED.search(key):
            (report.missing if is_used_in(key, prefix) and not _follows_task(key, settings) else report.random).append(
                key
            )
    report.missing.sort()
    report.random.sort()
    if report.missing and not allow_incomplete:
        arrived, expected = report.encoder_counts
        first = report.missing[0]
        raise UserError(
            f"{expected - arrived} of {expected} {'encoder ' if prefix else ''}tensors did not arrive from {name}, "
            f"for example {first} ({report.dropped.get(first, 'not in the source')}).",
            "Both must have the same hidden size, layers and stem. To leave the rest random, allow it explicitly with "
            "--allow-incomplete.",
            code="transfer-incomplete",
        )
    network.load_state_dict(merged, strict=False)
    return report


def is_used_in(name: str, prefix: str) -> bool:
    """Whether a tensor's name begins so, and the network uses it."""
    return name.startswith(prefix) and not _UNUSED.search(name)


def _follows_task(name: str, settings: NetworkSettings) -> bool:
    """Whether a tensor is of the last layer, which is another one for other structures."""
    return bool(settings.output_layer) and name.startswith(settings.output_layer)


def resize_kernel(kernel: Tensor, edge: int) -> Tensor:
    """Interpolate the kernels of a patch projection to another patch size.

    Trilinear, then scaled and shifted so that each kernel has the same sum as before: a constant volume gives the
    same tokens at both sizes.

    Args:
        kernel: `(out, C, p, p, p)`.
        edge: The new p.
    """
    resized = functional.interpolate(kernel.float(), size=(edge, edge, edge), mode="trilinear", align_corners=False)
    resized = resized * (kernel.shape[2] / edge) ** 3
    lost = kernel.float().sum((2, 3, 4), keepdim=True) - resized.sum((2, 3, 4), keepdim=True)
    return (resized + lost / edge**3).to(kernel.dtype)


def spread_channels(kernel: Tensor, channels: int) -> Tensor:
    """Give each of `channels` channels the mean kernel `(out, C, ...)` of the source's, times C / `channels`.

    A scan whose channels are all alike gives the same result as in the source.
    """
    old = kernel.shape[1]
    mean = kernel.mean(dim=1, keepdim=True) * (old / channels)
    return mean.expand(-1, channels, *kernel.shape[2:]).clone()


def _adapt(
    key: str, value: Tensor, target: Tensor, settings: NetworkSettings, source: NetworkSettings
) -> tuple[Tensor, str]:
    """The tensor as near to the shape of `target` as can be, and what was done."""
    if value.dim() != target.dim():
        return value, ""
    changes = []
    new, old = settings.patches, source.patches
    if key == settings.position_embeddings and new and old and new != old and value.shape[-1] == target.shape[-1]:
        if settings.fixed_positions and source.fixed_positions:
            return target, f"made anew for the grid {_times(new)}"
        value = resize_positions(value, old, new)
        changes.append(f"from the grid {_times(old)} to {_times(new)}")
    if key == settings.patch_kernel and settings.divisor != source.divisor:
        value = resize_kernel(value, settings.divisor)
        changes.append(f"from patch size {source.divisor} to {settings.divisor}")
    if key in settings.entry_kernels and value.shape[1] != target.shape[1]:
        changes.append(f"from {value.shape[1]} to {target.shape[1]} channels")
        value = spread_channels(value, target.shape[1])
    return value, ", ".join(changes)


def _why_unknown(key: str, prefix: str) -> str:
    if _UNUSED.search(key):
        return "never used without cross attention"
    if key == f"{prefix}cls_token":
        return "the network has no class token"
    return "unknown in this network"


def _times(grid: tuple[int, int, int]) -> str:
    return " x ".join(map(str, grid))
