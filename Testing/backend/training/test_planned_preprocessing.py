"""How scans are scaled where training starts from weights: as was asked for, else as the weights know it."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.train

from mimseg.data.intensity import Intensity  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.data.preprocessing_presets import PRESETS  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.planning import choose_preprocessing  # noqa: E402
from mimseg.training.start.initial_weights import InitialWeights  # noqa: E402

KNOWN = Preprocessing("RAS", (3.0, 3.0, 3.0), Intensity("window", -175.0, 250.0))
START = InitialWeights("start", {}, UnetrSettings(), KNOWN, "CT", {})


def chosen(preset: Any = None, modality: str | None = None, spacing: Any = None) -> tuple[str, Preprocessing]:
    return choose_preprocessing(START, preset, modality, spacing, list)


def test_the_start_weights_decide_where_nothing_is_said():
    assert chosen() == ("CT", KNOWN)
    assert chosen(modality="CT") == ("CT", KNOWN)


def test_what_is_asked_for_is_not_passed_over(tmp_path):
    other = Preprocessing("RAS", (1.5, 1.5, 1.5), Intensity("window", 0.0, 80.0))
    file = tmp_path / "other.json"
    file.write_text(json.dumps(other.to_json()), encoding="utf-8")
    assert chosen(str(file)) == ("CT", other)
    assert chosen(str(file), "MR") == ("MR", other)
    assert chosen(other) == ("CT", other)
    assert chosen("btcv") == (PRESETS["btcv"].modality, PRESETS["btcv"].preprocessing)
    assert chosen(str(file), spacing=(2.0, 2.0, 2.0))[1].spacing == (2.0, 2.0, 2.0)
    assert chosen(spacing=(2.0, 2.0, 2.0))[1].intensity == KNOWN.intensity


def test_another_modality_needs_its_scaling():
    with pytest.raises(UserError, match="for CT, not for MR"):
        chosen(modality="MR")
