"""16-bit arithmetic is taken unasked only where it was measured to change no score of the model."""

from dataclasses import replace

import pytest
from measure_tools import slopes, thresholds, write_cases
from tiny_model import write_tiny_bundle

from mimseg.bundle.half_precision import bf16_changes_nothing
from mimseg.bundle.reader import open_bundle
from mimseg.bundle.update import update_description
from mimseg.commands.measure.run import MeasurementData, measured
from mimseg.data.cases import load_dataset
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.inference import engines
from mimseg.inference.engines import openvino_engine


def scores(**bf16):
    return {"inference": {"bf16": bf16}}


@pytest.mark.parametrize(
    ("found", "safe"),
    [
        (scores(cases=6, dice_loss=0.0001, largest_change=0.001), True),
        (scores(cases=6, dice_loss=0.0, largest_change=0.0011), False),
        (scores(cases=1, dice_loss=0.0, largest_change=0.0), False),
        (scores(cases=0), False),
        (scores(cases=6, largest_change="little"), False),
        ({"inference": "lost"}, False),
        ({}, False),
    ],
)
def test_only_what_was_measured_on_several_cases_counts(found, safe):
    assert bf16_changes_nothing(found) is safe


@pytest.mark.parametrize(
    ("found", "has_it", "precision", "taken"),
    [
        (scores(cases=6, largest_change=0.0), True, "auto", "bf16"),
        (scores(cases=6, largest_change=0.0), False, "auto", "f32"),
        (scores(cases=6, largest_change=0.0), True, "f32", "f32"),
        (scores(cases=6, largest_change=0.1), True, "auto", "f32"),
        ({}, True, "auto", "f32"),
    ],
)
def test_which_precision_a_model_runs_in(tmp_path, monkeypatch, found, has_it, precision, taken):
    folder = write_tiny_bundle(tmp_path / "tiny")
    update_description(folder, replace(open_bundle(folder).description, scores=found))
    asked = []

    def compile_nothing(core, path, properties, identity, version):
        asked.append(properties["INFERENCE_PRECISION_HINT"])
        raise RuntimeError("enough is known")

    monkeypatch.setattr(openvino_engine, "_compile", compile_nothing)
    monkeypatch.setattr(openvino_engine, "_has_bf16", lambda core: has_it)
    with pytest.raises(UserError):
        engines.open_engine(open_bundle(folder), "cpu", "openvino", precision=precision)
    assert asked == [taken]


@pytest.fixture
def prepared(tmp_path):
    write_cases(tmp_path / "data", [slopes(seed=number) for number in range(2)])
    folder = write_tiny_bundle(tmp_path / "tiny")
    return open_bundle(folder).description, load_dataset(tmp_path / "data").cases


def test_the_card_says_what_16_bit_arithmetic_changes(prepared):
    description, cases = prepared
    alike = measured(description, thresholds, MeasurementData(cases), Reporter(), thresholds)
    assert alike.scores["inference"]["bf16"] == {"cases": 2, "dice_loss": 0.0, "largest_change": 0.0}
    assert bf16_changes_nothing(alike.scores)
    worse = measured(
        description,
        thresholds,
        MeasurementData(cases),
        Reporter(),
        lambda batch: thresholds(batch) * 0 + [[[[[1]]], [[[0]]], [[[0]]]]],
    )
    assert worse.scores["inference"]["bf16"]["dice_loss"] > 0.5
    assert not bf16_changes_nothing(worse.scores)


def test_without_16_bit_arithmetic_nothing_is_said_of_it(prepared):
    description, cases = prepared
    assert "bf16" not in measured(description, thresholds, MeasurementData(cases), Reporter()).scores["inference"]
