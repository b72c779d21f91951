"""Scaling of voxel values: a CT window, percentiles of CT foreground, or the z-score of MR foreground."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimseg.errors import UserError

KINDS = ("window", "percentile", "zscore", "robust")
# z-scores are cut at this many standard deviations: one bright vessel or metal must not set the scale.
ZSCORE_LIMIT = 5.0
# `robust` takes a scan for CT if so many of its voxels are air in HU; percentiles come from so many voxels.
AIR_BELOW, AIR_SHARE, SAMPLED_VOXELS = -500.0, 0.01, 1_000_000
# CT in HU nearly always shows air or fat. A low value just below 0 is interpolation's overshoot in any scan.
HIGHEST_CT_MINIMUM = -50.0
# A few dead voxels are no air, and what no air is as dark as fills corners that the scanner did not see.
_LOW_PERCENT, _PADDING = 0.1, -1500.0
# HU between padding and the darkest voxels that a scanner saw.
_GAP = 500.0

# MR with an offset far below 0 spreads over what is darker than air; of CT, only padding is there, which has one value,
# and a thin seam where it was interpolated.
_DARKER_SHARE = 0.1
# Soft tissue and fat of CT to which 1000 or 1024 was added, what is no air in it, and the share of one in the other:
# 0.6 in a CT of a head, at most 0.1 in MR of heads, spines and a prostate with such values.
_SHIFTED_SOFT, _SHIFTED_BODY, _SHIFTED_SHARE = (900.0, 1130.0), 200.0, 0.4


def has_air(sample: NDArray) -> bool:
    """Whether a sample of voxels is of CT in Hounsfield units that shows air."""
    if float((sample < AIR_BELOW).mean()) <= AIR_SHARE:
        return False
    seen = sample[sample > sample.min() + 1]
    return bool(seen.size) and float((seen < _PADDING).mean()) < _DARKER_SHARE


def looks_shifted(array: NDArray) -> bool:
    """Whether voxels `(..., i, j, k)` look like those of CT to which 1000 or 1024 was added."""
    sample = without_padding(array)
    body = sample[sample > _SHIFTED_BODY]
    if low_value(sample) <= HIGHEST_CT_MINIMUM or body.size < AIR_SHARE * sample.size:
        return False
    return float(((body > _SHIFTED_SOFT[0]) & (body < _SHIFTED_SOFT[1])).mean()) > _SHIFTED_SHARE


def low_value(array: NDArray) -> float:
    """The 0.1 percentile of voxels `(..., i, j, k)`, or of a sample `(n,)` of them, without what no air is as dark as:
    what to hold against `HIGHEST_CT_MINIMUM`."""
    sample = _sampled(array)
    seen = sample[sample > _PADDING]
    return float(np.percentile(seen if seen.size else sample, _LOW_PERCENT))


def without_padding(array: NDArray) -> NDArray:
    """A sample `(n,)` of the voxels of a scan `(..., i, j, k)` without those that the scanner did not see.

    They have one value that lies far below all others. Air, too, may be cut off to one value, but at the skin voxels
    are half air. The padding of shifted CT (-2000 + 1024) would pass for air.
    """
    sample = _sampled(array).ravel()
    rest = sample[sample > sample.min()]
    if not rest.size or float(np.percentile(rest, _LOW_PERCENT)) < float(sample.min()) + _GAP:
        return sample
    return rest


def _sampled(array: NDArray) -> NDArray:
    if array.ndim < 3:
        return array
    step = max(1, round((array.size / SAMPLED_VOXELS) ** (1 / 3)))
    return array[..., ::step, ::step, ::step]


@dataclass(frozen=True)
class Intensity:
    """How voxel values are scaled.

    Attributes:
        kind: `window`: (x - lower) / (upper - lower), cut to 0..1. `percentile`: cut to lower..upper (0.5 and
            99.5 percentile of the training foreground, HU), then (x - mean) / std with the stored numbers.
            `zscore`: per channel and volume, mean and standard deviation over voxels that are not 0, which stay 0;
            cut to -5..5. `robust`, for scans of any kind: the 0.5 and 99.5 percentile of each channel become 0 and 1
            and the rest is cut off; a scan with air in HU is cut to lower..upper before.
        lower: Lower bound, in the unit of the scan (HU for CT); unused by `zscore`.
        upper: Upper bound.
        mean: Subtracted after cutting; `percentile` only.
        std: Divided by; `percentile` only.
    """

    kind: str = "zscore"
    lower: float = 0.0
    upper: float = 1.0
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        numbers = (self.lower, self.upper, self.mean, self.std)
        if self.kind not in KINDS:
            raise UserError(
                f"Unknown intensity scaling {self.kind!r}.", f"Choose one of {', '.join(KINDS)}.", "bad-preprocessing"
            )
        if not all(math.isfinite(number) for number in numbers) or self.lower >= self.upper or self.std <= 0:
            raise UserError(
                f"The intensity scaling {numbers} is not usable.",
                "lower must be below upper, and std above 0.",
                code="bad-preprocessing",
            )

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary with the entries that `kind` uses."""
        used = {
            "window": ("lower", "upper"),
            "percentile": ("lower", "upper", "mean", "std"),
            "zscore": (),
            "robust": ("lower", "upper"),
        }
        return {"kind": self.kind, **{name: getattr(self, name) for name in used[self.kind]}}

    @classmethod
    def from_json(cls, values: Any) -> Intensity:
        """The settings that `to_json` wrote.

        Raises:
            UserError: An entry is unknown, missing or not a number.
        """
        try:
            kind = values["kind"]
            settings = cls(kind, **{name: float(value) for name, value in values.items() if name != "kind"})
        except (AttributeError, KeyError, TypeError, ValueError) as fault:
            raise UserError(
                f"The intensity scaling {values!r} is not usable ({fault}).",
                "The model is damaged or was made by another version of mimseg.",
                code="bad-preprocessing",
            ) from fault
        if set(settings.to_json()) != set(values):
            raise UserError(
                f"The intensity scaling {values!r} needs exactly {', '.join(settings.to_json())}.",
                code="bad-preprocessing",
            )
        return settings

    @property
    def shown(self) -> tuple[float, float] | None:
        """The range of a scan's values to show as black to white; None where it follows from each scan."""
        return (self.lower, self.upper) if self.kind in ("window", "percentile") else None

    def foreground(self, array: NDArray) -> NDArray[np.bool_]:
        """Voxels `(x, y, z)` of unscaled `array` `(C, x, y, z)` that are not background in some channel.

        Background is 0 for `zscore` (MR), anything up to `lower` for the two CT kinds, and for `robust` what is darker
        than a fiftieth of the range.
        """
        mask = np.zeros(array.shape[1:], bool)
        for channel in array:
            if self.kind == "robust":
                low, high = self._bounds(channel)
                mask |= channel > low + 0.02 * (high - low)
            else:
                mask |= channel != 0 if self.kind == "zscore" else channel > self.lower
        return mask

    def scale(self, array: NDArray[np.float32]) -> None:
        """Scale float32 `array` `(C, x, y, z)` in place."""
        if self.kind == "zscore":
            for channel in array:
                _zscore(channel)
            return
        if self.kind == "robust":
            for channel in array:
                low, high = self._bounds(channel)
                np.clip(channel, low, high, out=channel)
                channel -= np.float32(low)
                channel /= np.float32(high - low)
            return
        np.clip(array, self.lower, self.upper, out=array)
        if self.kind == "window":
            array -= np.float32(self.lower)
            array /= np.float32(self.upper - self.lower)
        else:
            array -= np.float32(self.mean)
            array /= np.float32(self.std)

    def _bounds(self, channel: NDArray) -> tuple[float, float]:
        """What becomes 0 and 1 by `robust`."""
        step = max(1, round((channel.size / SAMPLED_VOXELS) ** (1 / 3)))
        sample = channel[::step, ::step, ::step]
        if has_air(sample):
            sample = np.clip(sample, self.lower, self.upper)
        low, high = np.percentile(sample, (0.5, 99.5))
        return float(low), float(max(high, low + 1e-6))


def _zscore(channel: NDArray[np.float32]) -> None:
    """Scale the voxels of `(x, y, z)` that are not 0; in double precision, but plane by plane to save memory."""
    count = np.count_nonzero(channel)
    if count == 0:
        return
    mean = np.float64(sum(float(plane.sum(dtype=np.float64)) for plane in channel) / count)
    squares = sum(float(np.square(plane[plane != 0] - mean).sum()) for plane in channel)
    deviation = np.float64(math.sqrt(squares / count) or 1.0)
    for plane in channel:
        inside = plane != 0
        plane[inside] = np.clip((plane[inside] - mean) / deviation, -ZSCORE_LIMIT, ZSCORE_LIMIT)
