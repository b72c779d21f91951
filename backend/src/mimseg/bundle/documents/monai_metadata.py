"""`configs/metadata.json`: what MONAI's bundle specification wants to know about a model."""

from __future__ import annotations

from typing import Any

from mimseg.bundle.description import Description
from mimseg.data.intensity import ZSCORE_LIMIT

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
# Versions this configuration was tested with; used where a description does not tell its own.
_TESTED = {"monai": "1.6.1", "torch": "2.13.0", "numpy": "2.4.6", "mimseg": "0.1.0"}
_REQUIRED = {"nibabel": "5.4.2", "pytorch-ignite": "0.5.5", "einops": "0.8.2", "safetensors": "0.8.0"}
# Of the pre-training.
REFERENCES = (
    "He K. et al. Masked Autoencoders Are Scalable Vision Learners. CVPR 2022.",
    "Chen Z. et al. Masked Image Modeling Advances 3D Medical Image Analysis. WACV 2023.",
)


def metadata(description: Description) -> dict[str, Any]:
    """Content of `configs/metadata.json`."""
    versions = {name: description.versions.get(name, tested).split("+")[0] for name, tested in _TESTED.items()}
    return {
        "schema": SCHEMA,
        "name": description.title,
        "version": description.version,
        "changelog": {description.version: "Written by mimseg."},
        "monai_version": versions["monai"],
        "pytorch_version": versions["torch"],
        "numpy_version": versions["numpy"],
        "required_packages_version": {"mimseg": versions["mimseg"], **_REQUIRED},
        "supported_apps": {},
        "task": f"Segmentation of {', '.join(label.name for label in description.labels)} ({description.modality})",
        "description": description.description or description.title,
        "authors": description.attribution or "Not stated",
        "copyright": f"Licence: {description.licence}",
        "data_source": description.attribution or "Not stated",
        "data_type": "nibabel",
        "image_classes": f"{description.modality}: {', '.join(description.channels)}",
        "label_classes": ", ".join(f"{label.value}: {label.name}" for label in description.labels),
        "pred_classes": f"{_channels(description)} channels, see network_data_format",
        "eval_metrics": _numbers(description.scores),
        "intended_use": description.intended_use,
        "references": _references(description),
        "network_data_format": {"inputs": {"image": _image(description)}, "outputs": {"pred": _pred(description)}},
    }


def _references(description: Description) -> list[str]:
    """The model's own citation, its network's paper, and those of the pre-training if it may have had one."""
    network = description.network_settings
    own = [description.citation] if description.citation else []
    return [*own, network.reference, *(REFERENCES if network.encoder else ())]


def _image(description: Description) -> dict[str, Any]:
    return {
        "type": "image",
        "format": "hounsfield" if description.modality == "CT" else "magnitude",
        "modality": description.modality,
        "num_channels": len(description.channels),
        "spatial_shape": list(description.window),
        "dtype": "float32",
        "value_range": _value_range(description),
        "is_patch_data": True,
        "channel_def": {str(index): channel for index, channel in enumerate(description.channels)},
    }


def _pred(description: Description) -> dict[str, Any]:
    names = [label.name for label in description.labels]
    if not description.multilabel:
        names = ["background", *names]
    return {
        "type": "image",
        "format": "segmentation",
        "num_channels": _channels(description),
        "spatial_shape": list(description.window),
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": True,
        "channel_def": {str(index): name for index, name in enumerate(names)},
    }


def _channels(description: Description) -> int:
    return len(description.labels) + (0 if description.multilabel else 1)


def _value_range(description: Description) -> list[float]:
    """Of the network's input, that is after scaling."""
    intensity = description.preprocessing.intensity
    if intensity.kind == "zscore":
        return [-ZSCORE_LIMIT, ZSCORE_LIMIT]
    if intensity.kind in ("window", "robust"):
        return [0.0, 1.0]
    return [(bound - intensity.mean) / intensity.std for bound in (intensity.lower, intensity.upper)]


def _numbers(scores: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """All single numbers of nested scores, by joined names; lists (scores per case) are left to the model card."""
    found: dict[str, float] = {}
    for name, value in scores.items():
        if isinstance(value, dict):
            found.update(_numbers(value, f"{prefix}{name}_"))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = value
    return found
