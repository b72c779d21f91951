"""What `resolution` and `labels` share: a few starts against each other at several places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mimseg.studies.design import SCRATCH, Variant
from mimseg.studies.figures import draw_lines
from mimseg.studies.findings import (
    MISSING,
    Figure,
    Findings,
    Table,
    dice_cells,
    make_verdict,
    mean_minutes,
    minutes,
    say_at,
)
from mimseg.studies.plan import Plan
from mimseg.studies.results import Group, Results
from mimseg.studies.statistics import Comparison, format_p

# By start and place.
Rows = dict[tuple[str, Any], Variant]


def comparisons_at(plan: Plan, factor: str) -> list[Group]:
    """MAE against scratch at every value of a factor; given weights against both, and continued ones against all."""
    rows, places, pairs = _table_of(plan, factor)
    return [
        (rows[start, place].name, [rows[start, place]], rows[other, place].name, [rows[other, place]])
        for start, other in pairs
        for place in places
    ]


def _table_of(plan: Plan, factor: str) -> tuple[Rows, list[Any], list[tuple[str, str]]]:
    """Rows by start and place, the places, and which starts are compared."""
    places = list(dict.fromkeys(row.factors[factor] for row in plan.variants))
    rows = {(row.factors["start"], row.factors[factor]): row for row in plan.variants}
    levels = {row.factors["start"]: row.level for row in plan.variants}
    by_level = sorted(levels, key=lambda start: levels[start], reverse=True)
    return rows, places, [(one, other) for one in by_level for other in by_level if levels[other] < levels[one]]


def conclude_at(
    results: Results, factor: str, label: str, words: Callable[[Any], str], definitions: tuple[str, ...]
) -> Findings:
    """What `comparisons_at` asks.

    Args:
        results: What was measured.
        factor: Name of the factor besides `start`.
        label: Name of the axis.
        words: A value in the verdict, such as `with 3 labelled cases`.
        definitions: Of the study.
    """
    rows, places, pairs = _table_of(results.plan, factor)
    comparisons, impossible = results.compare(comparisons_at(results.plan, factor))
    by_names = {(item.first, item.second): item for item in comparisons}
    said = []
    for start, other in pairs:
        found = {words(place): by_names.get((rows[start, place].name, rows[other, place].name)) for place in places}
        said += say_at(start, other, {place: item for place, item in found.items() if item is not None})
    return Findings(
        verdict=make_verdict(results, said, impossible),
        tables=(_table(results, label, rows, by_names),),
        figures=_figures(results, label, places, rows),
        comparisons=tuple(comparisons),
        definitions=definitions,
    )


def _table(results: Results, label: str, rows: Rows, comparisons: dict[tuple[str, str], Comparison]) -> Table:
    lines = []
    for (start, place), row in rows.items():
        gain = comparisons.get((row.name, rows[SCRATCH, place].name))
        difference = (
            MISSING
            if gain is None
            else f"{gain.effect:+.3f} [{gain.interval[0]:+.3f}, {gain.interval[1]:+.3f}], {format_p(gain.corrected)}"
        )
        times = minutes(results.pretraining(row)), mean_minutes(results.finetunings(row))
        lines.append((str(place), start, *dice_cells(results, row), difference, *times))
    columns = (
        label, "start", "Dice [95 % interval]", "range over seeds", "difference to scratch",
        "minutes of pre-training", "minutes of fine-tuning",
    )  # fmt: skip
    return Table("Starts", columns, tuple(lines))


def _figures(results: Results, label: str, places: Sequence[Any], rows: Rows) -> tuple[Figure, ...]:
    starts = list(dict.fromkeys(start for start, _ in rows))
    series = {start: [results.estimate(rows[start, place]) for place in places] for start in starts}
    if not any(item for estimates in series.values() for item in estimates):
        return ()
    names = [str(place) for place in places]
    draw = partial(draw_lines, places=names, series=series, label=label, floor=results.plan.design.floor)
    return (Figure("dice", "Mean Dice; bars: range over seeds.", draw),)
