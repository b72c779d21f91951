"""The findings of `mimseg check` as one HTML file that needs no other, and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mimseg import __version__
from mimseg.checks.context import Context
from mimseg.checks.finding import SEVERITIES, Finding, Spot
from mimseg.commands.check.pictures import draw_spots
from mimseg.data.cases import Case
from mimseg.events import Reporter
from mimseg.reports.files import write_report_files

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2937; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.notice { color: #92400e; font-size: .9rem; } .verdict { background: #eff6ff; padding: .7rem 1rem; font-size: 1.05rem; }
.finding { border-left: 5px solid #9ca3af; padding: .3rem 0 .3rem .9rem; margin: .9rem 0; }
.error { border-color: #dc2626; } .warning { border-color: #f59e0b; } .note { border-color: #9ca3af; }
.finding p { margin: .2rem 0; } .tag { font-size: .8rem; text-transform: uppercase; letter-spacing: .04em; }
.error .tag { color: #b91c1c; } .warning .tag { color: #92400e; } .numbers { color: #6b7280; font-size: .82rem; }
figure { margin: .5rem 0; } figure img { max-width: 100%; border-radius: 4px; }
figcaption { color: #6b7280; font-size: .82rem; } code { background: #f3f4f6; padding: 0 .25rem; }
"""
_WORDS = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "note": ("note", "notes")}


def write_report(
    output: Path, findings: Sequence[Finding], cases: Sequence[Case], context: Context, reporter: Reporter
) -> tuple[Path, Path]:
    """Write `<output>.html` and `<output>.json`.

    An extension `.html` or `.json` of `output` is dropped; in an existing folder the files are called `check`.

    Returns:
        The two paths.

    Raises:
        UserError: They cannot be written.
    """
    base = output / "check" if output.is_dir() else output
    if base.suffix.lower() in (".html", ".json"):
        base = base.with_suffix("")
    pictures = draw_spots(findings, {case.identifier: case for case in cases}, reporter)
    contents = {".html": make_page(findings, len(cases), pictures), ".json": _as_json(findings, len(cases), context)}
    paths = [base.with_name(base.name + suffix) for suffix in contents]
    write_report_files(dict(zip(paths, contents.values(), strict=True)))
    return paths[0], paths[1]


def summary(findings: Sequence[Finding], cases: int) -> str:
    """How many cases and findings, in one sentence."""
    if not findings:
        return f"No problem found in {_count(cases, ('case', 'cases'))}."
    counts = [(sum(found.severity == kind for found in findings), kind) for kind in SEVERITIES]
    parts = [_count(count, _WORDS[kind]) for count, kind in counts if count]
    return f"{', '.join(parts)} in {_count(cases, ('case', 'cases'))}."


def make_page(findings: Sequence[Finding], cases: int, pictures: Mapping[Spot, str]) -> str:
    """The whole page.

    Args:
        findings: In the order in which they are shown; those of one case are put together.
        cases: How many were read.
        pictures: Base64 PNG by spot.
    """
    by_case: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_case[finding.case].append(finding)
    sections = [
        f"<h2>{escape(case) if case else 'The whole data set'}</h2>"
        + "".join(_section(finding, pictures) for finding in found)
        for case, found in by_case.items()
    ]
    advice = (
        "Errors must be solved before training; warnings should be looked at; notes are probably harmless."
        if findings
        else "Nothing speaks against training on it."
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>mimseg check</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n<body>\n'
        "<h1>Check of a labelled data set</h1>\n"
        '<p class="notice">For research use only. This page shows images and names of cases: handle it like the data.'
        f'</p>\n<p class="verdict"><b>{escape(summary(findings, cases))}</b> {advice}</p>\n'
        + "\n".join(sections)
        + '\n<p class="numbers">Each case was compared with the median of the others. Pictures: axial, coronal and '
        "sagittal plane, the patient's right on the left; a second row enlarges the labels. Made by mimseg "
        f"{escape(__version__)}.</p>\n</body></html>\n"
    )


def _section(finding: Finding, pictures: Mapping[Spot, str]) -> str:
    figures = "".join(
        f'<figure><img alt="{escape(_caption(spot))}" src="data:image/png;base64,{pictures[spot]}">'
        f"<figcaption>{escape(_caption(spot))}</figcaption></figure>"
        for spot in finding.spots
        if spot in pictures
    )
    numbers = "; ".join(f"{key.replace('_', ' ')}: {_shown(value)}" for key, value in finding.evidence.items())
    return (
        f'<div class="finding {finding.severity}"><p><span class="tag">{finding.severity}</span> '
        f"{escape(finding.message)}</p><p><b>What to do:</b> {escape(finding.remedy)}</p>"
        f'<p class="numbers"><code>{escape(finding.code)}</code> {escape(numbers)}</p>{figures}</div>'
    )


def _caption(spot: Spot) -> str:
    return f"{spot.case}: {spot.caption}" if spot.caption and spot.caption != spot.case else spot.case


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_shown(item)}" for key, item in value.items())
    return str(value)


def _as_json(findings: Sequence[Finding], cases: int, context: Context) -> str:
    content = {
        "mimseg": __version__,
        "cases": cases,
        "label_names": {str(value): name for value, name in context.names.items()},
        "counts": {kind: sum(found.severity == kind for found in findings) for kind in SEVERITIES},
        "problems": [finding.to_json() for finding in findings],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _count(number: int, words: tuple[str, str]) -> str:
    return f"{number} {words[number != 1]}"
