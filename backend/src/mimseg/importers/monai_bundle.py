"""A MONAI Bundle's `metadata.json`, and of `inference.json` what is written there as plain values.

A bundle's configuration can hold any code (MONAI advisory GHSA-873f-pvrv-4x83): it is parsed as JSON, never resolved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mimseg.data.intensity import Intensity
from mimseg.data.labels.structures import Label
from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError
from mimseg.importers.declarations import (
    Declared,
    labels_named,
    modality_of,
    number,
    parse_json,
    plain,
    text,
    three,
    window_of,
)

KIND = "MONAI Bundle"
# Transforms that leave the values at their places; all others that are not read below make the preprocessing unknown.
_NEUTRAL = ("LoadImage", "EnsureChannelFirst", "AddChannel", "EnsureType", "CastToType", "ToTensor", "ToDevice")
# What each of the others sets of our preprocessing.
_PARTS = {
    "Orientation": "orientation",
    "Spacing": "spacing",
    "ScaleIntensityRange": "intensity",
    "NormalizeIntensity": "intensity",
    "CropForeground": "crop_foreground",
}


def recognise(declarations: Mapping[str, bytes]) -> bool:
    """Whether the files are those of a bundle."""
    return "configs/metadata.json" in declarations


def read(declarations: Mapping[str, bytes]) -> Declared:
    """What the bundle declares."""
    metadata = plain(parse_json(declarations["configs/metadata.json"]))
    raw = parse_json(declarations.get("configs/inference.json"))
    inference = plain(raw, raw)
    formats = _mapping(metadata.get("network_data_format"))
    image, prediction = _first(formats.get("inputs")), _first(formats.get("outputs"))
    network, inferer = _mapping(inference.get("network_def")), _mapping(inference.get("inferer"))
    multilabel = _multilabel(inference)
    heads = network.get("num_heads")
    overlap = number(inferer.get("overlap"))
    preprocessing, fault = _preprocessing(inference)
    return Declared(
        kind=KIND,
        title=text(metadata.get("name")),
        description=text(metadata.get("description")),
        version=text(metadata.get("version")),
        modality=modality_of(image.get("modality")),
        channels=tuple(text(name) for _, name in _numbered(image.get("channel_def"))),
        labels=_labels(prediction.get("channel_def"), bool(multilabel)),
        multilabel=multilabel,
        preprocessing=preprocessing,
        window=window_of(network.get("img_size")) or window_of(inferer.get("roi_size")),
        heads=heads if isinstance(heads, int) else None,
        overlap=overlap if overlap is not None and 0 <= overlap <= 0.95 else None,
        attribution="\n".join(filter(None, (text(metadata.get("authors")), text(metadata.get("copyright"))))),
        citation="; ".join(text(entry) for entry in metadata.get("references") or () if text(entry)),
        notes=(fault,) if fault else (),
    )


def _labels(channels: Any, multilabel: bool) -> tuple[Label, ...] | None:
    named = _numbered(channels)
    if not named or [index for index, _ in named] != list(range(len(named))):
        return None
    if multilabel:
        return labels_named({index + 1: name for index, name in named})
    return labels_named({index: name for index, name in named if index > 0})


def _multilabel(inference: dict[str, Any]) -> bool | None:
    """As the last activation says; None if none does."""
    steps = _transforms(inference, ("postprocessing", "post_transforms"))
    activations = [step for step in steps if _kind(step) == "Activations"]
    return None if not activations else activations[-1].get("sigmoid") is True


def _preprocessing(inference: dict[str, Any]) -> tuple[Preprocessing | None, str]:
    """The steps before the network in our words, or None with the reason."""
    found: dict[str, Any] = {"spacing": None, "orientation": None, "intensity": None, "crop_foreground": False}
    steps = _transforms(inference, ("preprocessing", "pre_transforms"))
    seen: set[str] = set()
    for step in steps:
        kind = _kind(step)
        part = _PARTS.get(kind)
        if part in seen:
            # Ours does each thing once: of a window and a z-score after it, one would be lost.
            return None, f"Its preprocessing step {kind} is the second for {part}, which has no counterpart here."
        seen.update([part] if part else [])
        if kind == "Orientation":
            found["orientation"] = text(step.get("axcodes"))
        elif kind == "Spacing":
            found["spacing"] = three(step.get("pixdim"))
        elif kind == "CropForeground":
            found["crop_foreground"] = True
        elif kind in ("ScaleIntensityRange", "NormalizeIntensity"):
            found["intensity"] = _range(step) if kind == "ScaleIntensityRange" else _zscore(step)
        elif kind not in _NEUTRAL:
            return None, f"Its preprocessing step {kind or 'without a name'} has no counterpart here."
    if not steps or None in (found["orientation"], found["spacing"], found["intensity"]):
        return None, "It does not declare orientation, spacing and intensity scaling as plain values."
    try:
        return Preprocessing(**found), ""
    except UserError as fault:
        return None, f"Its preprocessing is not usable: {fault.message}"


def _range(step: dict[str, Any]) -> Intensity | None:
    """`a_min..a_max` to `b_min..b_max`, cut at both ends."""
    lower, upper, low, high = (number(step.get(name)) for name in ("a_min", "a_max", "b_min", "b_max"))
    if lower is None or upper is None or low is None or high is None or step.get("clip") is not True:
        return None
    if lower >= upper or low >= high:
        return None
    if (low, high) == (0, 1):
        return Intensity("window", lower, upper)
    std = (upper - lower) / (high - low)
    return Intensity("percentile", lower, upper, lower - low * std, std)


def _zscore(step: dict[str, Any]) -> Intensity | None:
    """Of non-zero voxels, for each channel alone."""
    fits = step.get("nonzero") is True and step.get("channel_wise") is True
    return Intensity("zscore") if fits and not {"subtrahend", "divisor"} & set(step) else None


def _transforms(inference: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    for name in names:
        entry = inference.get(name)
        steps = entry.get("transforms") if isinstance(entry, dict) else entry
        if isinstance(steps, list):
            return [_mapping(step) for step in steps if _mapping(step).get("_disabled_") is not True]
    return []


def _kind(step: dict[str, Any]) -> str:
    """`monai.transforms.Spacingd` becomes `Spacing`."""
    name = text(step.get("_target_")).split(".")[-1]
    for ending in ("Dict", "D", "d"):
        if name.endswith(ending):
            return name[: -len(ending)]
    return name


def _first(value: Any) -> dict[str, Any]:
    return next((_mapping(entry) for entry in _mapping(value).values()), {})


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _numbered(value: Any) -> list[tuple[int, str]]:
    """Names by number, as in `{"0": "background"}`, sorted."""
    entries = _mapping(value)
    if not all(str(key).isdecimal() and text(name) for key, name in entries.items()):
        return []
    return sorted((int(key), text(name)) for key, name in entries.items())
