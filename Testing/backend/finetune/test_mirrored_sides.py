"""Mirroring structures that are named left and right is refused, or told of where a recipe does it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from conftest import RecordingReporter  # noqa: E402
from synthetic import write_dataset  # noqa: E402

from mimseg.cli.finetune import _settings, add_arguments  # noqa: E402
from mimseg.commands.finetune.data import load_labelled_data, load_whole_data  # noqa: E402
from mimseg.data.cases import load_dataset  # noqa: E402
from mimseg.data.labels.sides import first_with_a_side  # noqa: E402
from mimseg.data.labels.structures import Label  # noqa: E402
from mimseg.errors import UserError  # noqa: E402

NAMES = {"sided": ("Left kidney", "Right kidney"), "vertebrae": ("L1", "L2")}


def data_of(folder: Path, names: tuple[str, str]) -> Path:
    data = write_dataset(folder, 1)
    file = data / "dataset.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["labels"] = {"0": "background", "1": names[0], "2": names[1]}
    file.write_text(json.dumps(content), encoding="utf-8")
    return data


def loaded(data: Path, *options: str, folds: bool = False) -> list[str]:
    """Codes of the warnings."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    settings = _settings(parser.parse_args([str(data), "-o", "out", "--init", "none", "--steps", "1", *options]))
    reporter = RecordingReporter()
    if folds:
        load_whole_data(settings, load_dataset(data, True).cases, None, reporter)
    else:
        load_labelled_data(settings, None, reporter)
    return reporter.codes


def test_structures_with_a_side_are_not_mirrored_without_swapping_them(tmp_path: Path) -> None:
    data = data_of(tmp_path / "sided", NAMES["sided"])
    for folds in (False, True):
        with pytest.raises(UserError, match="'Left kidney' has a side") as refusal:
            loaded(data, "--flip-left-right", folds=folds)
        assert refusal.value.code == "mirrored-sides"
        assert "mirrored-sides" not in loaded(data, "--flip-pairs", folds=folds)
        assert "mirrored-sides" in loaded(data, "--preset", "paper", "--window", "16,16,16", folds=folds)
    # One that was begun before goes on.
    assert "mirrored-sides" in loaded(data, "--flip-left-right", "--resume")
    with pytest.raises(UserError, match="exclude each other"):
        loaded(data, "--flip-left-right", "--flip-pairs")


def test_a_structure_whose_other_side_is_missing_is_told_of(tmp_path: Path) -> None:
    data = data_of(tmp_path / "one side", ("Left kidney", "Liver"))
    assert "mirrored-sides" in loaded(data, "--flip-pairs")


def test_structures_without_a_side_are_mirrored_as_asked(tmp_path: Path) -> None:
    data = data_of(tmp_path / "vertebrae", NAMES["vertebrae"])
    for options in (("--flip-left-right",), ("--preset", "paper", "--window", "16,16,16")):
        assert "mirrored-sides" not in loaded(data, *options)


def test_which_names_have_a_side() -> None:
    def sided(*names: str) -> bool:
        return first_with_a_side([Label(n, name, (1, 2, 3)) for n, name in enumerate(names, start=1)]) is not None

    assert sided("liver", "Left adrenal gland")
    assert sided("lung_l", "lung_r")
    assert sided("rib R1", "rib L1"), "they have a partner"
    assert not sided("L1", "L2", "L5", "sacrum")
    assert not sided("liver", "leftover", "bright spot")
