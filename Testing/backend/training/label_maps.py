"""Small label maps of a head in left and right, written as real files without any image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from synthetic import write_scan

# Values as FreeSurfer's: 2 and 41 are white matter of either side, 25 is a lesion in 2, 507 is soft tissue.
STRUCTURES = [{"value": 2, "name": "Left-White", "also": [25]}, {"value": 41, "name": "Right-White"}]


def half_heads(seed: int = 0, size: tuple[int, int, int] = (24, 26, 22)) -> np.ndarray:
    """`(i, j, k)` uint16, i to the right: soft tissue around the two sides, of which the left one is larger."""
    generator = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    centre = np.array(size) / 2 + generator.uniform(-1, 1, 3)
    distance = np.sqrt((i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2)
    labels = np.zeros(size, np.uint16)
    labels[distance < 10] = 507
    labels[(distance < 8) & (i < centre[0])] = 2
    labels[(distance < 5) & (i >= centre[0])] = 41
    labels[(distance < 3) & (i < centre[0])] = 25
    return labels


def write_label_maps(folder: Path, count: int) -> tuple[Path, Path]:
    """A case list of `count` label maps without images, and the label file."""
    entries = []
    for number in range(count):
        write_scan(folder / f"map_{number}.nii.gz", half_heads(number))
        entries.append({"label": f"map_{number}.nii.gz"})
    (folder / "cases.json").write_text(json.dumps(entries), encoding="utf-8")
    (folder / "labels.json").write_text(json.dumps({"labels": STRUCTURES}), encoding="utf-8")
    return folder / "cases.json", folder / "labels.json"
