"""A model of one's own that finds its region: trained on crops by one command, used on a whole scan."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from dataclasses import replace  # noqa: E402

from locator_tools import BOTH, write_pair, write_two_sides  # noqa: E402
from segment_tools import Recorder, settings_for  # noqa: E402
from synthetic import write_dataset  # noqa: E402

from mimseg.bundle.reader import open_bundle  # noqa: E402
from mimseg.cli.main import main  # noqa: E402
from mimseg.commands.finetune.locator import warn_of_whole_scans  # noqa: E402
from mimseg.commands.segment.run import segment  # noqa: E402
from mimseg.training.crops.cache import TrainingCase  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402


def test_a_model_trained_with_a_locator_finds_its_region_in_a_whole_scan(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Curves, "_draw", lambda self: None)
    monkeypatch.setenv("MIMSEG_MODELS", str(write_pair(tmp_path / "models")))
    data = write_dataset(tmp_path / "data", 2)
    arguments = [
        "finetune", str(data), "-o", str(tmp_path / "own"), "--init", "none", "--hidden-size", "24", "--mlp-size",
        "24", "--heads", "2", "--feature-size", "2", "--layers", "3", "--window", "16,16,16", "--device", "cpu",
        "--precision", "32-true", "--steps", "2", "--batch", "1", "--no-measure", "--locator", "whole:part",
        "--trained-side", "left",
    ]  # fmt: skip
    assert main(arguments) == 0
    description = open_bundle(tmp_path / "own").description
    assert description.locator == BOTH
    assert description.field_of_view_mm is not None
    write_two_sides(tmp_path / "scan.nrrd", size=tuple(int(4 * edge) for edge in description.field_of_view_mm))
    recorder = Recorder()
    (result,) = segment(settings_for(tmp_path / "own", tmp_path / "scan.nrrd", tmp_path / "o.nrrd"), recorder)
    phases = [event[1] for event in recorder.events if event[0] == "progress"]
    assert list(dict.fromkeys(phases)) == ["read", "find the region", "segment left", "segment right", "write"]
    sides = [row.label.split()[0] for row in result.volumes]
    assert sides == ["Left"] * (len(sides) // 2) + ["Right"] * (len(sides) // 2)
    capsys.readouterr()


def test_cases_that_show_much_else_are_told_of(tmp_path):
    label = torch.zeros((40, 40, 40), dtype=torch.uint8)
    label[10:18, 10:18, 10:18] = 1
    case = TrainingCase("a", torch.zeros(1, 40, 40, 40), label, (), None, None, "")
    crop = replace(case, label=label[8:20, 8:20, 8:20])
    for locator, cases, told in ((BOTH, [case], ["whole-scans"]), (BOTH, [crop], []), (None, [case], [])):
        recorder = Recorder()
        warn_of_whole_scans(locator, cases, recorder)
        assert recorder.warnings == told
