"""Recipe of the default model `hippocampus-mr`: pre-train, fine-tune, the same network from scratch, bundle.

    python Resources/Recipes/hippocampus_mr.py DATA WORK

DATA is the folder of the Medical Segmentation Decathlon's Task04 with a `splits.json` that lists the volumes of `pool`
and `validation` (no subject in both). WORK keeps everything between runs: finished stages are not repeated, a stopped
one goes on. The model that ships took 20 minutes of pre-training on two busy CPU cores with AVX-512 bfloat16, then 55
minutes for each of the two fine-tunings, which ran at the same time with one core each (`--stage`, OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace

import stages
from stages import HERE

# The optimiser that the shipped model was made with; the small preset's is Muon now.
OPTIMIZER = ["--optimizer", "adamw", "--learning-rate", "1e-3"]
SHARED = ["--window", "40,56,40", "--spacing", "1", "--modality", "MR", "--flip-left-right", "--seed", "0"]
ATTRIBUTION = (
    "The weights are the MIMSegment project's own. They were trained on the Medical Segmentation Decathlon's Task04 "
    "Hippocampus (Simpson et al., arXiv:1902.09063), data under CC BY-SA 4.0; no image is contained."
)


def main() -> int:
    """Run the asked stages."""
    own = {
        "pretrain": lambda options: stages.pretrain(options, *SHARED, *OPTIMIZER),
        "mim": lambda options: finetune(options, "mim", str(options.work / "pretraining")),
        "scratch": lambda options: finetune(options, "scratch", "none"),
        "bundle": bundle,
    }
    return stages.run_stages(__doc__, "hippocampus-mr", own, pretrain_minutes="20", finetune_minutes="55")


def finetune(options: argparse.Namespace, name: str, init: str) -> None:
    """The network on the labels of the pool, chosen on the validation cases."""
    stages.finetune(
        options, name, "--init", init, "--name", "hippocampus-mr",
        "--labels", str(HERE / "hippocampus_labels.json"), "--card", str(HERE / "hippocampus_card.json"),
        "--batch", "2", *SHARED, *OPTIMIZER,
    )  # fmt: skip


def bundle(options: argparse.Namespace) -> None:
    """Copy the model to where it ships, with the scores of its twin from scratch in its card."""
    import torch
    from safetensors.torch import load_file

    from mimseg.bundle.locator import Locator, Place
    from mimseg.bundle.reader import open_bundle
    from mimseg.bundle.writer import write_bundle

    mim, scratch = (open_bundle(options.work / name) for name in ("mim", "scratch"))
    minutes = options.finetune_minutes
    twins = {f"this model: MAE pre-training, {minutes} min": mim, f"from scratch, {minutes} min": scratch}
    comparison = {name: _figures(twin.description.scores["summary"]) for name, twin in twins.items()}
    scores = {**mim.description.scores, "comparison": comparison}
    network = mim.description.network_settings.build()
    weights = {name: value.to(torch.float32) for name, value in load_file(mim.weights_path).items()}
    network.load_state_dict(weights)
    if options.output.exists():
        shutil.rmtree(options.output)
    # The crops of the training are like left hippocampi.
    places = Place(("Left-Hippocampus",), "left"), Place(("Right-Hippocampus",), "right", mirrored=True)
    description = replace(
        mim.description,
        scores=scores,
        licence="Apache-2.0",
        attribution=ATTRIBUTION,
        locator=Locator("head", places),
    )
    written = write_bundle(options.output, network.eval(), description)
    print(f"{written.path}: {written.size_bytes / 1e6:.1f} MB", flush=True)


def _figures(summary: dict) -> dict:
    low, high = summary["interval_95"]
    return {
        "mean Dice": round(summary["mean_dice"], 4),
        "95 % interval": f"{low:.4f} to {high:.4f}",
        "median Dice": round(summary["median_dice"], 4),
        "worst case": round(summary["worst_dice"], 4),
    }


if __name__ == "__main__":
    sys.exit(main())
