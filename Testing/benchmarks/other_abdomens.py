"""Models of the abdomen on CT of other sources, beside labels that are not by hand but by TotalSegmentator.

    python Testing/benchmarks/other_abdomens.py SHARED/data MODEL [MODEL ...]

Dice of the organs of which at least `LEAST_ML` are in the scan, for each model in turn. Three scans: a body at 3 mm, 20
slices of a CT, and an upper abdomen of which the spleen alone was drawn, by hand. They trained none of the models.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from segment_once import segment

from mimseg.bundle.locations import find_bundle
from mimseg.bundle.reader import open_bundle
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.volume import Volume
from mimseg.metrics.overlap import dice

# Organs of the model by their values in the labels of TotalSegmentator 2.
TOTALSEGMENTATOR = {
    1: "Spleen", 2: "Right kidney", 3: "Left kidney", 4: "Gallbladder", 5: "Liver", 6: "Stomach", 7: "Pancreas",
    8: "Right adrenal gland", 9: "Left adrenal gland", 15: "Esophagus", 52: "Aorta", 63: "Inferior vena cava",
    64: "Portal and splenic vein",
}  # fmt: skip
SCANS = (
    ("ct/ts_body/ct.nii.gz", "ct/ts_body/labels_totalseg.nii.gz", TOTALSEGMENTATOR),
    ("dicom/ct_totalseg_j2k", "dicom/ct_totalseg_j2k_labels.nii.gz", TOTALSEGMENTATOR),
    ("ct/msd_spleen2/ct.nii.gz", "ct/msd_spleen2/labels_spleen.nii.gz", {1: "Spleen"}),
)
LEAST_ML = 2.0


def main() -> int:
    """Segment and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for scan, labels, names in SCANS:
            print(f"{scan}")
            for model in options.models:
                output = Path(temporary) / "found.nii.gz"
                told = segment(options.data / scan, output, model)
                if told != "taken":
                    print(f"  {model}: {told}")
                    continue
                values = {label.name: label.value for label in open_bundle(find_bundle(model)).description.labels}
                scores = scores_of(read_labelmap(output), values, options.data / labels, names)
                each = ", ".join(f"{name} {score:.3f}" for name, score in scores.items())
                print(f"  {model}: mean {sum(scores.values()) / len(scores):.3f}; {each}", flush=True)
    return 0


def scores_of(found: Volume, values: Mapping[str, int], labels: Path, names: Mapping[int, str]) -> dict[str, float]:
    """Dice of the organs that the labels show, by name."""
    truth = read_labelmap(labels, found.grid).array
    least = LEAST_ML * 1000 / math.prod(found.grid.spacing)
    return {
        name: dice(found.array == values[name], truth == value)
        for value, name in names.items()
        if (truth == value).sum() >= least
    }


if __name__ == "__main__":
    sys.exit(main())
