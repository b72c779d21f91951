"""The scores of a fine-tuning without folds: a person with several validation cases counts once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402

from mimseg.data.cases import load_dataset  # noqa: E402
from mimseg.data.labels.scheme import choose_scheme  # noqa: E402
from mimseg.data.labels.structures import Label  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.metrics.bootstrap import bootstrap_interval  # noqa: E402
from mimseg.training import validation  # noqa: E402
from mimseg.training.crops.cache import load_training_case  # noqa: E402

LABELS = (Label(1, "ball", (1, 2, 3)),)


def summary_of(dice: list[float | None], subjects: str) -> dict[str, Any]:
    rows = [{"case": number, "label": "ball", "dice": value} for number, value in enumerate(dice, start=1)]
    return validation.summarize(rows, LABELS, list(subjects))


def test_mean_and_interval_are_over_people_and_the_rest_over_cases() -> None:
    summary = summary_of([0.9, 0.2, 0.4, 0.6, None], "baaac")
    assert summary["mean_dice"] == pytest.approx((0.9 + 0.4) / 2)
    assert summary["interval_95"] == pytest.approx([0.4, 0.9])
    assert (summary["cases"], summary["subjects"]) == (5, 3)
    assert (summary["median_dice"], summary["worst_dice"]) == pytest.approx((0.5, 0.2))


def test_where_every_case_is_a_person_the_summary_is_over_cases() -> None:
    dice = [0.9, 0.2, 0.4, 0.6]
    summary = summary_of([*dice], "dbca")
    assert summary["mean_dice"] == np.mean(dice)
    assert summary["interval_95"] == list(bootstrap_interval(dice))
    assert "subjects" not in summary


def test_subjects_of_the_data_reach_the_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset(write_dataset(tmp_path / "data", 3))
    scheme = choose_scheme(dataset, None, tmp_path / "data")
    people = ("ann", "ann", "")
    cases = [
        load_training_case(replace(case, subject=name), Preprocessing(), scheme, True, Reporter())
        for case, name in zip(dataset.cases, people, strict=True)
    ]

    def predicted(_network: Any, case: Any, *_others: Any) -> Any:
        found = case.membership[:, case.truth]
        return found & (case is not cases[0])  # nothing is found in the first one

    monkeypatch.setattr(validation, "predict_case", predicted)
    scores = validation.score_cases(None, cases, scheme.labels, None, 0.5, Reporter())  # type: ignore[arg-type]
    assert scores["summary"]["mean_dice"] == pytest.approx((0.5 + 1) / 2)
    assert scores["summary"]["subjects"] == 2
    assert "ann" not in str(scores)
