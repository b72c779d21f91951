"""What is chosen from measured variants: the rules, one by one."""

import math

import pytest

from mimseg.commands.measure.choice import choose_overlap, choose_quick_mode, coarser_spacings, row_of
from mimseg.commands.measure.variants import MeasuredVariant

MM = (1.0, 1.0, 1.0)


def variant(overlap, windows, agreement=(math.nan, math.nan), dice=(0.8, 0.9), spacing=MM):
    return MeasuredVariant(overlap, spacing, list(windows), list(dice), list(agreement))


UNKNOWN = (math.nan, math.nan)
REFERENCE = variant(0.5, (27, 8))


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        # The smallest one that agrees.
        ([(0.375, (12, 4), (0.999, 0.999)), (0.25, (8, 4), (0.996, 0.996)), (0.125, (8, 2), (0.99, 0.99))], 0.25),
        # In the mean, and in the worst case.
        ([(0.375, (12, 4), (0.996, 0.9939))], 0.5),
        ([(0.375, (12, 4), (1.0, 0.992))], 0.375),
        ([(0.375, (12, 4), (1.0, 0.991, 0.999, 1.0)[:2])], 0.375),
        ([(0.375, (12, 4), (1.0, 0.979))], 0.5),
        # With fewer windows only.
        ([(0.375, (12, 4), (1.0, 1.0)), (0.25, (12, 4), (1.0, 1.0))], 0.375),
        ([(0.375, (27, 8), (1.0, 1.0))], 0.5),
        # A case whose windows stay where they are says nothing, and does not dilute the others.
        ([(0.375, (12, 8), (0.994, math.nan))], 0.5),
        ([(0.375, (12, 8), (0.996, math.nan))], 0.375),
        # Given up after the first case.
        ([(0.375, (12,), (0.5,))], 0.5),
    ],
)
def test_the_overlap_is_the_smallest_that_gives_the_same_labels(others, chosen):
    reference, *smaller = (variant(*one, dice=UNKNOWN) for one in [(0.5, (27, 8)), *others])
    assert choose_overlap([reference, *smaller], 0.4)[0] == chosen


@pytest.mark.parametrize(("dice", "least"), [(math.nan, 0.98), (0.9, 0.97)])
def test_the_worst_case_counts_even_where_the_mean_is_high(dice, least):
    reference = variant(0.5, [27] * 8, [math.nan] * 8, [dice] * 8)
    other = variant(0.25, [8] * 8, [1.0] * 7 + [least - 0.001], [dice] * 8)
    assert choose_overlap([reference, other], 0.5)[0] == 0.5
    other.agreement[-1] = least
    assert choose_overlap([reference, other], 0.5)[0] == 0.25


def test_borders_may_move_more_where_the_truth_shows_no_loss():
    assert choose_overlap([REFERENCE, variant(0.25, (8, 4), (0.985, 0.985))], 0.5)[0] == 0.25
    assert choose_overlap([REFERENCE, variant(0.25, (8, 4), (0.984, 0.984))], 0.5)[0] == 0.5
    others = [variant(0.5, (27, 8), dice=UNKNOWN), variant(0.25, (8, 4), (0.994, 0.994), UNKNOWN)]
    assert choose_overlap(others, 0.5)[0] == 0.5


def test_what_the_truth_says_against_an_overlap_counts():
    lower = variant(0.25, (8, 4), (0.998, 0.998), dice=(0.7985, 0.8985))
    assert choose_overlap([REFERENCE, lower], 0.5)[0] == 0.25
    lower = variant(0.25, (8, 4), (0.998, 0.998), dice=(0.7975, 0.8975))
    assert choose_overlap([REFERENCE, lower], 0.5)[0] == 0.5
    # Only of cases whose windows moved.
    lower = variant(0.25, (8, 8), (0.998, math.nan), dice=(0.7975, 0.9))
    assert choose_overlap([REFERENCE, lower], 0.5)[0] == 0.5
    unknown = [variant(one.overlap, one.windows, one.agreement, (math.nan, math.nan)) for one in (REFERENCE, lower)]
    assert choose_overlap(unknown, 0.5)[0] == 0.25


def test_where_nothing_can_be_learnt_the_overlap_stays_and_that_is_said():
    overlap, why = choose_overlap([REFERENCE, variant(0.375, (27, 8)), variant(0.25, (27, 8))], 0.4)
    assert overlap == 0.4
    assert why.startswith("0.4, kept")


def test_candidates_leave_coarse_axes_as_they_are():
    assert coarser_spacings((0.8, 0.8, 1.5)) == [(1.0, 1.0, 1.875), (1.2, 1.2, 2.25), (1.6, 1.6, 3.0)]
    assert coarser_spacings((0.5, 0.5, 3.0)) == [(0.625, 0.625, 3.0), (0.75, 0.75, 3.0), (1.0, 1.0, 3.0)]


def quick(*settings):
    """The spacing chosen from (edge, Dice, windows) of two cases."""
    variants = [
        variant(0.25, windows, dice=dice, spacing=(edge, edge, edge)) for edge, dice, windows in settings
    ]  # fmt: skip
    return choose_quick_mode(variants, variant(0.25, (20, 10)))


def test_the_quick_mode_is_the_coarsest_that_loses_little():
    fine, middle = (1.25, (0.8, 0.9), (10, 5)), (1.5, (0.77, 0.91), (6, 3))
    mode, why = quick(fine, middle, (2.0, (0.77, 0.88), (2, 1)))
    assert (mode.spacing, mode.overlap, mode.cases) == ((1.5, 1.5, 1.5), 0.25, 2)
    assert (mode.dice, mode.dice_loss, mode.windows_share) == (0.84, 0.01, 0.3)
    assert "on 2 cases that it was not trained on mean Dice was 0.010 lower; 0.3 of the windows" in why
    assert quick(fine, (1.5, (0.7, 0.9), (6, 3)))[0].spacing == (1.25, 1.25, 1.25)
    better = quick((2.0, (0.82, 0.9), (2, 1)))[0]
    assert better.dice_loss == -0.01
    assert "0.010 higher" in better.in_words(MM)


def test_there_is_no_quick_mode_that_is_no_quicker_or_whose_loss_cannot_be_measured():
    assert quick((2.0, (0.8, 0.9), (18, 9)))[0] is None
    assert quick((2.0, (0.7, 0.9), (2, 1)))[0] is None
    poor = variant(0.25, (20, 10), dice=(0.1, 0.2))
    mode, why = choose_quick_mode([variant(0.25, (2, 1), dice=(0.1, 0.2), spacing=(2.0, 2.0, 2.0))], poor)
    assert mode is None
    assert "too little to lose" in why


def test_a_row_of_the_table_has_what_was_measured_and_nothing_else():
    row = row_of(variant(0.25, (8, 4), (0.99, math.nan), (0.7, 0.95)), REFERENCE)
    assert row == {
        "overlap": 0.25, "spacing": "1 mm", "cases": 2, "windows": 12, "mean_dice": 0.825, "mean_loss": 0.025,
        "worst_loss": 0.1, "mean_agreement": 0.99, "worst_agreement": 0.99,
    }  # fmt: skip
    row = row_of(variant(0.5, (8,), (math.nan,), (math.nan,)), REFERENCE)
    assert {name for name, value in row.items() if value is None} == {
        "mean_dice", "mean_loss", "worst_loss", "mean_agreement", "worst_agreement"
    }  # fmt: skip
