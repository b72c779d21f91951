"""Small networks of every pre-training method."""

from __future__ import annotations

from typing import Any

import torch

from mimseg.networks.methods import load_method
from mimseg.networks.pretraining import PretrainingNetwork
from mimseg.networks.settings import NetworkSettings

SHAPE = NetworkSettings(
    window=(16, 16, 16), patch_size=8, layers=3, hidden_size=48, mlp_size=96, heads=6, feature_size=4
)
SMALL: dict[str, dict[str, Any]] = {"mae": {"decoder_size": 48}, "simclr": {"temperature": 0.2}}


def build(name: str, shape: NetworkSettings = SHAPE, **settings: Any) -> PretrainingNetwork:
    torch.manual_seed(0)
    method = load_method(name)
    return method(shape, method.read_settings({**SMALL.get(name, {}), **settings}))
