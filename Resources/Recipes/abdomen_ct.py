"""Recipe of the model `abdomen-ct`: pre-train on the images of the pool, fine-tune on their labels, measure, ship.

    python Resources/Recipes/abdomen_ct.py DATA WORK

DATA is the folder of the 24 labelled BTCV cases (Synapse syn3193805) with `imagesTr`, `labelsTr`, `dataset.json` and a
`splits.json` that lists the cases of `pool` (18) and `validation` (6). WORK keeps everything between runs: finished
stages are not repeated, a stopped one goes on. The validation cases train nothing and choose nothing: the last weights
are kept (`--validations 0`), so their scores are honest. How long the model that ships was trained, and on what, is in
its card.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = ["--modality", "CT", "--window", "96,80,64", "--seed", "0"]
ATTRIBUTION = (
    "The weights are the MIMSegment project's own. They were trained on cases of the MICCAI challenge Multi-Atlas "
    "Labeling Beyond the Cranial Vault (BTCV; Landman et al. 2015, Synapse syn3193805): portal-venous abdominal CT "
    "with 13 organs labelled by hand. The data are given out after registration at Synapse; two later users of the "
    "data state CC BY 4.0, MONAI's model zoo says that they may be requested and ships weights trained on them under "
    "Apache-2.0. No image or label is contained or redistributed. Research use only."
)
STAGES = ("pretrain", "finetune", "measure", "ship")


def main() -> int:
    """Run the asked stages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--stage", choices=STAGES, help="only this stage")
    parser.add_argument("--pretrain-minutes", default="22")
    parser.add_argument("--finetune-minutes", default="108")
    parser.add_argument("--output", type=Path, default=HERE.parent / "Models" / "abdomen-ct")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    stages = {"pretrain": pretrain, "finetune": finetune, "measure": measure, "ship": ship}
    for stage in [options.stage] if options.stage else STAGES:
        stages[stage](options)
    return 0


def mimseg(*arguments: str) -> None:
    """Run one command of mimseg."""
    print("mimseg", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "mimseg", *arguments], check=True)


def pretrain(options: argparse.Namespace) -> None:
    """Masked auto-encoding on the images of the pool."""
    folder = options.work / "pretraining"
    if (folder / "pretraining.json").is_file():
        return
    resume = ["--resume"] if (folder / "checkpoint.pt").is_file() else []
    mimseg(
        "pretrain", str(options.data / "imagesTr"), "--cases", f"{options.data / 'splits.json'}:pool",
        "-o", str(folder), "--preprocessing", str(HERE / "abdomen_ct_preprocessing.json"),
        "--batch", "4", "--minutes", options.pretrain_minutes, *SHARED, *resume,
    )  # fmt: skip


def finetune(options: argparse.Namespace) -> None:
    """The network on the labels of the pool, scored at the end on the validation cases."""
    model, splits = options.work / "abdomen-ct", options.data / "splits.json"
    if (model / "segmentation.json").is_file():
        return
    resume = ["--resume"] if (options.work / "abdomen-ct.training" / "checkpoint.pt").is_file() else []
    mimseg(
        "finetune", str(options.data), "-o", str(model), "--init", str(options.work / "pretraining"),
        "--name", "abdomen-ct", "--cases", f"{splits}:pool", "--validation", f"{splits}:validation",
        "--labels", str(HERE / "abdomen_ct_labels.json"), "--card", str(HERE / "abdomen_ct_card.json"),
        "--licence", "Apache-2.0", "--attribution", ATTRIBUTION, "--batch", "1", "--validations", "0",
        "--no-measure", "--minutes", options.finetune_minutes, *SHARED, *resume,
    )  # fmt: skip


def measure(options: argparse.Namespace) -> None:
    """Overlap, quick mode and 16-bit arithmetic on the validation cases."""
    mimseg(
        "measure", str(options.work / "abdomen-ct"), str(options.data),
        "--cases", f"{options.data / 'splits.json'}:validation",
    )  # fmt: skip


def ship(options: argparse.Namespace) -> None:
    """Copy the model to where it ships."""
    if options.output.exists():
        shutil.rmtree(options.output)
    shutil.copytree(options.work / "abdomen-ct", options.output)


if __name__ == "__main__":
    sys.exit(main())
