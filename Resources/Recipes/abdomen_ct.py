"""Recipe of the model `abdomen-ct`: pre-train on the images of the pool, fine-tune on their labels, measure, ship.

    python Resources/Recipes/abdomen_ct.py DATA WORK HEADS

DATA is the folder of the 24 labelled BTCV cases (Synapse syn3193805) with `imagesTr`, `labelsTr`, `dataset.json` and a
`splits.json` that lists the cases of `pool` (18) and `validation` (6). HEADS is the folder of SynthSeg's label maps,
from which CT of three heads are drawn that have none of the organs. WORK keeps everything between runs: finished stages
are not repeated, a stopped one goes on. Until the last training the validation cases train nothing and choose nothing:
the last weights are kept (`--validations 0`), so their scores are honest. The last training learns from all 24 cases.
It has no scores of its own: the model that ships carries those of the model before it, and says so. How long the model
that ships was trained, and on what, is in its card; a step took about 3 s in the first training of labels, and 2 s in
the second, on another processor that ran other trainings, too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import stages
from stages import HERE

SHARED = ["--modality", "CT", "--window", "96,80,64"]
# Folders in WORK: of the model that the validation cases score, and of the one that ships.
SCORED, FINAL = "short-scans", "all-cases"
FURTHER_MINUTES, SHORT_SCANS_MINUTES, ALL_CASES_MINUTES = "122", "108", "60"
ATTRIBUTION = (
    "The weights are the MIMSegment project's own. They were trained on cases of the MICCAI challenge Multi-Atlas "
    "Labeling Beyond the Cranial Vault (BTCV; Landman et al. 2015, Synapse syn3193805): portal-venous abdominal CT "
    "with 13 organs labelled by hand. The data are given out after registration at Synapse; two later users of the "
    "data state CC BY 4.0, MONAI's model zoo says that they may be requested and ships weights trained on them under "
    "Apache-2.0. No image or label is contained or redistributed. Heads that have none of the organs were drawn from "
    "the label maps of SynthSeg (Billot et al., Medical Image Analysis 2023; Apache-2.0). Research use only."
)
METHOD = (
    "Measured on the version before this one, on six scans that it was not trained on. This version went on from it "
    "with all 24 scans, these six among them: no scan is left to score it."
)
OF_THE_MODEL = [
    "--name", "abdomen-ct", "--labels", str(HERE / "abdomen_ct_labels.json"), "--card",
    str(HERE / "abdomen_ct_card.json"), "--licence", "Apache-2.0", "--attribution", ATTRIBUTION, "--batch", "1",
    "--validations", "0", "--no-measure", *SHARED,
]  # fmt: skip


def main() -> int:
    """Run the asked stages."""
    own = {
        "pretrain": pretrain, "finetune": finetune, "further": further, "short-scans": short_scans, "measure": measure,
        "all-cases": all_cases, "ship": ship,
    }  # fmt: skip
    heads = {"heads": "folder with the label maps of SynthSeg"}
    return stages.run_stages(__doc__, "abdomen-ct", own, "22", "108", heads)


def pretrain(options: argparse.Namespace) -> None:
    """Masked auto-encoding on the images of the pool."""
    own = ["--preprocessing", str(HERE / "abdomen_ct_preprocessing.json"), "--batch", "4"]
    stages.pretrain(options, *own, *SHARED, "--seed", "0")


def finetune(options: argparse.Namespace) -> None:
    """The network on the labels of the pool, scored at the end on the validation cases."""
    stages.finetune(
        options, "first", "--init", str(options.work / "pretraining"), *OF_THE_MODEL, "--seed", "0"
    )  # fmt: skip


def further(options: argparse.Namespace) -> None:
    """On from that model with heads among the cases; organs that are small count more in the loss."""
    train_on(options, "further", "first", FURTHER_MINUTES, "1", *held_out(options))


def list_cases(options: argparse.Namespace) -> Path:
    """Case list of all abdomens and the heads, which are drawn if they are not there."""
    from abdomen_ct_heads import draw_heads  # it needs scipy, the other stages do not

    splits = json.loads((options.data / "splits.json").read_text(encoding="utf-8"))
    cases = options.work / "cases.json"
    if not cases.is_file():
        listed = draw_heads(options.heads, options.work / "heads")
        listed += [
            {"id": case, **{
                kind: str((options.data / folder / f"{case}.nii.gz").resolve())
                for kind, folder in (("image", "imagesTr"), ("label", "labelsTr"))
            }}
            for case in (*splits["pool"], *splits["validation"])
        ]  # fmt: skip
        cases.write_text(json.dumps(listed), encoding="utf-8")
    return cases


def short_scans(options: argparse.Namespace) -> None:
    """On again with crops that end early, as scans of few slices do."""
    train_on(options, SCORED, "further", SHORT_SCANS_MINUTES, "3", "--cut-off", "0.3", *held_out(options))


def all_cases(options: argparse.Namespace) -> None:
    """On again with the validation cases among the others."""
    train_on(options, FINAL, SCORED, ALL_CASES_MINUTES, "5", "--cut-off", "0.3", "--validation", "none")


def held_out(options: argparse.Namespace) -> list[str]:
    """Arguments that keep the validation cases from training."""
    splits = json.loads((options.data / "splits.json").read_text(encoding="utf-8"))
    return ["--validation", ",".join(splits["validation"])]


def train_on(options: argparse.Namespace, folder: str, start: str, minutes: str, seed: str, *own: str) -> None:
    """From the model `start` in WORK to another one."""
    model = options.work / folder
    if (model / "segmentation.json").is_file():
        return
    stages.mimseg(
        "finetune", str(list_cases(options)), "-o", str(model), "--init", str(options.work / start),
        *OF_THE_MODEL, "--minutes", minutes, "--warmup", "0.03",
        "--balance", "--seed", seed, *own, *stages.resumed(options.work / f"{folder}.training"),
    )  # fmt: skip


def measure(options: argparse.Namespace) -> None:
    """Overlap, quick mode and 16-bit arithmetic on the validation cases."""
    cases = f"{options.data / 'splits.json'}:validation"
    stages.mimseg("measure", str(options.work / SCORED), str(options.data), "--cases", cases)


def ship(options: argparse.Namespace) -> None:
    """Copy the model to where it ships, with what was measured of the one before it."""
    from mimseg.bundle.reader import open_bundle
    from mimseg.bundle.update import update_description

    before = open_bundle(options.work / SCORED).description
    if options.output.exists():
        shutil.rmtree(options.output)
    shutil.copytree(options.work / FINAL, options.output)
    described = open_bundle(options.output).description
    scores = {**before.scores, "method": METHOD, "summary": {"version": before.version, **before.scores["summary"]}}
    card = json.loads((HERE / "abdomen_ct_card.json").read_text(encoding="utf-8"))  # written once it was looked at
    words = {name: card[name] for name in ("title", "description", "version")}
    update_description(
        options.output, replace(described, **words, scores=scores, quick=before.quick, overlap=before.overlap)
    )


if __name__ == "__main__":
    sys.exit(main())
