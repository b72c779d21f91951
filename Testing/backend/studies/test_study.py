"""Studies without training: who trains and validates, which runs are planned, what the statistics say."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from study_logs import GIVEN, make_plan

from mimseg.cli.main import build_parser
from mimseg.cli.study import design_from, shown_command
from mimseg.commands.locks import claim
from mimseg.commands.study.settings import StudySettings
from mimseg.data.cases import Case, Dataset
from mimseg.errors import UserError
from mimseg.metrics.bootstrap import by_subject
from mimseg.studies.claims import CLAIMS
from mimseg.studies.design import Design
from mimseg.studies.plan import FINETUNING, PRETRAINING
from mimseg.studies.statistics import (
    Pair,
    compare,
    estimate,
    fewest_subjects,
    first_reached,
    holm,
    sign_flip_test,
    smooth,
)
from mimseg.studies.subsets import split, subject_numbers, subset


def cases(count: int, per_subject: int = 2, labelled: bool = True) -> tuple[Case, ...]:
    return tuple(
        Case(f"c{n}", (Path(f"c{n}.nii"),), Path(f"l{n}.nii") if labelled else None, f"s{n // per_subject}")
        for n in range(count)
    )


def test_every_fifth_subject_validates_with_all_its_cases() -> None:
    pool, validation = split(Dataset(cases(20), {}), None, None)
    assert [case.identifier for case in validation] == ["c8", "c9", "c18", "c19"]
    assert len(pool) == 16
    assert not {case.subject for case in pool} & {case.subject for case in validation}
    assert subject_numbers(validation) == [0, 0, 1, 1]
    unknown = tuple(Case(f"c{n}", (Path("i"),), Path("l")) for n in range(10))
    assert [case.identifier for case in split(Dataset(unknown, {}), None, None)[1]] == ["c4", "c9"]


def test_cases_without_labels_are_pretrained_on_but_never_score_or_train() -> None:
    data = Dataset((*cases(20), *(Case(f"u{n}", (Path("u"),), None) for n in range(5))), {})
    pool, validation = split(data, None, None)
    assert sum(case.label is None for case in pool) == 5
    assert all(case.label is not None for case in (*validation, *subset(pool, 0, 0)))


def test_a_subject_on_both_sides_is_refused() -> None:
    with pytest.raises(UserError, match="validate") as caught:
        split(Dataset(cases(20), {}), "c0,c2", "c1,c3")
    assert caught.value.code == "leaking-validation"


@pytest.mark.parametrize(("count", "validating"), [(4, "0 cases"), (9, "1 case")])
def test_too_few_subjects_for_every_fifth_are_told_the_option_that_helps(count: int, validating: str) -> None:
    with pytest.raises(UserError, match=f"^{validating} would validate and . cases with labels would train") as caught:
        split(Dataset(cases(count, 1), {}), None, None)
    assert "--validation" in caught.value.hint
    assert len(split(Dataset(cases(count, 1), {}), None, "c0,c1")[1]) == 2


@pytest.mark.parametrize("seed", range(5))
def test_subsets_are_nested_and_take_every_subject_before_any_twice(seed: int) -> None:
    pool = cases(20)
    every = subset(pool, 0, seed)
    assert sorted(case.identifier for case in every) == sorted(case.identifier for case in pool)
    for size in (1, 3, 10, 20):
        chosen = subset(pool, size, seed)
        assert chosen == every[:size]
        assert len({case.subject for case in chosen}) == min(size, 10)
    assert every != subset(pool, 0, seed + 1)
    with pytest.raises(UserError, match="the pool has 20"):
        subset(pool, 21, seed)


@pytest.mark.parametrize(
    ("claim", "pretrainings", "finetunings"),
    [("convergence", 3, 12), ("masking", 6, 18), ("decoder", 6, 18), ("resolution", 3, 18), ("labels", 1, 24)],
)
def test_each_claim_plans_one_pretraining_a_variant_and_every_seed(
    claim: str, pretrainings: int, finetunings: int
) -> None:
    runs = make_plan(claim).runs
    assert sum(run.kind == PRETRAINING for run in runs) == pretrainings
    assert sum(run.kind == FINETUNING for run in runs) == finetunings
    names = [run.name for run in runs]
    for position, run in enumerate(runs):
        assert not run.initial or run.initial in names[:position]
    fine = [run for run in runs if run.kind == FINETUNING]
    assert [run.seed for run in fine] == sorted(run.seed for run in fine)  # a stopped study has whole seeds first


def test_rows_differ_in_nothing_but_what_is_compared() -> None:
    for seed in range(3):
        same = [
            {key: value for key, value in run.settings.items() if key != "initial"}
            for run in make_plan("convergence").runs
            if run.kind == FINETUNING and run.seed == seed
        ]
        assert len(same) == 4
        assert all(settings == same[0] for settings in same)


def test_equal_runs_of_different_studies_have_one_name_and_others_do_not() -> None:
    convergence, labels = make_plan("convergence"), make_plan("labels", sizes=(3, 10))
    for row, other in (("scratch", "scratch, 10 labelled"), ("MAE", "MAE, 10 labelled")):
        first, second = convergence.find(row, FINETUNING, 1), labels.find(other, FINETUNING, 1)
        assert first is not None
        assert second is not None
        assert first.name == second.name
    fewer = labels.find("MAE, 3 labelled", FINETUNING, 1)
    assert fewer is not None
    assert fewer.name != second.name
    other_batch = {run.name for run in make_plan("convergence", batch=3).runs if run.kind == FINETUNING}
    assert other_batch.isdisjoint(run.name for run in convergence.runs)


def test_runs_from_given_weights_carry_their_digest_and_the_others_stay_what_they_were() -> None:
    plain, given = make_plan("labels"), make_plan("labels", given=GIVEN)
    assert {run.name for run in plain.runs} < {run.name for run in given.runs}
    assert len(given.runs) == len(plain.runs) + 1 + 24  # continued once, fine-tuned from both for 4 sizes and 3 seeds
    other = make_plan("labels", given=replace(GIVEN, sha256="34cd" * 16))
    ours, theirs = ({run.name for run in plan.runs} - {run.name for run in plain.runs} for plan in (given, other))
    assert len(ours) == len(theirs)
    assert ours.isdisjoint(theirs)
    as_is = given.find("given weights, 3 labelled", FINETUNING, 1)
    assert as_is is not None
    assert as_is.name.startswith("finetuning-given-")
    assert given.find("given weights, 3 labelled", PRETRAINING, 1) is None
    continued = given.find("given weights continued by MAE, 3 labelled", PRETRAINING, 1)
    assert continued is not None
    assert (continued.settings["method"], continued.settings["given"]) == ("mae", GIVEN.sha256)
    # Intensities that a study would not plan itself are another run from every start.
    scaled = make_plan("labels", given=replace(GIVEN, preprocessing={"intensity": "other"}))
    assert {run.name for run in scaled.runs}.isdisjoint(run.name for run in given.runs)


def test_smoothing_and_the_first_step_that_reaches_a_threshold() -> None:
    steps, values = [10, 20, 30, 40, 50], [0.1, 0.9, 0.2, 0.7, 0.9]
    assert smooth(values) == pytest.approx([0.4, 0.6, 0.6])
    assert first_reached(steps, values, 0.4) == 30
    assert first_reached(steps, values, 0.6) == 40
    assert first_reached(steps, values, 0.61) is None
    assert first_reached(steps[:2], values[:2], 0.1) is None


def test_subjects_count_once() -> None:
    assert by_subject([0.2, 0.4, 0.9], [0, 0, 1]) == pytest.approx([0.3, 0.9])
    found = estimate(np.array([[0.2, 0.4, 0.9], [0.4, 0.6, 0.7]]), [0, 0, 1])
    assert found.seeds == pytest.approx((0.6, 0.6))
    assert found.mean == pytest.approx(0.6)
    assert found.interval == pytest.approx((0.4, 0.8))


def test_the_sign_flip_test_is_exact_for_few_and_close_for_many() -> None:
    assert sign_flip_test([1.0] * 5) == pytest.approx(2 / 2**5)
    assert sign_flip_test([1.0, -1.0]) == 1.0
    assert sign_flip_test([0.0] * 20) == 1.0
    assert sign_flip_test([3.0, 2.0, 1.0]) == pytest.approx(2 / 8)
    assert math.isnan(sign_flip_test([]))
    shifted = np.random.default_rng(3).normal(0.6, 1, 30)
    scipy_value = (
        0.0028  # scipy.stats.permutation_test((shifted,), mean, permutation_type="samples"), 200,000 resamples
    )
    assert sign_flip_test(shifted) == pytest.approx(scipy_value, abs=0.0015)


def test_the_sign_flip_test_rarely_errs_where_there_is_nothing() -> None:
    generator = np.random.default_rng(0)
    p_values = [sign_flip_test(generator.normal(0, 1, 10)) for _ in range(400)]
    assert np.mean(np.array(p_values) < 0.05) < 0.08


def test_holm_corrects_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_how_many_subjects_can_show_a_difference() -> None:
    for comparisons, fewest in ((1, 6), (2, 7), (3, 7), (4, 8)):
        for subjects, possible in ((fewest, True), (fewest - 1, False)):
            pair = Pair("a", "b", np.full((3, subjects), 0.8), np.full((3, subjects), 0.4))
            found = compare([pair] * comparisons, range(subjects))
            assert {item.shown for item in found} == {possible}
            assert {item.too_few for item in found} == {not possible}
            assert ("cannot be shown" in found[0].result) is not possible
        assert fewest_subjects(comparisons) == fewest


def test_a_difference_that_one_seed_contradicts_is_not_called_shown() -> None:
    rising = np.linspace(0.7, 0.8, 12)
    better = np.stack([rising + 0.05, rising + 0.05, rising - 0.01])
    found, same = compare(
        [
            Pair("a", "b", better, np.stack([rising] * 3)),
            Pair("c", "b", np.stack([rising + 0.02] * 3), np.stack([rising] * 3)),
        ],
        range(12),
    )
    assert found.corrected < 0.01
    assert not found.shown
    assert found.figures.endswith("2 of 3 seeds higher")
    assert same.shown
    assert same.effect == pytest.approx(0.02)
    assert same.interval == pytest.approx((0.02, 0.02))


def test_one_training_each_shows_nothing_however_many_cases_agree() -> None:
    rising = np.linspace(0.7, 0.8, 12)
    one, two = (compare([Pair("a", "b", rising + np.full((n, 1), 0.05), rising + np.zeros((n, 1)))], range(12))[0]
                for n in (1, 2))  # fmt: skip
    assert one.corrected == two.corrected < 0.01
    assert (one.over_cases, one.shown) == (True, False)
    assert (two.over_cases, two.shown) == (True, True)
    assert one.result == "holds over cases, but with one seed: not shown"
    assert two.result == "shown"


def parse(*options: str, claim: str = "labels") -> Design:
    return design_from(build_parser("study").parse_args(["study", claim, "data", "-o", "report", *options]))


@pytest.mark.parametrize("name", CLAIMS)
def test_the_command_without_options_asks_the_papers_questions(name: str) -> None:
    design = parse(claim=name)
    assert (design.seeds, design.sizes, design.labelled) == ((0, 1, 2), (1, 3, 10, 0), 10)
    assert design.decoders == ((192, 1, 6), (192, 4, 6), (512, 8, 8))
    assert design.spacings == ((1, 1, 1), (1.5, 1.5, 1.5), (2, 2, 2))
    assert Design.from_json(design.to_json()) == design


def test_options_become_what_is_compared() -> None:
    design = parse("--spacings", "1,1,3;2", "--sizes", "2,all", "--decoders", "96x2x4", "--pretrain-spacing", "2")
    assert design.spacings == ((1, 1, 3), (2, 2, 2))
    assert (design.sizes, design.decoders, design.pretrain_spacing) == ((2, 0), ((96, 2, 4),), (2, 2, 2))
    assert parse("--methods", "scratch,mae").threshold_from == "scratch"
    assert parse().threshold_from == "simclr"
    assert parse().methods == ("scratch", "mae", "simmim", "simclr")
    assert parse("--init", "run").methods == ("scratch", "mae", "simmim", "simclr", "given", "given+mae")


@pytest.mark.parametrize(
    "options",
    [
        ("--sizes", "0"), ("--sizes", "few"), ("--seeds", "1,1"), ("--methods", "mae,moco"), ("--reference", "vicreg"),
        ("--methods", "given+moco"),
        ("--mask-ratios", "75"), ("--spacings", "1,2;3"), ("--decoders", "192"), ("--validations", "2"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(options: tuple[str, str]) -> None:
    with pytest.raises(UserError):
        parse(*options)


def test_a_study_needs_a_budget() -> None:
    design = parse()
    with pytest.raises(UserError, match="no budget"):
        StudySettings(design, Path("data"), Path("report"), steps=100)
    with pytest.raises(UserError, match="no room for 20 validations"):
        StudySettings(design, Path("data"), Path("report"), steps=10, pretrain_steps=10)
    assert StudySettings(design, Path("data"), Path("report"), minutes=1).runs_path == Path("report/runs")


def test_given_weights_and_the_rows_that_start_from_them_come_together() -> None:
    def settings(design: Design, initial: str | None) -> StudySettings:
        return StudySettings(design, Path("data"), Path("report"), minutes=1, initial=initial)

    with pytest.raises(UserError, match="need such weights") as caught:
        settings(parse("--methods", "scratch,given", claim="convergence"), None)
    assert "--init" in caught.value.hint
    for design in (parse("--init", "run", claim="masking"), parse("--methods", "scratch,mae", claim="convergence")):
        with pytest.raises(UserError, match="no row that starts from"):
            settings(design, "run")
    settings(parse("--init", "run", claim="convergence"), "run")
    settings(parse("--init", "run"), "run")


def test_the_shown_command_names_no_file_and_no_case() -> None:
    words = ["study", "labels", "/home/jane/data", "-o", "/tmp/r", "--validation", "jane,joe", "--labels", "/l.json",
             "--sizes", "1,2", "--flip-left-right", "--runs", "/tmp/runs", "--json-lines",
             "--init", "/jane/run"]  # fmt: skip
    shown = shown_command(build_parser("study").parse_args(words))
    assert shown.startswith("mimseg study labels DATA -o REPORT ")
    assert not any(secret in shown for secret in ("jane", "joe", "/"))
    assert "--validation VALIDATION" in shown
    assert "--init WEIGHTS" in shown
    assert "--sizes 1,2" in shown
    assert "--flip-left-right" in shown
    assert "--seeds" not in shown  # a default


def test_a_lock_is_held_by_one_process_and_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "run.lock"
    code = (
        "import sys, time, pathlib\nfrom mimseg.commands.locks import claim\n"
        "with claim(pathlib.Path(sys.argv[1])) as mine:\n    print(mine, flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == "True"
        with claim(path) as mine:
            assert not mine
    finally:
        holder.kill()
        holder.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with claim(path) as mine:
            if mine:
                return
        time.sleep(0.05)
    pytest.fail("the lock outlived its process")
