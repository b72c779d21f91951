"""The findings of `mimseg check` as one HTML file that needs no other, and as JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from mimseg import __version__
from mimseg.bundle.checked_folder import refuse_inside_model
from mimseg.checks.context import Context
from mimseg.checks.finding import SEVERITIES, Finding, Spot
from mimseg.commands.check.pictures import draw_spots
from mimseg.data.cases import Case
from mimseg.data.labels.scheme import LabelScheme
from mimseg.events import Reporter
from mimseg.files import write_text
from mimseg.reports.page import SHOWS_CASES, figure, page, section
from mimseg.reports.targets import report_pair

_WORDS = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "note": ("note", "notes")}


def write_report(
    output: Path,
    findings: Sequence[Finding],
    cases: Sequence[Case],
    context: Context,
    scheme: LabelScheme | None,
    reporter: Reporter,
) -> tuple[Path, Path]:
    """Write `<output>.html` and `<output>.json`.

    Returns:
        The two paths, see `report_paths`.

    Raises:
        UserError: They cannot be written.
    """
    pictures = draw_spots(findings, {case.identifier: case for case in cases}, scheme, reporter)
    contents = {".html": make_page(findings, len(cases), pictures), ".json": _as_json(findings, len(cases), context)}
    paths = report_paths(output)
    for path in paths:
        write_text(path, contents[path.suffix])
    return paths


def report_paths(output: Path) -> tuple[Path, Path]:
    """The files of the report, HTML and JSON.

    An extension `.html` or `.json` of `output` is dropped; in an existing folder the files are called `check`.

    Raises:
        UserError: One of them is there and no report: the case list, say. To be asked before the work.
    """
    paths = report_pair(output, "check", ".html")
    refuse_inside_model(paths[0])
    return paths


def summary(findings: Sequence[Finding], cases: int) -> str:
    """How many cases and findings, in one sentence."""
    if not findings:
        return f"No problem found in {_count(cases, ('case', 'cases'))}."
    counts = [(sum(found.severity == kind for found in findings), kind) for kind in SEVERITIES]
    parts = [_count(count, _WORDS[kind]) for count, kind in counts if count]
    return f"{', '.join(parts)} in {_count(cases, ('case', 'cases'))}."


def make_page(findings: Sequence[Finding], cases: int, pictures: Mapping[Spot, bytes]) -> str:
    """The whole page.

    Args:
        findings: In the order in which they are shown; those of one case are put together.
        cases: How many were read.
        pictures: PNG by spot.
    """
    by_case: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_case[finding.case].append(finding)
    advice = (
        "Errors must be solved before training; warnings should be looked at; notes are probably harmless."
        if findings
        else "Nothing speaks against training on it."
    )
    return page(
        "mimseg check",
        "Check of a labelled data set",
        SHOWS_CASES,
        (summary(findings, cases), advice),
        [
            section(case or "The whole data set", *(_finding(finding, pictures) for finding in found))
            for case, found in by_case.items()
        ],
        "Each case was compared with the median of the others. Pictures: axial, coronal and sagittal plane, the "
        "patient's right on the left; a second row enlarges the labels.",
    )


def _finding(finding: Finding, pictures: Mapping[Spot, bytes]) -> str:
    figures = "".join(figure(pictures[spot], _caption(spot)) for spot in finding.spots if spot in pictures)
    return (
        f'<div class="finding {finding.severity}"><p><span class="tag">{finding.severity}</span> '
        f"{escape(finding.message)}</p><p><b>What to do:</b> {escape(finding.remedy)}</p>"
        f'<p class="small"><code>{escape(finding.code)}</code> {escape(finding.numbers)}</p>{figures}</div>'
    )


def _caption(spot: Spot) -> str:
    return f"{spot.case}: {spot.caption}" if spot.caption and spot.caption != spot.case else spot.case


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
