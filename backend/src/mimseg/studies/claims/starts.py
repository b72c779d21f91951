"""What `resolution` and `labels` share: MAE against scratch at several places."""

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
from mimseg.studies.results import Results
from mimseg.studies.statistics import Comparison, format_p

STARTS = (SCRATCH, "MAE")


def conclude_at(
    results: Results, factor: str, label: str, words: Callable[[Any], str], definitions: tuple[str, ...]
) -> Findings:
    """MAE against scratch at every value of a factor.

    Args:
        results: What was measured.
        factor: Name of the factor besides `start`.
        label: Name of the axis.
        words: A value in the verdict, such as `with 3 labelled cases`.
        definitions: Of the study.
    """
    places = list(dict.fromkeys(row.factors[factor] for row in results.plan.variants))
    rows = {(row.factors["start"], row.factors[factor]): row for row in results.plan.variants}
    groups = [
        (rows["MAE", place].name, [rows["MAE", place]], rows[SCRATCH, place].name, [rows[SCRATCH, place]])
        for place in places
    ]
    comparisons, impossible = results.compare(groups)
    by_name = {item.first: item for item in comparisons}
    gains = {place: by_name.get(rows["MAE", place].name) for place in places}
    said = {words(place): gain for place, gain in gains.items() if gain is not None}
    return Findings(
        verdict=make_verdict(results, say_at(said), impossible),
        tables=(_table(results, label, places, rows, gains),),
        figures=_figures(results, label, places, rows),
        comparisons=tuple(comparisons),
        definitions=definitions,
    )


def _table(
    results: Results,
    label: str,
    places: Sequence[Any],
    rows: dict[tuple[str, Any], Variant],
    gains: dict[Any, Comparison | None],
) -> Table:
    lines = []
    for place in places:
        gain = gains[place]
        cells = [cell for start in STARTS for cell in dice_cells(results, rows[start, place])]
        difference = (
            MISSING
            if gain is None
            else f"{gain.effect:+.3f} [{gain.interval[0]:+.3f}, {gain.interval[1]:+.3f}], {format_p(gain.corrected)}"
        )
        times = (
            minutes(results.pretraining(rows["MAE", place])),
            mean_minutes(results.finetunings(rows["MAE", place])),
        )
        lines.append((str(place), *cells, difference, *times))
    columns = (
        label, "scratch: Dice [95 % interval]", "range over seeds", "MAE: Dice [95 % interval]", "range over seeds",
        "MAE − scratch", "minutes of pre-training", "minutes of fine-tuning",
    )  # fmt: skip
    return Table("MAE against scratch", columns, tuple(lines))


def _figures(
    results: Results, label: str, places: Sequence[Any], rows: dict[tuple[str, Any], Variant]
) -> tuple[Figure, ...]:
    series = {start: [results.estimate(rows[start, place]) for place in places] for start in STARTS}
    if not any(item for estimates in series.values() for item in estimates):
        return ()
    names = [str(place) for place in places]
    draw = partial(draw_lines, places=names, series=series, label=label, floor=results.plan.design.floor)
    return (Figure("dice", "Mean Dice; bars: range over seeds.", draw),)
