"""Intensities: CT that is not in Hounsfield units, CT among MR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding, Spot
from mimseg.data.intensity import AIR_BELOW, AIR_SHARE, HIGHEST_CT_MINIMUM, low_value

# Factor between the brightest and the darkest volume from which the difference is worth a note.
_WILD_FACTOR = 50.0


@dataclass(frozen=True)
class Scale:
    """Intensities of one case, first channel.

    Attributes:
        lowest: Smallest value.
        low: Below it hardly any voxel lies, see `low_value`.
        high: 99.5th percentile.
        air: Share of voxels below -500, which only CT has.
        middle: Median of the brighter half, for shifted CT.
    """

    lowest: float
    low: float
    high: float
    air: float
    middle: float

    @property
    def looks_like_ct(self) -> bool:
        """True if it can only be CT in Hounsfield units."""
        return self.air >= AIR_SHARE and self.lowest >= -20000


def measure(case: LoadedCase) -> Scale:
    """The intensities of a case."""
    image = case.sample
    median = float(np.median(image))
    return Scale(
        float(case.volume.array[0].min()),
        low_value(case.volume.array[0]),
        float(np.percentile(image, 99.5)),
        float((image < AIR_BELOW).mean()),
        float(np.median(image[image >= median])),
    )


def find(measured: Mapping[str, Scale], context: Context) -> list[Finding]:
    """See the module."""
    named = [channel.lower() for channel in context.channels]
    modality = context.expected.modality or ("CT" if "ct" in named else None)
    source = context.expected.source or "the data set's description"
    findings = []
    if modality == "CT":
        findings += [_not_hounsfield(n, scale) for n, scale in measured.items() if scale.low > HIGHEST_CT_MINIMUM]
    elif modality == "MR":
        findings += [_is_ct(n, scale, source) for n, scale in measured.items() if scale.looks_like_ct]
    else:
        findings += _mixed(measured)
    if modality != "CT" and not any(scale.looks_like_ct for scale in measured.values()):
        findings += _wild(measured)
    return findings


def _not_hounsfield(name: str, scale: Scale) -> Finding:
    text = f"Hardly any value is below {scale.low:.4g}: this is no CT in Hounsfield units."
    if scale.low >= 0 and scale.high <= 1.5:
        text += " It was probably scaled to 0..1."
    elif scale.low >= 0 and scale.high <= 255:
        text += " It was probably saved as an 8-bit picture."
    elif 800 <= scale.middle <= 1300:
        text += " It was probably saved without the rescale intercept, 1024 too bright."
    remedy = "Export it again with rescale slope and intercept applied, or choose an MR model."
    return Finding(name, "error", "not-hounsfield", text, remedy, _evidence(scale), (Spot(name, "the volume"),))


def _is_ct(name: str, scale: Scale, source: str) -> Finding:
    text = f"Looks like CT ({scale.air:.0%} of its voxels are below {AIR_BELOW:g}), but {source} is for MR."
    remedy = "Choose a CT model, or leave the case out."
    return Finding(name, "error", "not-mr", text, remedy, _evidence(scale), (Spot(name, "the volume"),))


def _mixed(measured: Mapping[str, Scale]) -> list[Finding]:
    """The fewer ones where some cases look like CT in HU and others do not."""
    ct = [name for name, scale in measured.items() if scale.looks_like_ct]
    rest = [name for name in measured if name not in ct]
    if not ct or not rest:
        return []
    if len(rest) <= len(ct):
        # Some parts of the body have no air in view: only missing low values are a sign.
        odd = [name for name in rest if measured[name].low > HIGHEST_CT_MINIMUM]
        text = "Is not in Hounsfield units as {count} other cases are: hardly any value is below {low:.4g}."
        remedy = "Leave it out if it is another modality; export CT again with rescale slope and intercept applied."
    else:
        odd = ct
        text = "Looks like CT in Hounsfield units ({air:.0%} of its voxels are air), unlike {count} other cases."
        remedy = "Train one model for each modality: leave it out."
    others = max(len(ct), len(rest))
    return [
        Finding(
            name,
            "warning",
            "other-modality",
            text.format(count=others, low=measured[name].low, air=measured[name].air),
            remedy,
            _evidence(measured[name]),
            (Spot(name, "the volume"),),
        )
        for name in odd
    ]


def _wild(measured: Mapping[str, Scale]) -> list[Finding]:
    highs = [scale.high for scale in measured.values() if scale.high > 0]
    if len(highs) < 2 or max(highs) < _WILD_FACTOR * min(highs):
        return []
    text = f"Volumes are scaled differently: bright voxels range from {min(highs):.4g} to {max(highs):.4g}."
    remedy = "Harmless for MR, where each volume is normalised by itself."
    return [Finding("", "note", "wild-scales", text, remedy, {"lowest": min(highs), "highest": max(highs)})]


def _evidence(scale: Scale) -> dict[str, float]:
    return {
        "lowest": scale.lowest,
        "percentile_0_1": scale.low,
        "percentile_99_5": scale.high,
        "share_below_-500": scale.air,
    }
