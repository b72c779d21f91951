"""`configs/inference.json`: the same computation as `mimseg segment`, in the words of MONAI's bundle configuration.

Follows MONAI's bundle specification, but for `models/model.pt`, which `models export --format monai` adds. Written
from the checked description alone; what an imported model brought as its configuration is thrown away, since such a
file can run any code (MONAI advisory GHSA-873f-pvrv-4x83).
"""

from __future__ import annotations

from typing import Any

from mimseg.bundle.description import Description
from mimseg.data.intensity import ZSCORE_LIMIT, Intensity


def inference_configuration(description: Description) -> dict[str, Any]:
    """Content of `configs/inference.json`; run it in the bundle's folder.

    `python -m monai.bundle run --config_file configs/inference.json --dataset_dir IN --output_dir OUT`
    """
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/dataset'",
        "output_dir": "$@bundle_root + '/eval'",
        "output_ext": ".nii.gz",
        "output_postfix": "seg",
        "datalist": _cases(len(description.channels)),
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {
            "_target_": "mimseg.networks.settings.build_network",
            "values": description.network_settings.to_json(),
        },
        "network": {
            "_target_": "mimseg.networks.weights.with_weights",
            "network": "@network_def",
            "file": "$@bundle_root + '/models/model.safetensors'",
            "device": "@device",
        },
        "preprocessing": {"_target_": "Compose", "transforms": _preprocessing(description)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': case} for case in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@dataset",
            "batch_size": 1,
            "shuffle": False,
            "num_workers": 0,
        },
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(description.window),
            "sw_batch_size": 1,
            "overlap": description.overlap,
            "mode": "gaussian",
        },
        "postprocessing": {"_target_": "Compose", "transforms": _postprocessing(description)},
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": False,
        },
        "initialize": ["$monai.utils.set_determinism(seed=0)"],
        "run": ["$@evaluator.run()"],
    }


def _cases(channels: int) -> str:
    """One file per case; with several channels `<case>_0000.nii.gz`, `<case>_0001.nii.gz`, ... as in nnU-Net."""
    if channels == 1:
        return "$sorted(glob.glob(os.path.join(@dataset_dir, '*.nii.gz')))"
    return (
        "$[[first[:-11] + f'{channel:04d}.nii.gz' for channel in range("
        f"{channels})] for first in sorted(glob.glob(os.path.join(@dataset_dir, '*_0000.nii.gz')))]"
    )


def _preprocessing(description: Description) -> list[dict[str, Any]]:
    settings = description.preprocessing
    transforms: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": settings.orientation, "labels": None},
    ]
    if settings.crop_foreground:
        select = "x != 0" if settings.intensity.kind == "zscore" else f"x > {settings.intensity.lower!r}"
        transforms.append(
            {
                "_target_": "CropForegroundd",
                "keys": "image",
                "source_key": "image",
                "select_fn": f"$lambda x: {select}",
                "allow_smaller": True,
            }
        )
    if settings.spacing is not None:
        transforms.append({"_target_": "mimseg.bundle.monai_transforms.SquareAxesd", "keys": "image"})
        transforms.append(
            {"_target_": "Spacingd", "keys": "image", "pixdim": list(settings.spacing), "mode": "bilinear"}
        )
    return [*transforms, *_intensity(settings.intensity), {"_target_": "EnsureTyped", "keys": "image"}]


def _intensity(intensity: Intensity) -> list[dict[str, Any]]:
    if intensity.kind == "zscore":
        return [
            {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
            _range(-ZSCORE_LIMIT, ZSCORE_LIMIT, -ZSCORE_LIMIT, ZSCORE_LIMIT),
        ]
    if intensity.kind == "robust":
        settings = {"lower": intensity.lower, "upper": intensity.upper}
        return [{"_target_": "mimseg.bundle.monai_transforms.RobustIntensityd", "keys": "image", **settings}]
    mean, std = (0.0, 1.0) if intensity.kind == "window" else (intensity.mean, intensity.std)
    if intensity.kind == "window":
        return [_range(intensity.lower, intensity.upper, 0.0, 1.0)]
    return [_range(intensity.lower, intensity.upper, (intensity.lower - mean) / std, (intensity.upper - mean) / std)]


def _range(a_min: float, a_max: float, b_min: float, b_max: float) -> dict[str, Any]:
    """Linear from a_min..a_max to b_min..b_max, cut at both ends."""
    return {
        "_target_": "ScaleIntensityRanged",
        "keys": "image",
        "a_min": a_min,
        "a_max": a_max,
        "b_min": b_min,
        "b_max": b_max,
        "clip": True,
    }


def _postprocessing(description: Description) -> list[dict[str, Any]]:
    activation = "sigmoid" if description.multilabel else "softmax"
    return [
        {"_target_": "Activationsd", "keys": "pred", activation: True},
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
            "to_tensor": True,
        },
        *_to_labels(description),
        {
            "_target_": "SaveImaged",
            "keys": "pred",
            "output_dir": "@output_dir",
            "output_ext": "@output_ext",
            "output_postfix": "@output_postfix",
            "output_dtype": "$numpy.uint8" if description.labels[-1].value < 256 else "$numpy.uint16",
            "resample": False,
            "separate_folder": False,
        },
    ]


def _to_labels(description: Description) -> list[dict[str, Any]]:
    """From probabilities to the values of the labels."""
    if description.multilabel:
        transforms: list[dict[str, Any]] = [
            {"_target_": "mimseg.bundle.monai_transforms.SmallestStructured", "keys": "pred"}
        ]
    else:
        transforms = [{"_target_": "AsDiscreted", "keys": "pred", "argmax": True}]
    transforms += [
        {"_target_": "mimseg.bundle.monai_transforms.KeepMainPieced", "keys": "pred", "group": group}
        for group in description.pieces
    ]
    values = [label.value for label in description.labels]
    classes = list(range(1, len(values) + 1))
    if values != classes:
        transforms.append(
            {
                "_target_": "MapLabelValued",
                "keys": "pred",
                "orig_labels": classes,
                "target_labels": values,
            }
        )
    return transforms
