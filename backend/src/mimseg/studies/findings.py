"""What a claim concludes: a verdict, tables, figures, comparisons; and the words that all claims share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from mimseg.studies.design import Variant
from mimseg.studies.results import Finished, Results
from mimseg.studies.statistics import TOO_FEW, Comparison

MISSING = "–"
NO_DATA = "not measured"
TRAINED_ONCE = " on these cases, but no training was repeated with another seed, so this is not shown"


@dataclass(frozen=True)
class Table:
    """Cells as text, the first column naming the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture, drawn when the report is written.

    Attributes:
        name: File name without extension.
        caption: What it shows.
        draw: Writes the PNG.
    """

    name: str
    caption: str
    draw: Callable[[IO[bytes]], None]


@dataclass(frozen=True)
class Findings:
    """What a study found.

    Attributes:
        verdict: One sentence.
        tables: In the report's order.
        figures: Likewise.
        comparisons: All tests of the study; their p values are corrected together.
        definitions: How the numbers are defined, one sentence or two each.
        numbers: Further numbers for `results.json`.
    """

    verdict: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    comparisons: tuple[Comparison, ...]
    definitions: tuple[str, ...] = ()
    numbers: dict[str, Any] = field(default_factory=dict)


def make_verdict(results: Results, parts: Iterable[str], impossible: Sequence[str]) -> str:
    """One sentence of the parts, what cannot be said yet, and a warning where all scores are at the floor."""
    clauses = list(parts)
    if not clauses:
        total = len(results.missing) + len(results.finished)
        return f"No verdict, because {len(results.missing)} of {total} runs are missing."
    if impossible:
        clauses.append(f"no verdict on {', '.join(impossible)}, because runs are missing")
    floor, best = results.plan.design.floor, _best(results)
    if floor is not None and best is not None and best < floor:
        clauses.append(
            f"all of this means little: the best mean Dice, {best:.3f}, lies below the {floor:g} that is reached "
            "without looking at the image"
        )
    text = "; ".join(clauses)
    return f"{text[:1].upper()}{text[1:]}."


def say(comparisons: Iterable[Comparison]) -> list[str]:
    """The comparisons in words, those with one first row together."""
    comparisons = list(comparisons)
    clauses = []
    for first, word in dict.fromkeys((item.first, item.word) for item in comparisons if item.over_cases):
        own = [item for item in comparisons if item.over_cases and (item.first, item.word) == (first, word)]
        others = _and(f"{item.second} ({item.figures})" for item in own)
        clauses.append(f"{first} scored {word} than {others}{_how_far(own)}")
    left = [item for item in comparisons if not item.over_cases]
    for first, too_few in dict.fromkeys((item.first, item.too_few) for item in left):
        own = [item for item in left if (item.first, item.too_few) == (first, too_few)]
        others = _and(f"{item.second} ({item.figures})" for item in own)
        said = f"a difference {TOO_FEW}" if too_few else "no difference shown"
        clauses.append(f"{said} between {first} and {others}")
    return clauses


def say_at(first: str, second: str, comparisons: Mapping[str, Comparison]) -> list[str]:
    """One start against another at several places, such as `with 3 labelled cases`, in words."""
    clauses = []
    for word in ("higher", "lower"):
        own = {place: item for place, item in comparisons.items() if item.over_cases and item.word == word}
        if own:
            where = _and(f"{place} ({item.figures})" for place, item in own.items())
            clauses.append(f"{first} scored {word} than {second} {where}{_how_far(own.values())}")
    for too_few in (False, True):
        same = {place: item for place, item in comparisons.items() if not item.over_cases and item.too_few == too_few}
        if same:
            where = _and(f"{place} ({item.figures})" for place, item in same.items())
            said = f"{TOO_FEW}:" if too_few else "shown"
            clauses.append(f"{'a' if too_few else 'no'} difference between {first} and {second} {said} {where}")
    return clauses


def _how_far(comparisons: Iterable[Comparison]) -> str:
    """What is added to differences that hold over cases; all of one study have the same seeds."""
    return "" if all(item.shown for item in comparisons) else TRAINED_ONCE


def _and(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def dice_cells(results: Results, variant: Variant) -> tuple[str, str]:
    """Mean with interval, and the spread over seeds."""
    found = results.estimate(variant)
    return (NO_DATA, MISSING) if found is None else (str(found), found.spread)


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """All tests of a study."""
    rows = [
        (
            f"{item.first} − {item.second}",
            f"{item.effect:+.3f}",
            f"{item.interval[0]:+.3f} to {item.interval[1]:+.3f}",
            f"{item.p:.4f}",
            f"{item.corrected:.4f}",
            ", ".join(f"{value:+.3f}" for value in item.seeds),
            item.result,
        )
        for item in comparisons
    ]
    columns = ("difference", "Dice", "95 % interval", "p", "p (Holm)", "with each seed", "result")
    return Table("Comparisons", columns, tuple(rows))


def structure_table(results: Results) -> Table:
    """Scores of each structure, of the rows whose runs are all finished."""
    rows = []
    for variant in results.plan.variants:
        runs = results.finetunings(variant)
        if runs is None:
            continue
        scores = [row for run in runs for row in run.rows]
        for label in dict.fromkeys(row["label"] for row in scores):
            own = [row for row in scores if row["label"] == label]
            cells = [_mean_cell([row[key] for row in own], digits) for key, digits in STRUCTURE_SCORES.items()]
            rows.append((variant.name, label, *cells))
    columns = ("run", "structure", "Dice", "surface Dice at 1 mm", "HD95 mm", "volume error mL")
    note = "Means over seeds and cases; a score that is undefined for a case (structure missing) is left out."
    return Table("Structures", columns, tuple(rows), note)


STRUCTURE_SCORES = {"dice": 3, "surface_dice_1mm": 3, "hd95_mm": 2, "volume_error_ml": 3}


def minutes(run: Finished | None) -> str:
    """Training time in minutes."""
    return MISSING if run is None else f"{run.seconds / 60:.1f}"


def mean_minutes(runs: Sequence[Finished] | None) -> str:
    """Mean training time in minutes."""
    return MISSING if not runs else f"{sum(run.seconds for run in runs) / len(runs) / 60:.1f}"


def _mean_cell(values: Sequence[float | None], digits: int) -> str:
    defined = [value for value in values if value is not None]
    return f"{sum(defined) / len(defined):.{digits}f}" if defined else MISSING


def _best(results: Results) -> float | None:
    """Highest mean of the rows, if all are there."""
    found = [results.estimate(variant) for variant in results.plan.variants]
    return None if any(item is None for item in found) else max(item.mean for item in found if item is not None)
