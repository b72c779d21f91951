"""Reports from synthetic logs: every number comes from finished runs, and what is missing is said."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from study_logs import GIVEN, SECRET, finish, finish_all, make_plan, report_of

from mimseg.commands.study.run import study
from mimseg.commands.study.settings import StudySettings
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.studies.claims import CLAIMS, load_claim
from mimseg.studies.plan import FINETUNING, PRETRAINING, read_plan, write_plan
from mimseg.studies.results import SCORES


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_complete_study_gives_a_verdict_tables_figures_and_files_without_names(claim: str, tmp_path: Path) -> None:
    plan = make_plan(claim)
    finish_all(plan, tmp_path / "runs")
    verdict, content, page = report_of(plan, tmp_path)
    assert "missing" not in verdict
    assert verdict.count(". ") == 0  # one sentence
    assert verdict in page.replace("&#x27;", "'")
    assert "research use only" in page
    assert plan.command in page
    assert content["missing"] == []
    assert all(row["dice"]["mean"] == pytest.approx(0.8, abs=0.08) for row in content["rows"])
    assert list((tmp_path / "figures").glob("*.png"))
    with open(tmp_path / "results.csv", newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(plan.variants) * 3
    assert {line["status"] for line in lines} == {"finished"}
    for path in tmp_path.glob("results.*"):
        assert SECRET not in path.read_text(encoding="utf-8")
    assert SECRET not in page
    assert str(tmp_path) not in page


@pytest.mark.parametrize("claim", CLAIMS)
def test_without_runs_there_is_no_number_no_figure_and_no_verdict(claim: str, tmp_path: Path) -> None:
    plan = make_plan(claim)
    verdict, content, page = report_of(plan, tmp_path)
    count = len({run.name for run in plan.runs})
    assert verdict == f"No verdict, because {count} of {count} runs are missing."
    assert len(content["missing"]) == len({run.name for run in plan.runs})
    assert content["comparisons"] == []
    assert all(row["dice"] is None and row["runs"] == [] for row in content["rows"])
    assert not list(tmp_path.glob("figures/*"))
    assert "not started" in page


def test_speed_is_the_ratio_of_steps_to_the_references_best(tmp_path: Path) -> None:
    plan = make_plan("convergence", methods=("scratch", "simclr", "mae"))
    finish_all(plan, tmp_path / "runs")
    _, content, page = report_of(plan, tmp_path)
    # SimCLR's smoothed best is its last value; MAE, twice as fast and higher, is there earlier.
    threshold = np.mean([0.80 * (1 - np.exp(-0.05 * step)) for step in (80, 90, 100)])
    assert content["reference"] == "SimCLR"
    assert content["threshold"] == pytest.approx([threshold] * 3)
    rising = [0.85 * (1 - np.exp(-0.1 * step)) for step in range(10, 101, 10)]
    expected = next(10 * (n + 1) for n in range(2, 10) if np.mean(rising[n - 2 : n + 1]) >= threshold)
    assert content["speed"]["MAE"] == {"steps": [expected] * 3, "speed_up": [100 / expected] * 3}
    assert content["speed"]["SimCLR"]["speed_up"] == [1.0] * 3
    assert "Threshold: for each seed the best smoothed validation Dice of SimCLR" in page
    assert "abstract says 1.40×" in page


def test_a_start_that_never_gets_there_is_printed_as_such(tmp_path: Path) -> None:
    plan = make_plan("convergence", methods=("scratch", "mae"))
    for run in plan.runs:
        finish(run, tmp_path / "runs", 0.7 if run.variant == "MAE" else 0.8)
    verdict, content, page = report_of(plan, tmp_path)
    assert content["speed"]["MAE"] == {"steps": [None] * 3, "speed_up": [None] * 3}
    assert "MAE never reached the best validation score of scratch" in verdict
    assert "MAE scored lower than scratch" in verdict
    assert "not reached, not reached, not reached" in page


PAIRS = [
    ("given weights continued by MAE", "given weights"), ("given weights continued by MAE", "MAE"),
    ("given weights continued by MAE", "scratch"), ("given weights", "MAE"), ("given weights", "scratch"),
    ("MAE", "scratch"),
]  # fmt: skip


def test_given_weights_are_compared_as_they_are_and_continued(tmp_path: Path) -> None:
    plan = make_plan("labels", sizes=(3,), given=GIVEN)
    finish_all(plan, tmp_path / "runs")
    verdict, content, page = report_of(plan, tmp_path)
    assert [(item["first"], item["second"]) for item in content["comparisons"]] == [
        (f"{first}, 3 labelled", f"{second}, 3 labelled") for first, second in PAIRS
    ]
    effects = [item["effect"] for item in content["comparisons"]]
    assert effects == pytest.approx([0.05, -0.03, 0.02, -0.08, -0.03, 0.05])
    assert verdict.startswith(
        "Given weights continued by MAE scored higher than given weights with 3 labelled cases (+0.050 Dice"
    )
    assert "given weights scored lower than scratch" in verdict
    with open(tmp_path / "results.csv", newline="", encoding="utf-8") as stream:
        starts = {line["start"] for line in csv.DictReader(stream)}
    assert starts == {"scratch", "MAE", "given weights", "given weights continued by MAE"}
    assert content["design"]["given"]["licence"] == "CC-BY-4.0"
    assert "(licence: CC-BY-4.0; Wald et al. OpenMind)." in page
    assert "They do not say which scans they learned from" in page
    assert "continued on one&#x27;s own images?" in page
    # What continuing costs stands beside what it gives.
    assert [row["pretraining_loss"] is None for row in content["rows"]] == [True, False, True, False]


def test_given_weights_converge_beside_the_other_starts(tmp_path: Path) -> None:
    plan = make_plan("convergence", methods=("scratch", "mae", "given", "given+mae"), given=GIVEN)
    finish_all(plan, tmp_path / "runs")
    _, content, _ = report_of(plan, tmp_path)
    assert {(item["first"], item["second"]) for item in content["comparisons"]} == set(PAIRS)
    assert content["speed"]["given weights continued by MAE"]["speed_up"][0] > 1
    assert content["speed"]["given weights"]["steps"] == [None] * 3


@pytest.mark.parametrize("claim", CLAIMS)
def test_with_one_seed_nothing_is_shown_and_the_verdict_says_why(claim: str, tmp_path: Path) -> None:
    plan = make_plan(claim, seeds=(0,))
    for number, run in enumerate(plan.runs):
        finish(run, tmp_path / "runs", 0.5 + 0.01 * number, 1.0 + number)
    verdict, content, page = report_of(plan, tmp_path)
    assert any(item["over_cases"] for item in content["comparisons"])
    assert not any(item["shown"] for item in content["comparisons"])
    said = "on these cases, but no training was repeated with another seed, so this is not shown"
    assert said in verdict
    assert said in page
    assert "<td>holds over cases, but with one seed: not shown</td>" in page
    assert "<td>shown</td>" not in page
    assert "with every seed" not in verdict
    assert "never reached" not in verdict


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_so_few_subjects_cannot_show_is_not_said_to_be_no_difference(claim: str, tmp_path: Path) -> None:
    plan = replace(make_plan(claim), subjects=tuple(case % 6 for case in range(12)))
    for number, run in enumerate(plan.runs):
        finish(run, tmp_path / "runs", 0.5 + 0.01 * number, 1.0 + number)
    verdict, content, page = report_of(plan, tmp_path)
    assert "cannot be shown with so few subjects" in verdict
    assert "no difference shown" not in verdict
    assert all(item["too_few"] for item in content["comparisons"])
    assert "<td>cannot be shown with so few subjects</td>" in page
    assert "<td>no difference shown</td>" not in page


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_claim_tests_is_known_before_it_trains(claim: str, tmp_path: Path) -> None:
    plan = make_plan(claim)
    finish_all(plan, tmp_path / "runs")
    _, content, _ = report_of(plan, tmp_path)
    planned = [(first, second) for first, _, second, _ in load_claim(claim).comparisons_of(plan)]
    assert [(item["first"], item["second"]) for item in content["comparisons"]] == planned


def test_equal_scores_are_no_difference_shown(tmp_path: Path) -> None:
    plan = make_plan("labels", sizes=(1, 0))
    for run in plan.runs:
        finish(run, tmp_path / "runs", 0.8)
    verdict, content, _ = report_of(plan, tmp_path)
    assert verdict.startswith("No difference between MAE and scratch shown with 1 labelled case (+0.000 Dice")
    assert [item["corrected"] for item in content["comparisons"]] == [1.0, 1.0]


def _empty_case(folder: Path, found: bool) -> None:
    """Let the third case show no structure, and the run find one there or none."""
    content = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    for row in content["validation"]:
        if row["case"] == 3:
            row["dice"] = 0.0 if found else None
    (folder / SCORES).write_text(json.dumps(content), encoding="utf-8")


def test_a_case_without_structures_counts_where_something_was_found(tmp_path: Path) -> None:
    plan = make_plan("convergence", methods=("scratch", "mae"))
    finish_all(plan, tmp_path / "runs")
    fine = [run for run in plan.runs if run.kind == FINETUNING]
    for run in fine:
        _empty_case(run.folder(tmp_path / "runs"), found=False)
    _, content, page = report_of(plan, tmp_path)
    rows = {row["name"]: row for row in content["rows"]}
    for row in rows.values():
        assert row["runs"][0]["dice_by_case"][2] is None
        # The case is all of its subject, of nine others.
        others = [
            np.mean([[dice for dice, own in zip(run["dice_by_case"], plan.subjects, strict=True) if own == subject]
                     for run in row["runs"]])
            for subject in {*plan.subjects} - {plan.subjects[2]}
        ]  # fmt: skip
        assert row["dice"]["mean"] == pytest.approx(np.mean(others))
    assert content["comparisons"][0]["effect"] == pytest.approx(0.05)
    assert content["comparisons"][0]["p"] == pytest.approx(2 / 2**9)
    assert "counts in no mean" in page
    with open(tmp_path / "results.csv", newline="", encoding="utf-8") as stream:
        assert all(0.7 < float(line["dice"]) < 0.9 for line in csv.DictReader(stream))

    for run in fine:
        _empty_case(run.folder(tmp_path / "runs"), found=run.variant == "scratch" and run.seed == 0)
    _, content, _ = report_of(plan, tmp_path)
    rows = {row["name"]: row for row in content["rows"]}
    # One seed of scratch found something: wrong, and the other five runs were right.
    assert content["comparisons"][0]["effect"] == pytest.approx((9 * 0.05 + 1 / 3) / 10)
    assert content["comparisons"][0]["seeds"] == pytest.approx([(9 * 0.05 + 1) / 10, 0.045, 0.045])
    assert rows["MAE"]["dice"]["mean"] == pytest.approx(0.85, abs=0.03)
    assert rows["scratch"]["dice"]["mean"] == pytest.approx(0.72, abs=0.03)


def test_scores_below_what_needs_no_image_are_called_that(tmp_path: Path) -> None:
    plan = make_plan("labels", sizes=(1, 0), floor=0.95)
    finish_all(plan, tmp_path / "runs")
    verdict, _, _ = report_of(plan, tmp_path)
    assert "lies below the 0.95 that is reached without looking at the image" in verdict


def _without_scores(folder: Path) -> None:
    (folder / SCORES).unlink()
    (folder / "checkpoint.pt").write_bytes(b"")


def _of_another_run(folder: Path) -> None:
    content = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    (folder / SCORES).write_text(json.dumps({**content, "run": "another"}), encoding="utf-8")


def _broken_off(folder: Path) -> None:
    lines = (folder / "log.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "log.csv").write_text("".join(lines[:-2]), encoding="utf-8")


def _one_case_less(folder: Path) -> None:
    content = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    content["validation"] = content["validation"][2:]
    (folder / SCORES).write_text(json.dumps(content), encoding="utf-8")


def _too_good(folder: Path) -> None:
    content = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    content["validation"][0]["dice"] = 7.5
    (folder / SCORES).write_text(json.dumps(content), encoding="utf-8")


def _not_a_number(folder: Path) -> None:
    text = (folder / SCORES).read_text(encoding="utf-8")
    (folder / SCORES).write_text(text.replace('"seconds": 60.0', '"seconds": NaN'), encoding="utf-8")


def _cut(folder: Path) -> None:
    (folder / SCORES).write_text((folder / SCORES).read_text(encoding="utf-8")[:-30], encoding="utf-8")


def _no_log(folder: Path) -> None:
    (folder / "log.csv").unlink()


DAMAGES = {
    _without_scores: "not finished", _of_another_run: "another run", _broken_off: "ended after",
    _one_case_less: "11 cases", _too_good: "between 0 and 1", _not_a_number: "not finite", _cut: "damaged",
    _no_log: "damaged", shutil.rmtree: "not started",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def test_a_run_that_is_not_whole_gives_no_number(damage: Any, tmp_path: Path) -> None:
    plan = make_plan("convergence", methods=("scratch", "mae", "simclr"))
    finish_all(plan, tmp_path / "runs")
    victim = plan.find("MAE", FINETUNING, 1)
    assert victim is not None
    damage(victim.folder(tmp_path / "runs"))
    verdict, content, page = report_of(plan, tmp_path)
    assert verdict == "No verdict, because 1 of 11 runs are missing."
    assert [(item["run"], item["seed"]) for item in content["missing"]] == [("MAE", 1)]
    assert DAMAGES[damage] in content["missing"][0]["reason"]
    rows = {row["name"]: row for row in content["rows"]}
    assert rows["MAE"]["dice"] is None
    assert [run["seed"] for run in rows["MAE"]["runs"]] == [0, 2]
    assert rows["scratch"]["dice"] is not None
    assert "1 of 11 runs are missing" in page
    assert content["comparisons"] == []


def test_a_missing_pretraining_takes_its_finetunings_along(tmp_path: Path) -> None:
    plan = make_plan("labels", sizes=(1, 3))
    finish_all(plan, tmp_path / "runs")
    pretraining = next(run for run in plan.runs if run.kind == PRETRAINING)
    (pretraining.folder(tmp_path / "runs") / SCORES).unlink()
    verdict, content, _ = report_of(plan, tmp_path)
    assert verdict == "No verdict, because 1 of 13 runs are missing."
    assert all(not row["runs"] for row in content["rows"] if row["start"] == "MAE")


def test_the_report_comes_again_from_the_logs_alone(tmp_path: Path) -> None:
    plan = make_plan("masking", with_scratch=True)
    finish_all(plan, tmp_path / "shared runs")
    write_plan(tmp_path / "report" / "plan.json", plan)
    settings = StudySettings(
        plan.design, tmp_path / "no data", tmp_path / "report", runs=tmp_path / "shared runs", report_only=True
    )
    with pytest.raises(UserError, match="is about masking"):
        study(replace(settings, design=replace(plan.design, claim="labels")), Reporter())
    contents = []
    for _ in range(2):
        path = study(settings, Reporter())
        files = [path, *(path.parent / name for name in ("results.csv", "results.json", "figures/grid.png"))]
        contents.append([file.read_bytes() for file in files])
        path.unlink()
        shutil.rmtree(path.parent / "figures")
    assert contents[0] == contents[1]
    (tmp_path / "report" / "results.csv").write_text("patient,dice\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"results\.csv exists and is no report"):
        study(settings, Reporter())


def test_a_plan_survives_its_file_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    for plan in (make_plan("labels", given=GIVEN), make_plan("labels")):
        write_plan(tmp_path / "plan.json", plan)
        assert read_plan(tmp_path / "plan.json") == plan
    plan = make_plan("resolution", pretrain_spacing=(1.0, 1.0, 2.0), window=(32, 32, 32))
    path = tmp_path / "plan.json"
    write_plan(path, plan)
    assert read_plan(path) == plan
    path.write_text(path.read_text(encoding="utf-8").replace('"steps": 100', '"steps": 90'), encoding="utf-8")
    with pytest.raises(UserError, match="a run was changed"):
        read_plan(path)
    with pytest.raises(UserError, match="There is no study"):
        read_plan(tmp_path / "elsewhere" / "plan.json")


def test_rows_of_several_seeds_of_pretraining_keep_them_apart(tmp_path: Path) -> None:
    plan = make_plan("labels", sizes=(1,), pretrain_every_seed=True)
    assert sum(run.kind == PRETRAINING for run in plan.runs) == 3
    assert sum(run.kind == PRETRAINING for run in make_plan("labels", sizes=(1,)).runs) == 1
    finish_all(plan, tmp_path / "runs")
    _, _, page = report_of(plan, tmp_path)
    assert "200 steps with 16 crops, once a seed, whose loss" in page
    assert replace(plan.design, pretrain_every_seed=False).pretraining_seed(2) == 0


def test_what_is_whole_keeps_its_verdict_beside_what_is_missing(tmp_path: Path) -> None:
    plan = make_plan("labels", sizes=(1, 3))
    finish_all(plan, tmp_path / "runs")
    victim = plan.find("MAE, 3 labelled", FINETUNING, 2)
    assert victim is not None
    shutil.rmtree(victim.folder(tmp_path / "runs"))
    verdict, content, page = report_of(plan, tmp_path)
    assert verdict.startswith("MAE scored higher than scratch with 1 labelled case (+0.050 Dice")
    assert verdict.endswith("no verdict on MAE, 3 labelled against scratch, 3 labelled, because runs are missing.")
    assert len(content["comparisons"]) == 1
    assert "fine-tuning of MAE, 3 labelled, seed 2: not started" in page
