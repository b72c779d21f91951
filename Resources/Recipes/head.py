"""Recipe of `head`: 32 structures of the brain in whole heads of any contrast, learned from labels alone.

    python Resources/Recipes/head.py DATA WORK [--minutes 125,118,128,72,105,103] [--finish]

DATA is a folder with the twenty label maps of SynthSeg (Billot et al., Medical Image Analysis 2023; Apache-2.0),
`training_seg_01.nii.gz` to `training_seg_20.nii.gz`. Not one image is needed: they are drawn while training. Maps 19
and 20 choose the weights and are scored. There are six trainings, each from the model of the one before: three at
2 mm, of which the second and third see more of what is no brain, and three at 1.5 mm, since at 2 mm even the maps
themselves come back with a Dice of 0.89 only (at 1.5 mm 0.93). Before the last the network gets a fifth resolution
(`head_deeper.py`). What ships was made so but for two things: `--balance`
was taken back, as each training now does at its end, after the third and later ones only; and the first training and
850 steps of the second drew bright air in one image of ten, now drawn more seldom. WORK keeps everything: a stopped
training goes on, `--finish` ends it and makes the model of its best weights. The network is a small DynUNet, which no
pre-training precedes; a step took about 4 s of one core with AVX2 (first and second training) and 1 s with AMX
(third); at 1.5 mm 2.1 s with AVX-512 (fourth) and 1.7 s with AMX (fifth), of the deeper network
2.3 s beside other work (sixth).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from head_deeper import deepen
from stages import HERE, mimseg

HELD_OUT = (19, 20)
# Folder in WORK of the model that ships.
FINAL = "training6"
# Options of the trainings, in their order.
# Of the deeper network: what it sees, and the channels at its coarsest resolution.
WINDOW, WIDTH = (80, 80, 80), 160
_COARSE = ("--spacing", "2,2,2", "--window", "64,80,64")
_FURTHER = ("--warmup", "0.03", "--foreground-share", "0.35")
TRAININGS = (
    (*_COARSE, "--warmup", "0.05", "--foreground-share", "0.5", "--validations", "8"),
    (*_COARSE, *_FURTHER, "--validations", "6"),
    (*_COARSE, *_FURTHER, "--validations", "6"),
    # Each with a seed of its own: the same crops and images would come again.
    ("--window", "72,88,72", *_FURTHER, "--validations", "3", "--seed", "7"),
    ("--window", "72,88,72", *_FURTHER, "--validations", "4", "--seed", "5"),
    ("--window", ",".join(map(str, WINDOW)), *_FURTHER, "--validations", "4", "--seed", "12"),
)
ATTRIBUTION = (
    "The weights are the MIMSegment project's own. They were trained on images drawn from the label maps of SynthSeg "
    "(Billot et al., Medical Image Analysis 2023), which are under Apache-2.0; no image or label map is contained."
)
DATA_LICENCE = (
    "The training label maps of SynthSeg (https://github.com/BBillot/SynthSeg), Apache License 2.0. Their values are "
    "those of FreeSurfer. No image was used: all images were drawn from the maps.\n"
)


def main() -> int:
    """Train or go on, then score and write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument(
        "--minutes", default="125,118,128,72,105,103", help="of the trainings (default: those of the model that ships)"
    )
    parser.add_argument("--finish", action="store_true", help="train no further")
    parser.add_argument("--output", type=Path, default=HERE.parent / "Models" / "head")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    train_all(options)
    bundle(options, scores_of(options))
    return 0


def train_all(options: argparse.Namespace) -> None:
    """All trainings, as far as they have not ended."""
    start, minutes = "none", options.minutes.split(",")
    if len(minutes) != len(TRAININGS):
        sys.exit(f"--minutes has {len(minutes)} numbers, but there are {len(TRAININGS)} trainings.")
    for number, (length, own) in enumerate(zip(minutes, TRAININGS, strict=True), start=1):
        if number == len(TRAININGS):
            start = deeper(options, start)
        train(options, f"training{number}", ["--init", start, *own], length)
        start = str(options.work / f"training{number}")


def deeper(options: argparse.Namespace, model: str) -> str:
    """Folder of the model with one more resolution, made if it is not there."""
    folder = options.work / "deeper"
    if not (folder / "segmentation.json").is_file():
        deepen(Path(model), folder, WIDTH, WINDOW)
    return str(folder)


def train(options: argparse.Namespace, folder: str, own: list[str], minutes: str) -> None:
    """A training, unless it has ended; a checkpoint in WORK is gone on from."""
    if (options.work / folder / "segmentation.json").is_file():
        return
    maps = sorted(options.data.resolve().glob("training_seg_*.nii.gz"))
    cases = [{"id": f"head{path.name[13:15]}", "label": str(path)} for path in maps]
    (options.work / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    begun = (options.work / f"{folder}.training" / "checkpoint.pt").is_file()
    if options.finish and not begun:
        sys.exit(f"There is nothing to finish: {options.work / folder}.training has no checkpoint. Leave out --finish.")
    mimseg(
        "finetune", str(options.work / "cases.json"), "-o", str(options.work / folder), *own,
        "--validation", ",".join(f"head{number}" for number in HELD_OUT), "--name", "head",
        "--labels", str(HERE / "head_labels.json"), "--card", str(HERE / "head_card.json"),
        "--preprocessing", str(HERE / "head_preprocessing.json"), "--modality", "MR", "--network", "dynunet-small",
        "--batch", "1", "--learning-rate", "3e-3", "--flip-pairs", "--balance",
        "--overlap", "0.25", "--no-measure", "--minutes", minutes,
        *(["--finish"] if begun and options.finish else ["--resume"] if begun else []),
    )  # fmt: skip


def scores_of(options: argparse.Namespace) -> dict[str, Any]:
    """Dice of each structure on images drawn from the maps that were left out, at the maps' 1 mm, by contrast."""
    import numpy as np

    from mimseg.bundle.reader import open_bundle
    from mimseg.data.labels.labelmaps import read_labelmap
    from mimseg.data.labels.structures import read_labels
    from mimseg.data.preprocessing import working_grid
    from mimseg.data.volume import Volume
    from mimseg.inference.engines import open_engine
    from mimseg.inference.pipeline import segment_volume
    from mimseg.metrics.overlap import dice
    from mimseg.training.synthesis.drawing import draw_volume
    from mimseg.training.synthesis.label_extras import read_label_extras
    from mimseg.training.synthesis.source import label_source

    made = open_bundle(options.work / FINAL)
    description, engine = made.description, open_engine(made, "cpu")
    file = HERE / "head_labels.json"
    labels = read_labels(file)
    extras, values = read_label_extras(file, labels), [label.value for label in labels]
    rows: dict[str, list[list[float]]] = {}
    for number in HELD_OUT:
        path = options.data / f"training_seg_{number:02d}.nii.gz"
        labelmap = read_labelmap(path)
        grid = working_grid(labelmap.grid, description.preprocessing.spacing)
        for contrast in (*extras.contrasts, None):
            chosen = () if contrast is None else (replace(contrast, share=1.0),)
            source, indices = label_source(
                labelmap, grid, values, extras.merged, description.preprocessing.intensity, extras.partners, chosen,
                extras.stripped, path,
            )  # fmt: skip
            image = draw_volume(source, indices, labelmap.grid.spacing, seed=1000 + number)
            found = segment_volume(Volume(image, labelmap.grid), description, engine)
            truth = np.asarray(source.classes, np.uint8)[indices]
            own = [dice(found == index, truth == index) for index in range(1, len(labels) + 1)]
            name = "random" if contrast is None else contrast.name
            rows.setdefault(name, []).append(own)
            print(f"map {number}, {name}: mean Dice {np.nanmean(own):.3f}", flush=True)
    by_contrast = {name: round(float(np.nanmean(scores)), 4) for name, scores in rows.items()}
    by_structure = np.nanmean(np.concatenate(list(rows.values())), axis=0)
    return {
        "drawn_1mm": {
            "mean_dice": round(float(np.mean(list(by_contrast.values()))), 4),
            "by_contrast": by_contrast,
            "by_structure": {
                label.name: round(float(score), 4) for label, score in zip(labels, by_structure, strict=True)
            },
        }
    }


def bundle(options: argparse.Namespace, scores: dict[str, Any]) -> None:
    """Copy the model to where it ships, with these scores in its card."""
    from mimseg.bundle.reader import open_bundle
    from mimseg.bundle.update import update_description

    if options.output.exists():
        shutil.rmtree(options.output)
    shutil.copytree(options.work / FINAL, options.output)
    made = open_bundle(options.output).description
    attribution = f"{ATTRIBUTION} {DATA_LICENCE}".strip()
    described = replace(made, scores={**made.scores, **scores}, licence="Apache-2.0", attribution=attribution)
    written = update_description(options.output, described)
    print(f"{written.path}: {written.size_bytes / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
