"""Which scans does a model take, and which does it refuse because they show another part of the body?

    python Testing/benchmarks/refusals.py SHARED/data --model head --shows head [--output WORK]

Runs `mimseg segment` on scans of heads, of parts of heads and of everything else that SHARED/data holds, on air and on
noise, and prints for each whether a result was written, and the code of the refusal. A scan that shows what `--shows`
says (`head` or `abdomen`) should be taken, any other one refused as another part of the body or as not in HU; whatever
else goes wrong is no refusal. Scans cut from others are written to WORK, a temporary folder unless it is given.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parent))

from segment_once import REFUSALS, segment

# What each scan shows. `part` is too little of a head, or of an abdomen below a chest, to say what must happen.
SCANS = {
    "mr/mni152_2009a/t1.nii.gz": "head",
    "mr/itk_kmeans_t1/image.nii.gz": "head",
    "mr/pyradiomics_brain1/image.nrrd": "head",
    "mr/studyforrest_t1/image.nii.gz": "head",
    "mr/stroke3/T1.nii.gz": "head",
    "mr/stroke3/T2.nii.gz": "head",
    "mr/stroke3/FLAIR.nii.gz": "head",
    "odd/nibabel_anatomical.nii": "head",
    "odd/nibabel_someones_anatomy.nii.gz": "head",
    "dicom/ct_slicer_head64": "part",
    "mr/sct_t1/image.nii.gz": "neck",
    "mr/sct_t2/image.nii.gz": "neck",
    "mr/sct_t2_lesion/image.nii.gz": "neck",
    "mr/pyradiomics_breast1/image.nrrd": "breast",
    "mr/pyradiomics_prostate_phantom/image.nrrd": "phantom",
    "ct/ts_body/ct.nii.gz": "abdomen",
    "ct/msd_spleen2/ct.nii.gz": "abdomen",
    "dicom/ct_totalseg_j2k": "abdomen",
    "ct/ts_aorta/ct.nii.gz": "chest",
    "ct/ts_pulmonary/ct.nii.gz": "part",
    "dicom/ct_philips_phantom_flat": "phantom",
}
SERIES = {"abdomen_ct/imagesTr": "abdomen", "spine_mr/imagesTr": "spine"}
OF_EACH_SERIES = 3
# Cut from the head of the first entry above: shares of the axes x, y and z that are kept.
PARTS = {
    "upper two thirds": ((0, 1), (0, 1), (0.33, 1)),
    "lower two thirds": ((0, 1), (0, 1), (0, 0.67)),
    "left two thirds": ((0, 0.67), (0, 1), (0, 1)),
    "front two thirds": ((0, 1), (0.33, 1), (0, 1)),
    "without the face": ((0, 1), (0, 0.8), (0.2, 1)),
}


def main() -> int:
    """Run and print; the exit code is 1 if a decision was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--shows", required=True, choices=("head", "abdomen"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.output or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        wrong = 0
        for number, (name, shown, scan) in enumerate(scans(options.data, work)):
            if not scan.exists():
                raise SystemExit(f"{scan} is missing.")
            code = segment(scan, work / f"result{number}.nii.gz", options.model)
            right = code == "taken" if shown == options.shows else code in REFUSALS
            decided = shown == "part" or right
            wrong += not decided
            print(f"{'' if decided else 'WRONG '}{code}: {name} ({shown})", flush=True)
    print(f"wrong decisions: {wrong}")
    return min(wrong, 1)


def scans(data: Path, work: Path) -> Iterator[tuple[str, str, Path]]:
    """Name, what it shows, and path of each scan."""
    for name, shown in SCANS.items():
        yield name, shown, data / name
    for folder, shown in SERIES.items():
        for path in sorted((data / folder).glob("*.nii.gz"))[:OF_EACH_SERIES]:
            yield f"{folder}/{path.name}", shown, path
    head = sitk.ReadImage(str(data / next(iter(SCANS))))
    for name, shares in PARTS.items():
        bounds = [
            (round(low * size), round(high * size)) for (low, high), size in zip(shares, head.GetSize(), strict=True)
        ]
        cut = head[tuple(slice(low, high) for low, high in bounds)]
        yield f"head, {name}", "head", written(cut, work / f"{name.replace(' ', '-')}.nii.gz")
    random = np.random.default_rng(0)
    for name, array in (("air", np.full((90, 100, 100), -1000)), ("noise", random.normal(100, 50, (90, 100, 100)))):
        image = sitk.GetImageFromArray(array.astype(np.int16))
        image.SetSpacing((2.0, 2.0, 2.0))
        yield name, "nothing", written(image, work / f"{name}.nii.gz")


def written(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path))
    return path


if __name__ == "__main__":
    sys.exit(main())
