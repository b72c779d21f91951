"""A model of the Slicer extension MONAIAuto3DSeg: `model.pt` with a configuration, and `labels.csv`.

What is read here is named as that extension's `auto3dseg_segresnet_inference.py` uses it.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Any

from mimseg.data.intensity import Intensity
from mimseg.data.labels.structures import Code, Label, distinct_color
from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError
from mimseg.importers.declarations import Declared, modality_of, plain, text, three, window_of

KIND = "MONAIAuto3DSeg model"
_CODES = {
    "category": "SegmentedPropertyCategoryCodeSequence",
    "type": "SegmentedPropertyTypeCodeSequence",
    "modifier": "SegmentedPropertyTypeModifierCodeSequence",
}


def recognise(content: Mapping[str, Any]) -> bool:
    """Whether the file of weights has the configuration that such models carry."""
    config = content.get("config")
    return isinstance(config, Mapping) and "network" in config and "normalize_mode" in config


def read(content: Mapping[str, Any], declarations: Mapping[str, bytes]) -> Declared:
    """What the model declares."""
    config = plain(content["config"])
    network = config["network"] if isinstance(config["network"], Mapping) else {}
    resampled = content["config"].get("resample_resolution") is not None
    preprocessing, notes = _preprocessing(config, resampled)
    heads = network.get("num_heads")
    return Declared(
        kind=KIND,
        title=text(config.get("name")),
        modality=modality_of(config.get("modality")),
        labels=_labels(declarations.get("labels.csv")),
        multilabel=config.get("sigmoid") is True,
        preprocessing=preprocessing,
        window=window_of(network.get("img_size")) or window_of(config.get("roi_size")),
        heads=heads if isinstance(heads, int) else None,
        overlap=0.625,
        notes=notes,
    )


def _preprocessing(config: Mapping[str, Any], resampled: bool) -> tuple[Preprocessing | None, tuple[str, ...]]:
    mode = config.get("normalize_mode")
    if mode not in ("meanstd", "mri"):
        return None, (f"Its intensity scaling {mode!r} has no counterpart here.",)
    if config.get("orientation_ras") is not True:
        return None, ("It keeps the orientation of each scan, for which there is no counterpart here.",)
    spacing = three(config.get("resample_resolution"))
    if resampled and spacing is None:
        return None, ("Its working spacing is not declared as plain values.",)
    crop = config.get("crop_foreground", True) is True
    return Preprocessing("RAS", spacing, Intensity("zscore"), crop), ()


def _labels(table: bytes | None) -> tuple[Label, ...] | None:
    """Structures with their codes."""
    if table is None:
        return None
    labels = []
    try:
        for index, row in enumerate(csv.DictReader(table.decode("utf-8-sig").splitlines())):
            codes = {name: code for name, start in _CODES.items() if (code := _code(row, start))}
            labels.append(Label(int(row["LabelValue"]), row["Name"].strip(), distinct_color(index), **codes))
    except (ValueError, KeyError, AttributeError, csv.Error) as fault:
        raise UserError(
            f"labels.csv cannot be read ({fault!r}).", "Give the structures with --labels.", "bad-labels"
        ) from fault
    return tuple(sorted((label for label in labels if label.value > 0), key=lambda label: label.value)) or None


def _code(row: Mapping[str, str | None], start: str) -> Code | None:
    parts = [
        (row.get(f"{start}.{part}") or "").strip() for part in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
    ]
    return Code(*parts) if all(parts) else None
