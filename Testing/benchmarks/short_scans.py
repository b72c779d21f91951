"""How well does a model of whole abdomens do where a scan shows a slab of them only?

    python Testing/benchmarks/short_scans.py DATA MODEL [MODEL ...] [--millimetres 60]

DATA is the folder of the labelled abdomens with `splits.json`. From each scan of `validation` three slabs of so many
millimetres are cut, around a quarter, the middle and three quarters of its slices, and segmented by each MODEL as
scans of their own. Printed is the mean Dice over the structures of which a slab shows at least 5 mL; a slab that is
refused as a scan of another part of the body counts as 0, and how many were is told.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parent))

from segment_once import REFUSALS, segment

MIDDLES = (0.25, 0.5, 0.75)
LEAST_ML = 5.0


def main() -> int:
    """Cut, segment, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--millimetres", type=float, default=60)
    options = parser.parse_args()
    cases = json.loads((options.data / "splits.json").read_text(encoding="utf-8"))["validation"]
    scores: dict[str, list[float]] = {model: [] for model in options.models}
    refused = dict.fromkeys(options.models, 0)
    with tempfile.TemporaryDirectory() as folder:
        scan, result = Path(folder) / "scan.nii.gz", Path(folder) / "result.nii.gz"
        for case in cases:
            image, label = (read(options.data / kind / f"{case}.nii.gz") for kind in ("imagesTr", "labelsTr"))
            for middle in MIDDLES:
                slices = slab(image, middle, options.millimetres)
                sitk.WriteImage(image[:, :, slices], str(scan))
                truth = sitk.GetArrayFromImage(label[:, :, slices])
                voxel = float(np.prod(label.GetSpacing())) / 1000
                shown = [value for value in np.unique(truth) if value and (truth == value).sum() * voxel >= LEAST_ML]
                if not shown:
                    continue
                for model in options.models:
                    told = segment(scan, result, model)
                    if told not in {"taken", *REFUSALS}:
                        sys.exit(f"{model} on {case}: {told}")
                    refused[model] += told != "taken"
                    found = sitk.GetArrayFromImage(sitk.ReadImage(str(result))) if result.is_file() else truth * 0
                    scores[model].append(float(np.mean([dice(found == value, truth == value) for value in shown])))
                print(case, middle, *(f"{own[-1]:.3f}" for own in scores.values()), flush=True)
    for model, own in scores.items():
        print(f"{model}: mean {np.mean(own):.3f}, worst {min(own):.3f}, {refused[model]} of {len(own)} refused")
    return 0


def read(path: Path) -> sitk.Image:
    """With the slices along the third axis, from feet to head."""
    return sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")


def slab(image: sitk.Image, middle: float, millimetres: float) -> slice:
    """Slices of so many millimetres around `middle`, a share of all slices."""
    size = image.GetSize()[2]
    count = min(size, max(1, round(millimetres / image.GetSpacing()[2])))
    first = int(np.clip(round(middle * size - count / 2), 0, size - count))
    return slice(first, first + count)


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


if __name__ == "__main__":
    sys.exit(main())
