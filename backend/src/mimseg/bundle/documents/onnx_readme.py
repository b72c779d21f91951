"""The README of a model that is exported as ONNX: what surrounds the network, in words, in numbers, and in NumPy.

`onnx_readme.md` is the text; here are the parts in which models differ. A test runs the program in it.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from mimseg.bundle.description import Description
from mimseg.data.intensity import AIR_BELOW, AIR_SHARE, SAMPLED_VOXELS, ZSCORE_LIMIT, Intensity

_TEMPLATE = Path(__file__).with_name("onnx_readme.md")
_AXES = {
    "R": "left to right", "L": "right to left", "A": "back to front", "P": "front to back", "S": "feet to head",
    "I": "head to feet",
}  # fmt: skip
_ZSCORE = """
array = array.copy()
for channel in array:
    inside = channel != 0
    if inside.any():
        values = channel[inside].astype(np.float64)
        channel[inside] = np.clip((values - values.mean()) / (values.std() or 1), -LIMIT, LIMIT)
return array
"""
_ROBUST = """
bounds = [bounds_of(channel) for channel in array]
return np.stack([(np.clip(channel, *pair) - pair[0]) / (pair[1] - pair[0]) for channel, pair in zip(array, bounds)])


def bounds_of(channel):
    step = max(1, round((channel.size / SAMPLED) ** (1 / 3)))
    sample = channel[::step, ::step, ::step]
    if (sample < AIR).mean() > AIR_SHARE:
        sample = np.clip(sample, LOWER, UPPER)
    low, high = (np.float32(bound) for bound in np.percentile(sample, (0.5, 99.5)))
    return low, max(high, low + np.float32(1e-6))
"""
_SOFTMAX = """
chosen = np.exp(logits - logits.max(axis=0))
chosen = resample(chosen / chosen.sum(axis=0), size, step)
return np.array([0, *VALUES], np.uint16)[chosen.argmax(axis=0)]
"""
_SIGMOID = """
probable = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
inside = resample(probable, size, step) > 0.5
labels = np.zeros(size, np.uint16)
for channel in sorted(range(OUTPUTS), key=lambda channel: -int((probable[channel] > 0.5).sum())):
    labels[inside[channel]] = VALUES[channel]
return labels
"""
_CROP = """
corners = np.argwhere(is_foreground(scan))
if len(corners):
    box = tuple(slice(low, high + 1) for low, high in zip(corners.min(axis=0), corners.max(axis=0)))
"""


def onnx_readme(description: Description) -> str:
    """Content of `README.md`, in Markdown."""
    parts = {**_facts(description), **_intensity_parts(description.preprocessing.intensity)}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _TEMPLATE.read_text(encoding="utf-8"))


def _facts(description: Description) -> dict[str, str]:
    preprocessing, several = description.preprocessing, description.multilabel
    window, spacing = description.window, preprocessing.spacing
    outputs = len(description.labels) + (0 if several else 1)
    rows = []
    for label in description.labels:
        codes = ", ".join(f"{c.meaning} ({c.scheme} {c.value})" for c in (label.type, label.modifier) if c)
        rows.append(f"| {label.value} | {label.name} | {codes or '-'} |")
    extent = description.field_of_view_mm
    sources = [f"Licence of the weights: {description.licence}."]
    sources += [description.attribution] if description.attribution else []
    sources += [f"Please cite: {description.citation}"] if description.citation else []
    sources.append("The program above may be used, changed and passed on under the Apache License 2.0.")
    crop = preprocessing.crop_foreground
    return {
        "title": description.title,
        "intended_use": description.intended_use,
        "description": description.description,
        "name": description.name,
        "version": description.version,
        "channel_count": str(len(description.channels)),
        "window": " x ".join(map(str, window)),
        "window_tuple": str(tuple(window)),
        "modality": description.modality,
        "channels": ", ".join(description.channels),
        "outputs": str(outputs),
        "outputs_in_words": "the structures below, which may overlap" if several else "background, then those below",
        "orientation": preprocessing.orientation,
        "axes": ", ".join(
            f"{axis} from {_AXES[way]}" for axis, way in zip("xyz", preprocessing.orientation, strict=True)
        ),
        "spacing": "None" if spacing is None else str(tuple(spacing)),
        "spacing_in_words": "the scan's own"
        if spacing is None
        else " x ".join(f"{edge:g}" for edge in spacing) + " mm",
        "overlap": repr(float(description.overlap)),
        "result_in_words": "sigmoid, above 0.5; where structures overlap, the smallest of the scan"
        if several
        else "softmax, the most probable class",
        "afterwards_row": f"| afterwards | {description.pieces_in_words()}; the program below leaves this out |\n"
        if description.one_piece
        else "",
        "label_rows": "\n".join(rows),
        "values": str(tuple(label.value for label in description.labels)),
        "region": "The model was trained on regions of about "
        + " x ".join(f"{edge:.0f}" for edge in extent)
        + " mm. Cut larger scans to the region of interest before; `mimseg` does so by a box."
        if extent
        else "The model takes scans of any size.",
        "crop_step": "1. Cut away planes without foreground from all sides.\n" if crop else "",
        "crop_code": _indented(_CROP) + "\n" if crop else "",
        "not_background": ":" if several else "1:",
        "labelling_code": _indented(_SIGMOID if several else _SOFTMAX),
        "sources": "\n\n".join(sources),
    }


def _intensity_parts(intensity: Intensity) -> dict[str, str]:
    low, high = intensity.lower, intensity.upper
    bounds = f"LOWER, UPPER = {low!r}, {high!r}\n"
    above = ("return (array > LOWER).any(axis=0)", f"above {low:g} in any channel")
    if intensity.kind == "window":
        words = f"cut to {low:g}..{high:g}, which become 0..1"
        return _parts(words, bounds, above, "return (np.clip(array, LOWER, UPPER) - LOWER) / (UPPER - LOWER)")
    if intensity.kind == "percentile":
        words = f"cut to {low:g}..{high:g}, less {intensity.mean:g}, divided by {intensity.std:g}"
        numbers = f"{bounds}MEAN, STD = {intensity.mean!r}, {intensity.std!r}\n"
        return _parts(words, numbers, above, "return (np.clip(array, LOWER, UPPER) - MEAN) / STD")
    if intensity.kind == "zscore":
        words = (
            f"z-score of each channel's voxels that are not 0, cut to -{ZSCORE_LIMIT:g}..{ZSCORE_LIMIT:g}; 0 stays 0"
        )
        nonzero = ("return (array != 0).any(axis=0)", "not 0 in any channel")
        return _parts(words, f"LIMIT = {ZSCORE_LIMIT!r}\n", nonzero, _ZSCORE)
    words = (
        "the 0.5 and 99.5 percentile of each channel become 0 and 1, the rest is cut off; a scan with more than "
        f"{100 * AIR_SHARE:g} % below {AIR_BELOW:g} is cut to {low:g}..{high:g} before"
    )
    numbers = f"{bounds}AIR, AIR_SHARE, SAMPLED = {AIR_BELOW!r}, {AIR_SHARE!r}, {SAMPLED_VOXELS!r}\n"
    bright = (
        "pairs = [(channel, *bounds_of(channel)) for channel in array]\n"
        "return np.any([channel > low + 0.02 * (high - low) for channel, low, high in pairs], axis=0)",
        "brighter than a fiftieth of the range in any channel",
    )
    return _parts(words, numbers, bright, _ROBUST)


def _parts(words: str, numbers: str, foreground: tuple[str, str], scaling: str) -> dict[str, str]:
    body, _, functions = scaling.partition("\n\n\n")
    return {
        "intensity_in_words": words,
        "intensity_numbers": numbers,
        "foreground_code": _indented(foreground[0]),
        "foreground_in_words": foreground[1],
        "scaling_code": _indented(body) + (f"\n\n\n{functions.strip()}" if functions else ""),
    }


def _indented(code: str) -> str:
    return textwrap.indent(code.strip("\n"), "    ")
