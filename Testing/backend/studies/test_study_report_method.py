"""How a study was done stands in its report: the optimiser, and which images pre-training learns from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from study_logs import make_plan, report_of

from mimseg.studies.plan import FINETUNING, PRETRAINING


def test_the_report_names_the_optimiser_and_what_pretraining_sees(tmp_path: Path) -> None:
    plan = make_plan("labels")
    recipes = {
        PRETRAINING: {"schedule": {"optimizer": "adamw"}},
        FINETUNING: {"schedule": {"optimizer": "muon"}},
    }
    for facts, words in (
        (plan.facts, "Optimiser: AdamW. Peak"),
        (replace(plan.facts, recipes=recipes), "Optimiser: AdamW and Muon"),
    ):
        page = report_of(replace(plan, facts=facts), tmp_path)[2]
        assert words in page
        assert "whole pool" not in page
        assert "a tenth is held out" in page
    assert "with fewer than ten volumes none is" in report_of(make_plan("masking"), tmp_path)[2]
