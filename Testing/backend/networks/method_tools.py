"""Small networks of every pre-training method."""

from __future__ import annotations

from typing import Any

import torch

from mimseg.networks.methods import load_method, method_settings
from mimseg.networks.methods.pretraining import PretrainingNetwork
from mimseg.networks.unetr_settings import UnetrSettings

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=48, mlp_size=96, heads=6, feature_size=4)
SMALL: dict[str, dict[str, Any]] = {"mae": {"decoder_size": 48}, "simclr": {"temperature": 0.2}}


def build(name: str, shape: UnetrSettings = SHAPE, **settings: Any) -> PretrainingNetwork:
    torch.manual_seed(0)
    chosen = method_settings(name, {**SMALL.get(name, {}), **settings})
    return load_method(name)(shape, chosen)
