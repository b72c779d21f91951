"""Settings by name: what a training option means where the user says nothing. Imports no torch."""

from __future__ import annotations

import argparse
from typing import Any

# `small` trains in minutes on two CPU cores. `paper` is the released recipe of Chen et al. (WACV 2023), which wants a
# GPU and days; its numbers of epochs are left to --steps. What the option --set changes is in METHOD_SETTINGS.
PRETRAIN: dict[str, dict[str, Any]] = {
    "small": {
        "batch": 16,
        "crops_per_volume": 1,
        "learning_rate": 2e-3,
        "weight_decay": 0.05,
        "warmup": 0.1,
        "floor": 0.01,
        "betas": (0.9, 0.95),
        "clip": 1.0,
        "average": 0.99,
        "optimizer": "muon",
        "augmentation": {"rotation": 10, "scale": 0.15, "elastic": 0, "spatial_share": 0.5},
    },
    "paper": {
        "window": "96,96,96",
        "batch": 16,
        "crops_per_volume": 4,
        "learning_rate": 3e-4,
        "weight_decay": 0.05,
        "warmup": 0.1,
        "floor": 1 / 3,
        "betas": (0.9, 0.999),
        "clip": 0.0,
        "average": 0.0,
        "optimizer": "adamw",
        "augmentation": {"rotation": 0, "scale": 0, "elastic": 0, "spatial_share": 0, "shift": 0, "intensity": False},
    },
}
FINETUNE: dict[str, dict[str, Any]] = {
    "small": {
        **PRETRAIN["small"],
        "batch": 2,
        "learning_rate": 4e-3,
        "betas": (0.9, 0.98),
        "average": 0.995,
        "layer_decay": 0.9,
        "foreground_share": 0.33,
        "include_background": False,
        "overlap": 0.5,
        "augmentation": {},
    },
    "paper": {
        **PRETRAIN["paper"],
        "layer_decay": 1.0,
        "foreground_share": 0.5,
        "include_background": True,
        "overlap": 0.25,
        "augmentation": {
            **PRETRAIN["paper"]["augmentation"],
            "flips": 0.1,
            "quarter_turns": 0.1,
            "offset": 0.1,
        },
    },
}
# The network of a preset, where the user names none.
NETWORK = {"small": "unetr-small", "paper": "unetr-base"}
# Where a preset differs between methods; SimMIM's rates are those of its own configuration in that release.
METHOD_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "small": {},
    "paper": {
        "mae": {"decoder_size": 512, "decoder_layers": 8, "decoder_heads": 8, "encoder_norm": False},
        "simmim": {"head": "linear", "encoder_norm": False},
    },
}
METHOD_SCHEDULES: dict[str, dict[str, dict[str, Any]]] = {
    "small": {},
    "paper": {"simmim": {"learning_rate": 1e-4, "weight_decay": 1e-5, "warmup": 0.05, "floor": 1.0}},
}
NAMES = tuple(PRETRAIN)


def apply_preset(arguments: argparse.Namespace, preset: dict[str, Any]) -> None:
    """Fill in what the user left open (None) from a preset."""
    for name, value in preset.items():
        if getattr(arguments, name, None) is None:
            setattr(arguments, name, value)
