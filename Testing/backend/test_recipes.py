"""The recipes of the models that ship: what they ask of mimseg is what it takes, and nothing is done twice."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from mimseg.cli.main import build_parser

RECIPES = Path(__file__).parents[2] / "Resources" / "Recipes"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Namespace]:
    """The commands that recipes call, as mimseg reads them."""
    monkeypatch.syspath_prepend(RECIPES)
    stages = importlib.import_module("stages")
    found: list[Namespace] = []

    def run(command: list[str], check: bool) -> None:
        assert command[:3] == [sys.executable, "-m", "mimseg"]
        assert check
        found.append(build_parser(command[3]).parse_args(command[3:]))

    monkeypatch.setattr(stages.subprocess, "run", run)
    return found


def recipe(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    importlib.import_module(name).main()


@pytest.mark.parametrize(
    ("name", "stage", "model"), [("abdomen_ct", "finetune", "abdomen-ct"), ("hippocampus_mr", "mim", "mim")]
)
def test_a_recipe_asks_what_mimseg_takes_and_goes_on_where_it_ended(
    name: str, stage: str, model: str, asked: list[Namespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, work = tmp_path / "data", tmp_path / "work"

    def carry_out() -> None:
        asked.clear()
        for one in ("pretrain", stage):
            recipe(name, monkeypatch, str(data), str(work), "--stage", one)

    carry_out()
    pretrain, finetune = asked
    assert (pretrain.data, pretrain.output) == ([data / "imagesTr"], work / "pretraining")
    assert pretrain.cases == finetune.cases == f"{data / 'splits.json'}:pool"
    assert finetune.validation == f"{data / 'splits.json'}:validation"
    assert (finetune.output, finetune.init) == (work / model, str(work / "pretraining"))
    assert finetune.labels.is_file()
    assert finetune.card.is_file()
    assert pretrain.window == finetune.window
    assert not pretrain.resume
    assert not finetune.resume

    for folder in (work / "pretraining", work / f"{model}.training"):
        folder.mkdir()
        (folder / "checkpoint.pt").touch()
    carry_out()
    assert [one.resume for one in asked] == [True, True]

    (work / "pretraining" / "pretraining.json").touch()
    (work / model).mkdir()
    (work / model / "segmentation.json").touch()
    carry_out()
    assert not asked


def test_the_recipe_of_heads_asks_what_mimseg_takes(
    asked: list[Namespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = importlib.import_module("head")
    for number in range(1, 21):
        (tmp_path / f"training_seg_{number:02d}.nii.gz").touch()
    options = Namespace(data=tmp_path, work=tmp_path, minutes="125,118", finish=False)
    head.train_all(options)
    first, second = asked
    for finetune in asked:
        assert finetune.validation == "head19,head20"
        assert finetune.labels.is_file()
        assert Path(finetune.preprocessing).is_file()
        assert not finetune.resume
    assert (first.init, first.minutes, first.output) == ("none", 125.0, tmp_path / "first")
    assert (second.init, second.minutes, second.output) == (str(tmp_path / "first"), 118.0, tmp_path / "head")

    asked.clear()
    for made in (tmp_path / "first" / "segmentation.json", tmp_path / "head.training" / "checkpoint.pt"):
        made.parent.mkdir()
        made.touch()
    head.train_all(options)
    (second,) = asked
    assert second.resume
    options.finish = True
    head.train_all(options)
    assert asked[-1].finish
