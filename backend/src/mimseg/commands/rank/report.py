"""The ranking as one HTML page that needs no other file, as JSON, and as a table."""

from __future__ import annotations

import base64
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
from mimseg.reports.files import write_report_files

# A report that nobody can open helps nobody: two pictures of about 60 kB for each case.
MOST_PICTURED = 60

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2937; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.notice { color: #92400e; font-size: .9rem; } .verdict { background: #eff6ff; padding: .7rem 1rem; font-size: 1.05rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e5e7eb; text-align: left; } th { background: #f9fafb; }
.next td { background: #f0fdf4; }
.warning { border-left: 5px solid #f59e0b; padding: .3rem 0 .3rem .9rem; margin: .9rem 0; }
figure { margin: .5rem 0; display: inline-block; max-width: 49%; } figure img { max-width: 100%; border-radius: 4px; }
figcaption, .numbers { color: #6b7280; font-size: .82rem; }
"""
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
    report = Report(folder / "rank.html", folder / "rank.json", folder / "rank.csv")
    write_report_files(
        {report.html: make_page(ranking), report.json: _as_json(ranking), report.csv: _as_table(ranking)}
    )
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
    warned = "".join(
        f'<div class="warning"><b>{escape(case.name)}</b>: {escape(message)}</div>'
        for case in ranking.cases
        for _, message in case.warnings
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>mimseg rank</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n<body>\n'
        "<h1>Which case to label next</h1>\n"
        '<p class="notice">For research use only. This page shows images and names of cases: handle it like the data.'
        f'</p>\n<p class="verdict"><b>Label next: {escape(names)}.</b> {_count(len(ranking.cases), "case")} ranked.'
        "</p>\n"
        + (f"<h2>Look at these first</h2>{warned}\n" if warned else "")
        + "\n".join(_section(case) for case in proposed[:MOST_PICTURED])
        + f'\n<h2>All cases</h2><div class="wide">{_table(ranking.cases)}</div>\n'
        + f"<h2>How</h2><ul>{''.join(f'<li>{escape(line)}</li>' for line in how)}</ul>\n"
        + f'<p class="numbers">Made by mimseg {escape(__version__)}.</p>\n</body></html>\n'
    )


def _section(case: RankedCase) -> str:
    figures = "".join(
        f'<figure><img alt="{escape(case.name)}: {caption}" src="data:image/png;base64,'
        f'{base64.b64encode(picture).decode("ascii")}"><figcaption>{caption}</figcaption></figure>'
        for caption, picture in zip(("structures found", "uncertainty"), case.pictures, strict=False)
    )
    volumes = ", ".join(f"{escape(name)} {value:.2f} mL" for name, value in case.volumes_ml.items() if value)
    return (
        f"<h2>{case.rank}. {escape(case.name)}</h2>{figures}"
        f'<p class="numbers">uncertainty {case.doubt.uncertainty:.3f}; {volumes or "nothing found"}</p>'
    )


def _table(cases: Sequence[RankedCase]) -> str:
    head = ("#", "case", "uncertainty", "disagreement", "distance", "found (mL)", "")
    rows = []
    for case in cases:
        cells = (
            str(case.rank),
            case.name,
            f"{case.doubt.uncertainty:.3f}",
            _shown(case.doubt.disagreement),
            _shown(case.distance),
            f"{sum(case.volumes_ml.values()):.2f}",
            "; ".join(code for code, _ in case.warnings),
        )
        kind = ' class="next"' if case.proposed else ""
        rows.append(f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return f"<table><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>{''.join(rows)}</table>"


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
