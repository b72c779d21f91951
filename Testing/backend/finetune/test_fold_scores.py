"""What the scores of folds say: of subjects, not of cases, and no more than so few of them can show."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.train

from mimseg.commands.crossvalidate.report import make_page  # noqa: E402
from mimseg.commands.crossvalidate.scores import cross_validation_scores  # noqa: E402
from mimseg.data.labels.structures import Label  # noqa: E402

LABELS = (Label(1, "ball", (1, 2, 3)),)


def rows(dice: list[float]) -> list[dict]:
    return [
        {"case": case, "label": "ball", "dice": value, "surface_dice_1mm": None}
        for case, value in enumerate(dice, start=1)
    ]


def test_the_mean_is_over_subjects_as_its_interval() -> None:
    # One person with ten bad scans beside six with one good scan each.
    subjects = ["a"] * 10 + list("bcdefg")
    dice = [0.55 + 0.01 * n for n in range(10)] + [0.9, 0.91, 0.88, 0.92, 0.9, 0.89]
    both = {"start": rows(dice), "scratch": rows([value - 0.1 * (n >= 10) for n, value in enumerate(dice)])}
    scores = cross_validation_scores(both, LABELS, subjects, 5)
    summary = scores["summary"]
    expected = np.mean([np.mean(dice[:10]), *dice[10:]])
    assert summary["mean_dice"] == pytest.approx(expected)
    low, high = summary["interval_95"]
    assert low <= summary["mean_dice"] <= high
    assert not low <= np.mean(dice) <= high, "the mean over cases, which stood here before"
    compared = scores["comparison"]
    difference = compared["this start"]["mean Dice"] - compared["from scratch"]["mean Dice"]
    assert difference == pytest.approx(0.6 / 7, abs=1e-4), "as the verdict says"
    assert "+0.086 Dice" in scores["verdict"]
    page = make_page(both, scores, [f"case_{n}" for n in range(16)], None)
    assert f"Mean Dice {expected:.3f} over 7 subjects" in page


def test_by_subject_is_said_only_where_subjects_are_known() -> None:
    names, dice = list("abcdefg"), [0.5, 0.6, 0.7, 0.8, 0.6, 0.7, 0.5]
    both = {"start": rows(dice), "scratch": rows([value - 0.1 for value in dice])}
    known, none, some = (cross_validation_scores(both, LABELS, names, 5, unknown=count) for count in (0, 7, 2))
    assert known["method"].startswith("5-fold cross-validation by subject;")
    assert "by case, since no subject is known" in none["method"]
    assert "by subject" not in none["method"]
    assert "2 of 7 cases without a known subject count as subjects of their own" in some["method"]
    assert ("7 subjects" in known["verdict"], "7 cases" in none["verdict"]) == (True, True)
    for scores, word in ((known, "7 subjects"), (none, "7 cases"), (some, "7 subjects")):
        page = make_page(both, scores, names, None)
        assert f"over {word} (95 %" in page
        assert "Where no subject is known, a case counts as one" in page
        assert "subjects of one fold share its trainings" in page


@pytest.mark.parametrize(("people", "arms", "shown"), [(5, 1, False), (6, 1, True), (6, 2, False), (7, 2, True)])
def test_so_few_subjects_cannot_show_so_many_comparisons(people: int, arms: int, shown: bool) -> None:
    dice = [0.8 + 0.01 * n for n in range(people)]
    every = {"start": rows(dice)}
    every.update({arm: rows([value - 0.2 for value in dice]) for arm in ("without-own", "scratch")[:arms]})
    verdict = cross_validation_scores(every, LABELS, list("abcdefg")[:people], 5)["verdict"]
    assert verdict.count("better on these cases") == (arms if shown else 0)
    assert verdict.count("cannot be shown with so few subjects") == (0 if shown else arms)


def test_steps_of_the_arms_and_extra_minutes_are_told() -> None:
    names, dice = list("abcdefg"), [0.5, 0.6, 0.7, 0.8, 0.6, 0.7, 0.5]
    both = {"start": rows(dice), "scratch": rows([value - 0.1 for value in dice])}
    steps = {"start": [120, 131, 118], "scratch": [140, 140, 140]}
    scores = cross_validation_scores(both, LABELS, names, 3, 0, steps, pretrained=True)
    assert scores["steps"] == {"this start": "118 to 131", "from scratch": "140"}
    page = make_page(both, scores, names, None)
    assert "118 to 131" in page
    assert "on own volumes came on top" in scores["verdict"]
    alone = cross_validation_scores({"start": rows(dice)}, LABELS, names, 3, 0, {"start": [5]}, pretrained=True)
    assert "verdict" not in alone
    assert "on top" not in cross_validation_scores(both, LABELS, names, 3, 0, steps)["verdict"]
