"""Small synthetic scans with something to segment, written as real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk


def ball_scan(seed: int, size: tuple[int, int, int] = (20, 22, 18)) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball and a dark block in smooth noise: image float32 and labelmap uint8, `(i, j, k)`."""
    generator = np.random.default_rng(seed)
    i, j, k = np.meshgrid(*(np.arange(n) for n in size), indexing="ij")
    centre = np.array(size) / 2 + generator.uniform(-2, 2, 3)
    ball = (i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2] - 2) ** 2 < 20
    block = (abs(i - centre[0]) < 3) & (abs(j - centre[1]) < 4) & (abs(k - centre[2] + 5) < 2) & ~ball
    image = 100 + 3 * i + generator.normal(0, 4, size)
    image[ball] += 80
    image[block] -= 60
    return image.astype(np.float32), (ball + 2 * block).astype(np.uint8)


def write_scan(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)) -> None:
    """Write `(i, j, k)` in RAS orientation."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose()))
    image.SetSpacing(spacing)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(path))


def write_dataset(folder: Path, cases: int, first_seed: int = 0) -> Path:
    """A Decathlon data set of ball scans named case_0, case_1, ..."""
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    entries = []
    for number in range(cases):
        image, label = ball_scan(first_seed + number)
        write_scan(folder / "imagesTr" / f"case_{number}.nii.gz", image)
        write_scan(folder / "labelsTr" / f"case_{number}.nii.gz", label)
        entries.append({"image": f"./imagesTr/case_{number}.nii.gz", "label": f"./labelsTr/case_{number}.nii.gz"})
    description = {"labels": {"0": "background", "1": "ball", "2": "block"}, "modality": {"0": "MRI"}}
    (folder / "dataset.json").write_text(json.dumps({**description, "training": entries}), encoding="utf-8")
    return folder
