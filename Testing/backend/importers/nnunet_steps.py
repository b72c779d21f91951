"""Two steps of nnU-Net from pre-trained weights, on tiny data: `python nnunet_steps.py FOLDER WEIGHTS`.

Everything is nnU-Net's own: planning, preprocessing, the trainer, and the function behind `nnUNetv2_train
-pretrained_weights`. Only its pools of processes are avoided. The last line tells the result as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

NAME, CASES, EDGE = "Dataset001_Balls", 5, 24
DATASET = {
    "channel_names": {"0": "MRI"}, "labels": {"background": 0, "ball": 1}, "numTraining": CASES,
    "file_ending": ".nii.gz",
}  # fmt: skip


def write_raw(folder: Path) -> None:
    """Cases in nnU-Net's layout."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for number in range(CASES):
        labels = np.zeros((EDGE,) * 3, np.uint8)
        labels[8:14, 8:16, 9:15] = 1
        image = np.random.default_rng(number).normal(100, 10, labels.shape) + 80 * labels
        sitk.WriteImage(
            sitk.GetImageFromArray(image.astype(np.float32)), str(folder / "imagesTr" / f"c{number}_0000.nii.gz")
        )
        sitk.WriteImage(sitk.GetImageFromArray(labels), str(folder / "labelsTr" / f"c{number}.nii.gz"))
    (folder / "dataset.json").write_text(json.dumps(DATASET), encoding="utf-8")


def prepare(raw: Path, preprocessed: Path, window: int) -> None:
    """Plan and preprocess, in this process."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    preprocessed.mkdir()
    values = {"max": 200.0, "mean": 180.0, "median": 180.0, "min": 150.0, "std": 10.0}
    fingerprint = {
        "spacings": [[1.0, 1.0, 1.0]] * CASES,
        "shapes_after_crop": [[EDGE] * 3] * CASES,
        "foreground_intensity_properties_per_channel": {
            "0": {**values, "percentile_00_5": 155.0, "percentile_99_5": 205.0}
        },
        "median_relative_size_after_cropping": 1.0,
    }
    (preprocessed / "dataset_fingerprint.json").write_text(json.dumps(fingerprint), encoding="utf-8")
    (preprocessed / "dataset.json").write_text(json.dumps(DATASET), encoding="utf-8")
    ExperimentPlanner(1).plan_experiment()
    file = preprocessed / "nnUNetPlans.json"
    plans = json.loads(file.read_text(encoding="utf-8"))
    plans["configurations"]["3d_fullres"].update(patch_size=[window] * 3, batch_size=2)
    file.write_text(json.dumps(plans), encoding="utf-8")
    manager = PlansManager(str(file))
    configuration = manager.get_configuration("3d_fullres")
    folder = preprocessed / configuration.data_identifier
    folder.mkdir()
    for number in range(CASES):
        images = [str(raw / "imagesTr" / f"c{number}_0000.nii.gz")]
        labels = str(raw / "labelsTr" / f"c{number}.nii.gz")
        DefaultPreprocessor(verbose=False).run_case_save(
            str(folder / f"c{number}"), images, labels, manager, configuration, DATASET
        )


def train(weights: str) -> dict[str, Any]:
    """Load the weights as `nnUNetv2_train -pretrained_weights` does, and train two steps."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args, maybe_load_checkpoint

    trainer = get_trainer_from_args(
        "1", "3d_fullres", 0, "nnUNet_Primus_S_Trainer", "nnUNetPlans", device=torch.device("cpu")
    )
    trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 1, 2, 1
    trainer.disable_checkpointing = True
    maybe_load_checkpoint(trainer, False, False, weights)
    given = torch.load(weights, weights_only=True)["network_weights"]
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    same = [name for name, value in given.items() if torch.equal(before[name], value)]
    trainer.run_training()
    after = trainer.network.state_dict()
    return {
        "given": len(given),
        "loaded": len(same),
        "missing": sorted(set(before) - set(given)),
        "epochs": trainer.current_epoch,
        "changed": sum(not torch.equal(before[name], value) for name, value in after.items()),
        "finite": all(bool(torch.isfinite(value).all()) for value in after.values()),
    }


def main(work: Path, weights: str) -> None:
    """Make the data, train, and print what came of it."""
    for name in ("raw", "preprocessed", "results"):
        (work / name).mkdir(parents=True)
        os.environ[f"nnUNet_{name}"] = str(work / name)
    os.environ.update(nnUNet_n_proc_DA="1", nnUNet_def_n_proc="1", nnUNet_compile="f")
    write_raw(work / "raw" / NAME)
    prepare(work / "raw" / NAME, work / "preprocessed" / NAME, 16)
    # No process beside this one loads data; planning wants at least one thread.
    os.environ.update(nnUNet_n_proc_DA="0")
    print(json.dumps(train(weights)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
