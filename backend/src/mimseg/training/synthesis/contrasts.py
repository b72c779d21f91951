"""Grey values of the classes of a label map: random, or near to those of a kind of scan that the label file names.

A label file may hold, beside `labels`, a list `contrasts`:

    {"name": "T1", "share": 0.3, "spread": 0.08, "greys": {"2": 0.8, "3": 0.55}}

`greys` are means between 0 (black) and 1 (white) by label value; what it leaves out is random. `share` of the images
have this contrast, moved at random by `spread`; the others have random grey values throughout, which is what makes a
network indifferent to the kind of scan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimseg.errors import UserError

# Billot et al. draw standard deviations up to 35 of 255 around means up to 255.
LARGEST_DEVIATION = 0.1
STRIPPED_SHARE, EMPTY_AIR_SHARE = 0.25, 0.5
# Air is dark in every kind of scan that has a name; a few random ones keep the network from relying on it.
BRIGHT_AIR_SHARE = 0.05


@dataclass(frozen=True)
class Contrast:
    """One kind of scan.

    Attributes:
        name: For people.
        share: Of the images that look like this.
        spread: Standard deviation of the random change of each mean.
        greys: Mean by label value, 0..1.
    """

    name: str
    share: float
    spread: float
    greys: Mapping[int, float]


@dataclass(frozen=True)
class Look:
    """What the classes of a label map look like in one image; all `(n,)` by the index of their value.

    Attributes:
        mean: Grey value, 0..1.
        deviation: Standard deviation of its noise.
        texture: Strength of smooth changes within it.
        cleared: Set to 0 at the end: skull-stripping, or air that a scanner has masked.
    """

    mean: Tensor
    deviation: Tensor
    texture: Tensor
    cleared: Tensor


def read_contrasts(path: Path) -> tuple[tuple[Contrast, ...], tuple[int, ...]]:
    """Contrasts of a label file and the values under `stripped`, which skull-stripping may take away too.

    Raises:
        UserError: An entry is not usable.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        return (), ()
    try:
        contrasts = tuple(_contrast(entry) for entry in content.get("contrasts", []))
        stripped = tuple(int(value) for value in content.get("stripped", []))
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise UserError(
            f"The contrasts in {path} are not usable ({fault!r}).",
            'Write each as {"name": "T1", "share": 0.3, "greys": {"2": 0.8}}, with grey values from 0 to 1.',
            code="bad-labels",
        ) from fault
    if sum(contrast.share for contrast in contrasts) > 1:
        raise UserError(f"The shares of the contrasts in {path} are more than 1.", "Lower them.", "bad-labels")
    return contrasts, stripped


def _contrast(entry: dict[str, Any]) -> Contrast:
    greys = {int(value): float(grey) for value, grey in entry["greys"].items()}
    contrast = Contrast(str(entry["name"]), float(entry["share"]), float(entry.get("spread", 0.08)), greys)
    if not all(0 <= grey <= 1 for grey in greys.values()) or not 0 <= contrast.share <= 1 or contrast.spread < 0:
        raise ValueError(entry)
    return contrast


def draw_look(
    values: Sequence[int],
    classes: Sequence[int],
    partners: Mapping[int, int],
    contrasts: Sequence[Contrast],
    stripped: Sequence[int],
    generator: torch.Generator,
) -> Look:
    """Draw the appearance of one image.

    Args:
        values: Label value of each index; the first is 0, the background.
        classes: Class of each index; 0 is not to be segmented.
        partners: The right-hand value of a left-hand one: both look the same.
        contrasts: What the label file names; may be empty.
        stripped: Values that skull-stripping takes away too in half of its images.
        generator: On the CPU.
    """
    count = len(values)
    mean, deviation = torch.rand(count, generator=generator), torch.rand(count, generator=generator)
    jitter = torch.randn(count, generator=generator)
    deviation = LARGEST_DEVIATION * deviation**2
    texture = 0.03 * torch.rand(count, generator=generator)
    choice, start, named = float(torch.rand((), generator=generator)), 0.0, False
    for contrast in contrasts:
        start += contrast.share
        if choice < start:
            for index, value in enumerate(values):
                if value in contrast.greys:
                    mean[index] = (contrast.greys[value] + contrast.spread * jitter[index]).clamp(0, 1)
            deviation = deviation * 0.6
            named = True
            break
    outside = torch.tensor([number == 0 for number in classes])
    # What is not segmented is often many tissues under one value.
    texture = torch.where(outside, texture * 6, texture)
    if torch.rand((), generator=generator) >= BRIGHT_AIR_SHARE or named:
        mean[0], deviation[0] = 0.1 * mean[0] ** 2, 0.02 * deviation[0]
    texture[0] = 0
    position = {value: index for index, value in enumerate(values)}
    for value, partner in partners.items():
        if value in position and partner in position:
            one, other = position[value], position[partner]
            for tensor in (mean, deviation, texture):
                tensor[other] = tensor[one]
    cleared = torch.zeros(count, dtype=torch.bool)
    if torch.rand((), generator=generator) < EMPTY_AIR_SHARE:
        cleared[0] = True
    draws = torch.rand(2, generator=generator)
    if outside[1:].any() and draws[0] < STRIPPED_SHARE:
        cleared |= outside
        if draws[1] < 0.5:
            cleared |= torch.tensor([value in stripped for value in values])
    return Look(mean, deviation, texture, cleared)
