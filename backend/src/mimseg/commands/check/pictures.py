"""Thumbnails of findings: three planes of a case with its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.cases.reading import load_case
from mimseg.checks.finding import Finding, Spot
from mimseg.data.cases import Case
from mimseg.data.labels.scheme import LabelScheme
from mimseg.data.labels.structures import Label, distinct_color
from mimseg.events import Reporter
from mimseg.reports.pictures import encode_png, halved
from mimseg.reports.preview import draw_preview
from mimseg.stopping import check as check_stop

# A report that nobody can open helps nobody: about 80 kB each.
MOST_PICTURES = 120


def draw_spots(
    findings: Sequence[Finding], cases: Mapping[str, Case], scheme: LabelScheme | None, reporter: Reporter
) -> dict[Spot, bytes]:
    """PNG pictures of the first findings' spots; each case is read once more.

    Args:
        findings: In the order in which they are shown.
        cases: By identifier.
        scheme: What label values mean; None if nothing says so.
        reporter: Is told how far it is.

    Returns:
        By spot; those of unreadable cases and beyond `MOST_PICTURES` are missing.
    """
    wanted = list(dict.fromkeys(spot for finding in findings for spot in finding.spots))[:MOST_PICTURES]
    names = list(dict.fromkeys(spot.case for spot in wanted))
    pictures: dict[Spot, bytes] = {}
    for number, name in enumerate(names):
        check_stop()
        reporter.progress("pictures", number, len(names))
        loaded, _ = load_case(cases[name], scheme)
        if loaded is None:
            continue
        for spot in wanted:
            if spot.case == name:
                pictures[spot] = encode_png(_draw(loaded, spot))
    return pictures


def _draw(case: LoadedCase, spot: Spot) -> NDArray[np.uint8]:
    labels = np.zeros(case.volume.grid.size, np.uint8) if case.labels is None else case.labels
    if spot.box is not None:
        near = spot.box.slices
        inside = np.zeros_like(labels)
        inside[near] = labels[near]
        labels = inside
    table = [Label(value, str(value), distinct_color(index)) for index, value in enumerate(sorted(case.structures))]
    return halved(draw_preview(case.volume.array[0], labels, case.volume.grid, table))
