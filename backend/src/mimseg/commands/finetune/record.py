"""What a model says of itself: how it was trained, on what, and everything `mimseg segment` must know."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mimseg import __version__
from mimseg.bundle.description import Description
from mimseg.commands.finetune.data import LabelledData
from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.networks.settings import NetworkSettings
from mimseg.training.crops.cache import count_cases, usual_sizes
from mimseg.training.run_folder import data_hashes


def training_record(settings: FinetuneSettings, shape: NetworkSettings, data: LabelledData) -> dict[str, Any]:
    """Everything that made this model, without paths or names."""
    return {
        "network": shape.to_json(),
        "modality": data.modality,
        "preprocessing": data.preprocessing.to_json(),
        "budget": asdict(settings.budget),
        "batch": settings.batch,
        "crops_per_volume": settings.crops_per_volume,
        "schedule": settings.schedule.to_json(),
        "layer_decay": settings.layer_decay,
        "foreground_share": settings.foreground_share,
        "augmentation": settings.augmentation.to_json(),
        "regions": [list(region) for region in data.regions] if data.regions else None,
        "ignored_label": data.scheme.ignored,
        "loss": "Dice + cross entropy"
        + (", background included" if settings.include_background else "")
        + (", voxels weighed by one over the square root of their class's size" if settings.balance else ""),
        "validations": settings.validations,
        "seed": settings.seed,
        "training_cases": count_cases(data.training),
        "training_sha256": data_hashes(data.training),
        "validation_cases": count_cases(data.validation),
        "validation_sha256": data_hashes(data.validation),
    }


def default_name(output: Path) -> str:
    """A valid model name made of the name of its folder."""
    return re.sub(r"[^a-z0-9._-]+", "-", output.name.lower()).strip("-._")[:64] or "model"


def describe(
    settings: FinetuneSettings,
    shape: NetworkSettings,
    data: LabelledData,
    scores: dict[str, Any],
    training: dict[str, Any],
) -> Description:
    """The model's description, as stored in its bundle."""
    spacing = np.array(data.preprocessing.spacing or (1.0, 1.0, 1.0))
    extents = np.array(usual_sizes(data.training)) * spacing
    x, y, z = (round(float(edge), 1) for edge in np.median(extents, axis=0))
    values: dict[str, Any] = {
        "name": settings.name or default_name(settings.output),
        "title": settings.title or f"{', '.join(label.name for label in data.labels)} on {data.modality}",
        "description": f"{shape.title} trained on {count_cases(data.training)} cases with mimseg {__version__}.",
        "version": "1.0.0",
        "modality": data.modality,
        "channels": (data.modality,)
        if shape.channels == 1
        else tuple(f"channel {n + 1}" for n in range(shape.channels)),
        "multilabel": data.regions is not None,
        "locator": settings.locator,
        "preprocessing": data.preprocessing,
        "window": shape.window,
        "overlap": settings.overlap,
        "labels": data.labels,
        "network": shape.to_json(),
        "field_of_view_mm": (x, y, z),
        "one_piece": data.anatomy.one_piece,
        "training": {**training, **data.anatomy.record},
        "scores": scores,
        "licence": settings.licence,
        "attribution": settings.attribution,
        "citation": "",
        "versions": {"mimseg": __version__, "torch": torch.__version__},
    }
    values.update({key: tuple(value) if key == "channels" else value for key, value in (settings.notes or {}).items()})
    return Description(**values)
