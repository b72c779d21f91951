"""Findings on the files of a data set, before any of them is read: what has no partner, what is missing."""

from __future__ import annotations

from collections.abc import Iterable

from mimseg.checks.finding import Finding
from mimseg.data.cases import Case, Dataset


def of_files(dataset: Dataset, cases: Iterable[Case]) -> list[Finding]:
    """What is wrong with the data set as a whole, and with the files of these cases."""
    names = {"", *(case.identifier for case in cases)}
    return [
        Finding(flaw.case, flaw.severity, flaw.code, flaw.message, flaw.remedy, _evidence(flaw.files))
        for flaw in dataset.flaws
        if flaw.case in names
    ]


def _evidence(files: tuple[str, ...]) -> dict[str, object]:
    return {"files": list(files)} if files else {}
