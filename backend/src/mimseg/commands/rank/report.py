"""The ranking as one HTML page that needs no other file, as JSON, and as a table."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from mimseg import __version__
from mimseg.commands.rank.result import RankedCase, Ranking
from mimseg.files import write_text
from mimseg.reports.page import SHOWS_CASES, bullets, figure, page, section, small, table
from mimseg.reports.targets import refuse_foreign

# A report that nobody can open helps nobody: two pictures of about 60 kB for each case.
MOST_PICTURED = 60

_DEFINITIONS = (
    "Uncertainty: 1 − probability of the most probable class, mean over the voxels of the structures found; 1 where "
    "nothing was found.",
    "Disagreement: 1 − mean Dice between two answers, over all pairs; there is none with one model and one view.",
    "Distance: between mean features, to the nearest labelled case, or without labelled ones to the nearest one.",
    "Order: the most uncertain case first; then, of the more uncertain half, always the case farthest from those "
    "chosen and labelled; then all others, the most uncertain first. Cases with a warning are chosen last.",
    "Map: entropy of the mean probabilities as a share of the largest one possible, 0 to 1. Pictures: above 0.1 "
    "yellow, above 0.3 orange, above 0.5 red.",
)


@dataclass(frozen=True)
class Report:
    """The files written.

    Attributes:
        html: For people.
        json: For programs; names the maps without their folder.
        csv: One row for each case.
    """

    html: Path
    json: Path
    csv: Path


def write_report(folder: Path, ranking: Ranking) -> Report:
    """Write `rank.html`, `rank.json` and `rank.csv`; each appears complete or not at all.

    Raises:
        UserError: They cannot be written.
    """
    report = report_paths(folder)
    write_text(report.html, make_page(ranking))
    write_text(report.json, _as_json(ranking))
    write_text(report.csv, _as_table(ranking))
    return report


def report_paths(folder: Path) -> Report:
    """The files of the report.

    Raises:
        UserError: One of them is there and no report of ours. To be asked before the work.
    """
    report = Report(folder / "rank.html", folder / "rank.json", folder / "rank.csv")
    refuse_foreign((report.html, report.json, report.csv), ("case", "rank", "proposed"))
    return report


def make_page(ranking: Ranking) -> str:
    """The whole page."""
    proposed = [case for case in ranking.cases if case.proposed]
    names = ", ".join(case.name for case in proposed)
    how = [
        f"{_count(len(ranking.models), 'model')} ({', '.join(ranking.models)}), "
        f"{_count(ranking.members, 'answer')} for each case.",
        f"Compared with {_count(ranking.labelled, 'labelled case')}; features: {ranking.feature_kind}.",
        *([f"Left out, because they could not be read: {', '.join(ranking.left_out)}."] if ranking.left_out else []),
        *_DEFINITIONS,
    ]
    warned = [
        f'<div class="finding warning"><b>{escape(case.name)}</b>: {escape(message)}</div>'
        for case in ranking.cases
        for _, message in case.warnings
    ]
    return page(
        "mimseg rank",
        "Which case to label next",
        SHOWS_CASES,
        (f"Label next: {names}.", f"{_count(len(ranking.cases), 'case')} ranked."),
        [
            section("Look at these first", *warned) if warned else "",
            *(_section(case) for case in proposed[:MOST_PICTURED]),
            section("All cases", _table(ranking.cases)),
            section("How", bullets(how)),
        ],
    )


def _section(case: RankedCase) -> str:
    captions = ("structures found", "uncertainty")
    figures = "".join(figure(png, caption) for caption, png in zip(captions, case.pictures, strict=False))
    volumes = ", ".join(f"{name} {value:.2f} mL" for name, value in case.volumes_ml.items() if value)
    return section(
        f"{case.rank}. {case.name}",
        f'<div class="pair">{figures}</div>',
        small(f"uncertainty {case.doubt.uncertainty:.3f}; {volumes or 'nothing found'}"),
    )


def _table(cases: Sequence[RankedCase]) -> str:
    rows = [
        (
            str(case.rank),
            case.name,
            f"{case.doubt.uncertainty:.3f}",
            _shown(case.doubt.disagreement),
            _shown(case.distance),
            f"{sum(case.volumes_ml.values()):.2f}",
            "; ".join(code for code, _ in case.warnings),
        )
        for case in cases
    ]
    columns = ("#", "case", "uncertainty", "disagreement", "distance", "found (mL)", "")
    return table(columns, rows, {number for number, case in enumerate(cases) if case.proposed})


def _as_json(ranking: Ranking) -> str:
    content = {
        "mimseg": __version__,
        "models": list(ranking.models),
        "members": ranking.members,
        "labelled": ranking.labelled,
        "features": ranking.feature_kind,
        "proposed": [case.name for case in ranking.cases if case.proposed],
        "cases": [case.to_json() for case in ranking.cases],
        "left_out": list(ranking.left_out),
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _as_table(ranking: Ranking) -> str:
    stream = io.StringIO()
    rows: list[dict[str, Any]] = []
    for case in ranking.cases:
        row = case.to_json()
        volumes = row.pop("volumes_ml")
        row["warnings"] = "; ".join(code for code, _ in case.warnings)
        row.update({f"{name} (mL)": value for name, value in volumes.items()})
        rows.append(row)
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
