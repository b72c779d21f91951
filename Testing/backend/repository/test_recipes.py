"""The recipes of the models that ship: what they ask of mimseg is what it takes, and nothing is done twice."""

from __future__ import annotations

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from mimseg.cli.main import build_parser
from mimseg.data.preprocessing_presets import read_preprocessing

RECIPES = Path(__file__).parents[3] / "Resources" / "Recipes"


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
    further = ["heads"] if name == "abdomen_ct" else []
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments[:2], *further, *arguments[2:]])
    importlib.import_module(name).main()


@pytest.mark.parametrize(
    ("name", "stage", "model"), [("abdomen_ct", "finetune", "first"), ("hippocampus_mr", "mim", "mim")]
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


def test_the_recipe_of_abdomens_goes_on_with_heads_that_have_no_organs(
    asked: list[Namespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("scipy", reason="the recipe smooths the heads by scipy, which training installs")
    abdomen = importlib.import_module("abdomen_ct")
    data, work, maps = tmp_path / "data", tmp_path / "work", tmp_path / "maps"
    for folder in (data, work, maps):
        folder.mkdir()
    (data / "splits.json").write_text(json.dumps({"pool": ["a", "b"], "validation": ["c"]}), encoding="utf-8")
    array = np.zeros((12, 12, 12), np.int32)
    array[3:9, 3:9, 3:9] = 515
    array[4:8, 4:8, 4:8] = 2
    for number in (1, 2, 3):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(maps / f"training_seg_{number:02d}.nii.gz"))
    abdomen.further(Namespace(data=data, work=work, heads=maps))
    abdomen.short_scans(Namespace(data=data, work=work))
    finetune, last = asked
    assert (finetune.init, finetune.output, finetune.validation) == (str(work / "first"), work / "further", "c")
    assert (last.init, last.output, last.validation) == (str(work / "further"), work / "short-scans", "c")
    assert (finetune.cut_off, last.cut_off) == (0, 0.3)
    assert finetune.data == last.data == work / "cases.json"
    listed = json.loads((work / "cases.json").read_text(encoding="utf-8"))
    assert [case["id"] for case in listed] == ["head1", "head2", "head3", "a", "b", "c"]
    assert listed[-1]["label"] == str((data / "labelsTr" / "c.nii.gz").resolve())
    image, label = (sitk.GetArrayFromImage(sitk.ReadImage(listed[0][kind])) for kind in ("image", "label"))
    assert not label.any()
    assert image[6, 6, 6] < 200 < image[3, 6, 6]  # brain inside bone
    assert image[0, 0, 0] < -900


def test_the_recipe_of_heads_asks_what_mimseg_takes(
    asked: list[Namespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = importlib.import_module("head")
    for number in range(1, 21):
        (tmp_path / f"training_seg_{number:02d}.nii.gz").touch()
    options = Namespace(data=tmp_path, work=tmp_path, minutes="125,118,128,72,105,103", finish=False)
    monkeypatch.setattr(head, "deepen", lambda *asked: deepened.append(asked))
    deepened: list[tuple] = []
    head.train_all(options)
    for finetune in asked:
        assert finetune.validation == "head19,head20"
        assert finetune.labels.is_file()
        assert Path(finetune.preprocessing).is_file()
        assert not finetune.resume
    made = [tmp_path / f"training{number}" for number in range(1, 7)]
    assert deepened == [(made[4], tmp_path / "deeper", 160, (80, 80, 80))]
    assert [one.output for one in asked] == made
    assert [one.minutes for one in asked] == [125, 118, 128, 72, 105, 103]
    assert [one.init for one in asked] == ["none", *map(str, made[:4]), str(tmp_path / "deeper")]
    assert [one.spacing for one in asked] == ["2,2,2", "2,2,2", "2,2,2", None, None, None]
    assert len({one.seed for one in asked[3:]}) == 3
    assert read_preprocessing(Path(asked[-1].preprocessing)).spacing == (1.5, 1.5, 1.5)

    asked.clear()
    begun = tmp_path / "training6.training" / "checkpoint.pt"
    for file in (*(folder / "segmentation.json" for folder in made[:-1]), begun):
        file.parent.mkdir()
        file.touch()
    head.train_all(options)
    (last,) = asked
    assert last.resume
    options.finish = True
    head.train_all(options)
    assert asked[-1].finish


@pytest.mark.train
def test_a_deeper_network_keeps_what_was_learned_and_finds_nearly_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    from mimseg.bundle.reader import open_bundle
    from mimseg.bundle.torch_network import torch_network

    monkeypatch.syspath_prepend(RECIPES)
    shipped = RECIPES.parent / "Models" / "head"
    before = open_bundle(shipped)
    features = before.description.network["features"]
    window = (2 ** (len(features) + 1),) * 3
    importlib.import_module("head_deeper").deepen(shipped, tmp_path / "deeper", 24, window)
    after = open_bundle(tmp_path / "deeper")
    assert after.description.network["features"] == [*features, 24]
    assert after.description.window == window
    image = torch.linspace(0, 1, window[0]).expand(1, 1, *window)
    with torch.no_grad():
        old, new = (torch_network(one).eval()(image)[0] for one in (before, after))
    spread = (old - old.mean()).square().mean()
    assert (new - old).square().mean() < 0.3 * spread
