"""The scores that a model carries are those of what `mimseg segment` writes with it."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from segment_tools import settings_for  # noqa: E402
from synthetic import write_dataset  # noqa: E402

from mimseg.bundle.reader import open_bundle  # noqa: E402
from mimseg.commands.finetune.run import finetune  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.commands.segment.run import segment  # noqa: E402
from mimseg.data.labels.connected import keep_main_piece  # noqa: E402
from mimseg.data.labels.labelmaps import read_labelmap  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.metrics.overlap import dice  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training import validation  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402
from mimseg.training.loop import Budget  # noqa: E402
from mimseg.training.optimiser.schedule import Schedule  # noqa: E402

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)
ONE_PIECE = (("ball", "block"),)
CASE = "case_4.nii.gz"  # which validates


def test_what_segment_drops_is_dropped_before_scoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Curves, "_draw", lambda self: None)
    dropped: list[int] = []
    monkeypatch.setattr(validation, "keep_main_piece", lambda *a: dropped.append(keep_main_piece(*a)))
    data = write_dataset(tmp_path / "data", 5)
    chosen = FinetuneSettings(
        data, tmp_path / "model", Budget(25), None, SHAPE, window=(16, 16, 16), device="cpu", precision="32-true",
        schedule=Schedule(0.003, average=0.0), measure=False, validations=1, notes={"one_piece": ONE_PIECE},
    )  # fmt: skip
    scores = open_bundle(finetune(chosen, Reporter())).description.scores
    assert sum(dropped) > 20, "this training leaves no islands, so it tells nothing"
    segment(settings_for(chosen.output, data / "imagesTr" / CASE, tmp_path / CASE))
    found, true = (read_labelmap(path).array for path in (tmp_path / CASE, data / "labelsTr" / CASE))
    expected = [dice(found == value, true == value) for value in (1, 2)]
    assert [row["dice"] for row in scores["validation"]] == pytest.approx(expected, abs=0.001)
