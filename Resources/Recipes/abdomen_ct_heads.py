"""CT of heads drawn from label maps, with empty labels: they teach the recipe `abdomen_ct` that a head has no liver.

A network that only saw abdomens names organs in whatever it is given. Real CT of heads under a free licence were not at
hand; the label maps of SynthSeg (Billot et al., Medical Image Analysis 2023; Apache-2.0) show whole heads.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

# HU by label: FreeSurfer's values, and SynthSeg's of what surrounds a brain (bone 514 to 516, skin and fat 511, eyes
# 506, airways 508 and 509). Everything else is soft tissue.
HOUNSFIELD = {
    0: -1000, 2: 32, 3: 40, 4: 5, 5: 5, 14: 8, 15: 8, 24: 8, 30: 60, 41: 32, 42: 40, 43: 5, 44: 5, 62: 60, 85: 40,
    502: 40, 506: 15, 507: 45, 508: -400, 509: -150, 511: -70, 512: 40, 514: 600, 515: 1000, 516: 500, 530: 60,
}  # fmt: skip
SOFT_TISSUE = 38
MAPS = (1, 2, 3)


def draw_heads(maps: Path, output: Path) -> list[dict[str, str]]:
    """Draw a CT for each of `MAPS` and write it with an empty labelmap.

    Args:
        maps: Folder with SynthSeg's label maps.
        output: Where images and labels are written.

    Returns:
        The cases, as a case list has them.
    """
    output.mkdir(parents=True, exist_ok=True)
    cases = []
    for number in MAPS:
        labelmap = sitk.ReadImage(str(maps / f"training_seg_{number:02d}.nii.gz"))
        labels = sitk.GetArrayFromImage(labelmap)
        random = np.random.default_rng(number)
        values = np.full(labels.shape, SOFT_TISSUE, np.float32)
        for label, hounsfield in HOUNSFIELD.items():
            values[labels == label] = hounsfield
        values[labels > 0] += random.normal(0, 15, (labels > 0).sum())
        image = gaussian_filter(values, 0.8) + random.normal(0, 8, values.shape)
        paths = {"image": output / f"head{number}_ct.nii.gz", "label": output / f"head{number}_label.nii.gz"}
        for path, array in zip(paths.values(), (image.astype(np.int16), np.zeros(labels.shape, np.uint8)), strict=True):
            written = sitk.GetImageFromArray(array)
            written.CopyInformation(labelmap)
            sitk.WriteImage(written, str(path))
        cases.append({"id": f"head{number}", **{kind: str(path.resolve()) for kind, path in paths.items()}})
    return cases
