"""A resumed cross-validation goes on as it was begun: folds of different recipes have no common score."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset, write_scan  # noqa: E402

from mimseg.bundle.locator import Locator, Place  # noqa: E402
from mimseg.commands.crossvalidate.run import crossvalidate  # noqa: E402
from mimseg.commands.crossvalidate.settings import CrossvalidationSettings  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.commands.pretrain.settings import PretrainSettings  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.errors import Stopped, UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.augmentation import AugmentationSettings  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402
from mimseg.training.optimiser.schedule import Schedule  # noqa: E402
from mimseg.training.start.pretrained_run import PretrainedRun, write_pretrained  # noqa: E402

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)
# What folds.json held before the recipe was recorded.
OLDER = ("folds", "compare", "own_pretraining", "modality", "preprocessing", "plan")


class StopBeforeTheFirstFold(Reporter):
    def progress(self, phase: str, done: float, total: float) -> None:
        if phase == "folds":
            raise Stopped("stopped", "")


def write_start(folder: Path, seed: int) -> str:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    encoder = {name: value for name, value in UNETR(SHAPE).state_dict().items() if name.startswith("vit.")}
    run = PretrainedRun(SHAPE, Preprocessing("RAS", (1.0, 1.0, 1.0)), "MR", {"method": "MAE"})
    write_pretrained(folder, run, encoder)
    return str(folder)


@pytest.fixture
def begun(tmp_path: Path) -> CrossvalidationSettings:
    """Stopped before the first fold; to be resumed."""
    data = write_dataset(tmp_path / "data", 2)
    chosen = FinetuneSettings(
        data, tmp_path / "model", Budget(2), write_start(tmp_path / "start", 0), SHAPE, batch=1, device="cpu",
        precision="32-true",
    )  # fmt: skip
    settings = CrossvalidationSettings(chosen, 0, True)
    with pytest.raises(Stopped):
        crossvalidate(settings, StopBeforeTheFirstFold())
    return replace(settings, finetune=replace(chosen, resume=True, batch=None))


def refusal_of(settings: CrossvalidationSettings, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        crossvalidate(replace(settings, finetune=replace(settings.finetune, **changes)), StopBeforeTheFirstFold())  # type: ignore[arg-type]
    assert caught.value.code == "settings-differ"
    return str(caught.value)


def test_another_recipe_start_or_budget_is_refused_and_the_same_goes_on(
    begun: CrossvalidationSettings, tmp_path: Path
) -> None:
    assert "minutes or steps" in refusal_of(begun, budget=Budget(30))
    assert "minutes or steps" in refusal_of(begun, budget=Budget(minutes=3))
    assert "schedule" in refusal_of(begun, schedule=Schedule(learning_rate=5e-2))
    assert "augmentation" in refusal_of(begun, augmentation=AugmentationSettings(rotation=1))
    changed = refusal_of(begun, layer_decay=0.5, foreground_share=1.0, batch=2, seed=7, window=(24,) * 3, balance=True)
    assert all(word in changed for word in ("layer_decay", "foreground_share", "batch", "seed", "network", "loss"))
    assert "overlap" in refusal_of(begun, overlap=0.25)
    assert "locator" in refusal_of(begun, locator=Locator("head", (Place(("ball",), "left", False),)))
    assert "--init" in refusal_of(begun, initial=write_start(tmp_path / "other", 1))
    scan = tmp_path / "data" / "imagesTr" / "case_0.nii.gz"
    whole = scan.read_bytes()
    with pytest.raises(Stopped):
        crossvalidate(begun, StopBeforeTheFirstFold())
    (tmp_path / "start").rename(tmp_path / "moved")
    moved = replace(begun, finetune=replace(begun.finetune, initial=str(tmp_path / "moved")))
    with pytest.raises(Stopped):
        crossvalidate(moved, StopBeforeTheFirstFold())
    write_scan(scan, np.random.default_rng(0).normal(100, 9, (20, 22, 18)).astype(np.float32))
    assert scan.read_bytes() != whole
    assert "the scans" in refusal_of(moved)


def test_one_that_an_older_mimseg_began_goes_on(begun: CrossvalidationSettings, tmp_path: Path) -> None:
    file = tmp_path / "model.folds" / "folds.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert {"start", "budget_of_a_training", "schedule", "training_sha256"} <= set(stored)
    file.write_text(json.dumps({key: stored[key] for key in OLDER}), encoding="utf-8")
    other = replace(begun, finetune=replace(begun.finetune, budget=Budget(30)))
    with pytest.raises(Stopped):
        crossvalidate(other, StopBeforeTheFirstFold())
    assert set(json.loads(file.read_text(encoding="utf-8"))) == set(OLDER)
    file.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read"):
        crossvalidate(other, StopBeforeTheFirstFold())


def test_another_pretraining_of_ones_own_is_refused(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 2)
    chosen = FinetuneSettings(
        data, tmp_path / "model", Budget(1), None, SHAPE, batch=1, device="cpu", precision="32-true"
    )
    own = PretrainSettings(
        (data / "imagesTr",), tmp_path, Budget(1), SHAPE, method_settings={"decoder_size": 24, "decoder_heads": 2},
        batch=1, window=(16, 16, 16), device="cpu", precision="32-true", validations=1,
    )  # fmt: skip
    with pytest.raises(Stopped):
        crossvalidate(CrossvalidationSettings(chosen, 0, False, own), StopBeforeTheFirstFold())
    longer = CrossvalidationSettings(chosen, 0, False, replace(own, budget=Budget(9)))
    assert "pre-training on own volumes" in refusal_of(longer, resume=True)
