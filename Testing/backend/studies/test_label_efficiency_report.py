"""The benchmark of few labels tests over people, not over their scans."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import label_efficiency_report

    yield label_efficiency_report
    for name in ("label_efficiency_report", "label_efficiency_runs"):
        sys.modules.pop(name, None)


def test_two_scans_of_a_person_count_once(report) -> None:
    from label_efficiency_runs import TASKS, Run

    people = report.people_of(TASKS["hippocampus"], ["hippocampus_001", "hippocampus_002", "hippocampus_004"])
    assert people == [0, 0, 1]
    assert report.people_of(TASKS["spine"], ["spine_06", "spine_07"]) == [0, 1]

    def scores(values: list[float]) -> dict:
        return {"validation": [{"case": number, "dice": value} for number, value in enumerate(values, start=1)]}

    both = {Run("mim", "1", 0): scores([0.9, 0.9, 0.6]), Run("scratch", "1", 0): scores([0.8, 0.8, 0.7])}
    assert report.compare_arms(both, "1", "mim", "scratch", people).effect == pytest.approx(0.0)
    assert report.compare_arms(both, "5", "mim", "scratch", people) is None


def test_the_table_in_the_repository_says_what_the_scores_say(report) -> None:
    from label_efficiency_runs import TASKS, Run

    folder = BENCHMARKS / "results" / "label_efficiency"
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    people, task = content["people"], TASKS["hippocampus"]
    assert (len(people), len(set(people))) == (31, 20)
    scores = {
        Run(run["arm"], run["size"], run["seed"]): {
            "validation": [{"case": n, "dice": value} for n, value in enumerate(run["case_dice"])]
        }
        for run in content["runs"]
    }
    table = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    for line in table[2:8]:
        size, *_, first, second = (cell.strip() for cell in line.strip("|").split("|"))
        assert [first, second] == [report._difference(scores, size, *pair, people) for pair in task.comparisons]
        assert np.isfinite(report.compare_arms(scores, size, "mim", "dynunet", people).p)
    document = (BENCHMARKS.parents[1] / "docs" / "few-labels.md").read_text(encoding="utf-8")
    assert all(line in document for line in table[:8])
