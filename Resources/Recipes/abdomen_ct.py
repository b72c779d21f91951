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
import sys

import stages
from stages import HERE

SHARED = ["--modality", "CT", "--window", "96,80,64", "--seed", "0"]
ATTRIBUTION = (
    "The weights are the MIMSegment project's own. They were trained on cases of the MICCAI challenge Multi-Atlas "
    "Labeling Beyond the Cranial Vault (BTCV; Landman et al. 2015, Synapse syn3193805): portal-venous abdominal CT "
    "with 13 organs labelled by hand. The data are given out after registration at Synapse; two later users of the "
    "data state CC BY 4.0, MONAI's model zoo says that they may be requested and ships weights trained on them under "
    "Apache-2.0. No image or label is contained or redistributed. Research use only."
)


def main() -> int:
    """Run the asked stages."""
    own = {"pretrain": pretrain, "finetune": finetune, "measure": measure, "ship": ship}
    return stages.run_stages(__doc__, "abdomen-ct", own, pretrain_minutes="22", finetune_minutes="108")


def pretrain(options: argparse.Namespace) -> None:
    """Masked auto-encoding on the images of the pool."""
    own = ["--preprocessing", str(HERE / "abdomen_ct_preprocessing.json"), "--batch", "4"]
    stages.pretrain(options, *own, *SHARED)


def finetune(options: argparse.Namespace) -> None:
    """The network on the labels of the pool, scored at the end on the validation cases."""
    stages.finetune(
        options, "abdomen-ct", "--init", str(options.work / "pretraining"), "--name", "abdomen-ct",
        "--labels", str(HERE / "abdomen_ct_labels.json"), "--card", str(HERE / "abdomen_ct_card.json"),
        "--licence", "Apache-2.0", "--attribution", ATTRIBUTION, "--batch", "1", "--validations", "0",
        "--no-measure", *SHARED,
    )  # fmt: skip


def measure(options: argparse.Namespace) -> None:
    """Overlap, quick mode and 16-bit arithmetic on the validation cases."""
    cases = f"{options.data / 'splits.json'}:validation"
    stages.mimseg("measure", str(options.work / "abdomen-ct"), str(options.data), "--cases", cases)


def ship(options: argparse.Namespace) -> None:
    """Copy the model to where it ships."""
    if options.output.exists():
        shutil.rmtree(options.output)
    shutil.copytree(options.work / "abdomen-ct", options.output)


if __name__ == "__main__":
    sys.exit(main())
