"""The paper's claims on the Medical Segmentation Decathlon's hippocampus data: the studies whose reports lie here.

    python Resources/Studies/run_hippocampus.py DATA WORK [STUDY ...]

DATA is the folder of Task04 with a `splits.json` that lists the volumes of `pool` and `validation` (no subject in
both). WORK keeps the case list, the runs and the reports: finished runs are not repeated, a stopped study goes on.
Several processes may work on the same WORK at once, on different studies or on the same one; each takes runs that no
other one works on. A study that is finished is copied to this folder with `--publish`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LABELS = HERE.parent / "Recipes" / "hippocampus_labels.json"
# A location prior, the mean label map stretched to each image, reaches this mean Dice without looking at the image.
FLOOR = "0.73"

# Equal for all studies, so that runs which occur in several of them are trained once. At 1.5 mm two CPU cores carry out
# the first five in about 80 minutes, one thread and one process each.
COMMON = [
    "--modality", "MR", "--precision", "bf16-mixed", "--floor", FLOOR, "--labelled", "10",
    "--pretrain-steps", "600", "--steps", "200", "--batch", "4", "--learning-rate", "2e-3", "--validations", "10",
]  # fmt: skip
PAPER = ["--stem", "patch"]  # the paper's UNETR; our default network has a convolutional stem
COARSE = [*PAPER, "--spacing", "1.5", "--window", "24,40,24"]
STUDIES = {
    "convergence": ["--seeds", "0,1,2", *COARSE],
    "labels": ["--seeds", "0,1,2", *COARSE, "--sizes", "1,3,10,40"],
    "decoder": ["--seeds", "0,1", *COARSE, "--decoders", "192x1,192x4,512x8"],
    # Patches of 8 and 16 need a window that both divide.
    "masking": ["--seeds", "0,1", *PAPER, "--spacing", "1.5", "--window", "32,48,32", "--patch-sizes", "8,16"],
    "resolution": ["--seeds", "0,1", *PAPER, "--window", "24,40,24", "--spacings", "1.5,2,3"],
    "labels-convolutional-stem": ["--seeds", "0,1", *COARSE[2:], "--stem", "convolution", "--sizes", "1,3,10"],
}
PUBLISHED = ("report.html", "results.csv", "figures")


def main() -> int:
    """Carry out the named studies, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"{', '.join(STUDIES)}; default: all")
    parser.add_argument("--report-only", action="store_true", help="train nothing, write the reports again")
    parser.add_argument("--publish", action="store_true", help="copy the reports to the folder of this script")
    options = parser.parse_args()
    unknown = set(options.studies) - set(STUDIES)
    if unknown:
        parser.error(f"unknown studies: {', '.join(sorted(unknown))}")
    cases = write_cases(options.data.resolve(), options.work.resolve())
    for name in options.studies or STUDIES:
        report = options.work / name
        study(name, cases, options, report)
        if options.publish:
            publish(report, HERE / f"hippocampus-{name}")
    return 0


def write_cases(data: Path, work: Path) -> Path:
    """A case list that knows the subjects: the volumes 2k-1 and 2k show one person."""
    work.mkdir(parents=True, exist_ok=True)
    splits = json.loads((data / "splits.json").read_text(encoding="utf-8"))
    rows = [["image", "label", "id", "subject"]]
    for name in [*splits["pool"], *splits["validation"]]:
        number = int(name.rpartition("_")[2])
        files = [os.path.relpath(data / folder / f"{name}.nii.gz", work) for folder in ("imagesTr", "labelsTr")]
        rows.append([*files, name, str((number + 1) // 2)])
    partial = work / f"cases.{os.getpid()}.part"
    with open(partial, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    os.replace(partial, work / "cases.csv")
    return work / "cases.csv"


def study(name: str, cases: Path, options: argparse.Namespace, report: Path) -> None:
    """One study by the command line."""
    splits = options.data.resolve() / "splits.json"
    command = [
        "study", name.partition("-")[0], str(cases), "-o", str(report), "--runs", str(options.work / "runs"),
        "--labels", str(LABELS), "--pool", f"{splits}:pool", "--validation", f"{splits}:validation",
        *COMMON, *STUDIES[name],
        *(["--report-only"] if options.report_only else []),
    ]  # fmt: skip
    print("mimseg", *command, flush=True)
    subprocess.run([sys.executable, "-m", "mimseg", *command], check=True)


def publish(report: Path, target: Path) -> None:
    """Copy what may be shown: no plan, which names cases, and no runs."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for name in PUBLISHED:
        source = report / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target / name)


if __name__ == "__main__":
    sys.exit(main())
