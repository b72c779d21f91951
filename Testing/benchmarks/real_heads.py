"""A model of heads on two real ones: beside an atlas's structures, and its own left beside its right.

    python Testing/benchmarks/real_heads.py SHARED/data TEMPLATES [--model head] [--output WORK]

TEMPLATES holds `ch2.nii.gz`, Colin27, with the AAL atlas drawn on it, `aal.nii.gz` and `aal.nii.txt` (Debian's package
mricron-data, usr/share/mricron/templates). The atlas draws structures in its own way (its hippocampus ends elsewhere
than FreeSurfer's, whose names the model has), so Dice says more about a change of the model than about its truth. In
the ICBM152 template, an average of heads, left and right ought to be about equal.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from segment_once import segment

from mimseg.bundle.locations import find_bundle
from mimseg.bundle.reader import open_bundle
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.volume import Volume

SIDES = {"Left-": "L", "Right-": "R"}
# Named alike by the atlas.
SHARED = ("Thalamus", "Putamen", "Caudate", "Pallidum", "Hippocampus", "Amygdala")


def main() -> int:
    """Segment both heads and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("templates", type=Path)
    parser.add_argument("--model", default="head")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    names = {label.name: label.value for label in open_bundle(find_bundle(options.model)).description.labels}
    with tempfile.TemporaryDirectory() as temporary:
        work = options.output or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        found = labels_of(options.templates / "ch2.nii.gz", work / "colin27.nii.gz", options.model)
        beside_atlas(found, options.templates, names)
        own = labels_of(options.data / "mr/mni152_2009a/t1.nii.gz", work / "icbm152.nii.gz", options.model)
        beside_each_other(own, names)
    return 0


def labels_of(scan: Path, output: Path, model: str) -> Volume:
    """What the model finds."""
    told = segment(scan, output, model)
    if told != "taken":
        sys.exit(f"{scan.name}: {told}")
    return read_labelmap(output)


def beside_atlas(found: Volume, templates: Path, names: dict[str, int]) -> None:
    """Dice of each structure, left and right."""
    lines = (templates / "aal.nii.txt").read_text(encoding="utf-8").splitlines()
    values = {line.split()[1]: int(line.split()[0]) for line in lines if line.strip()}
    truth = read_labelmap(templates / "aal.nii.gz", like=found.grid).array
    for name in SHARED:
        pairs = [
            (found.array == names[side + name], truth == values[f"{name}_{letter}"]) for side, letter in SIDES.items()
        ]
        both = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]
        print(f"Colin27 beside AAL, {name}: left {both[0]:.3f}, right {both[1]:.3f}", flush=True)


def beside_each_other(own: Volume, names: dict[str, int]) -> None:
    """Volumes of both sides, and their difference as a share of the mean."""
    voxel = math.prod(own.grid.spacing) / 1000
    for name in names:
        if not name.startswith("Left-"):
            continue
        left, right = (voxel * (own.array == names[name.replace("Left-", side)]).sum() for side in SIDES)
        share = abs(left - right) / max((left + right) / 2, voxel)
        print(f"ICBM152, {name.removeprefix('Left-')}: {left:.2f} and {right:.2f} mL, {share:.1%} apart")


if __name__ == "__main__":
    sys.exit(main())
