"""Preprocessing by name, for weights whose files do not carry it, and for repeating the paper's experiments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.text_files import read_json
from mimseg.errors import UserError


@dataclass(frozen=True)
class Preset:
    """What a published experiment did to its volumes.

    Attributes:
        preprocessing: From the scan to the network's input.
        modality: `CT` or `MR`.
        channels: What each input channel is, where all of them are used.
    """

    preprocessing: Preprocessing
    modality: str
    channels: tuple[str, ...]


# As in the release of Chen et al., Masked Image Modeling Advances 3D Medical Image Analysis (WACV 2023). Two deviations
# of `brats`: z-scores are taken after resampling instead of before, and cut at 5 standard deviations.
PRESETS = {
    "btcv": Preset(
        Preprocessing("RAS", (1.5, 1.5, 2.0), Intensity("window", -175.0, 250.0), crop_foreground=True), "CT", ("CT",)
    ),
    "brats": Preset(
        Preprocessing("RAS", (1.0, 1.0, 1.0), Intensity("zscore")), "MR", ("flair", "t1ce", "t1", "t2")
    ),
}  # fmt: skip


def preset(name: str) -> Preset:
    """The preset of this name.

    Raises:
        UserError: There is none.
    """
    if name not in PRESETS:
        raise UserError(
            f"There is no preprocessing preset {name!r}.", f"Choose one of {', '.join(PRESETS)}.", "bad-preprocessing"
        )
    return PRESETS[name]


def preset_or_file(name: str, modality: str | None) -> Preset:
    """The preset of this name, or what the JSON file of this name says.

    Args:
        name: Of a preset, or path of a file as for `read_preprocessing`.
        modality: `CT`, `MR` or None: what a file's volumes are.

    Raises:
        UserError: There is no such preset or file, or the file needs a modality.
    """
    if not name.lower().endswith(".json"):
        return preset(name)
    if modality is None:
        raise UserError(
            f"The preprocessing file {name} does not say what its volumes are.", "Add --modality CT or MR.", "bad-usage"
        )
    return Preset(read_preprocessing(Path(name)), modality, (modality,))


def read_preprocessing(path: Path) -> Preprocessing:
    """Preprocessing from a JSON file: the object that a model's `segmentation.json` has under `preprocessing`.

    Raises:
        UserError: The file cannot be read, or an entry is missing, unknown or not usable.
    """
    try:
        content = read_json(path)
    except (UserError, RecursionError) as fault:
        raise UserError(
            f"The preprocessing file {path} cannot be read ({fault}).",
            f"Give one of {', '.join(PRESETS)}, or a JSON file such as "
            f"{json.dumps(PRESETS['btcv'].preprocessing.to_json())}.",
            "bad-preprocessing",
        ) from fault
    return Preprocessing.from_json(content)
