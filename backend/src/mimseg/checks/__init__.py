"""Problems of labelled cases, found before anything is trained. No torch; numpy and SimpleITK only.

Each module listed in `CHECKS` looks for one kind of problem and has two functions:

- `measure(case: LoadedCase)`: what it has to remember of a case, after whose voxels are released (keep it small);
- `find(measured, context)`: what it finds, given what was measured of every readable case, by identifier.

A new check is a new file with these two functions and one line in `CHECKS`. Compare with the other cases through
`mimseg.checks.comparison`, and report nothing that a clean data set has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from mimseg.checks import appearance, channels, duplicates, flips, pieces, scale, sizes, spacing, subjects, values
from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding
from mimseg.data.cases import Case
from mimseg.events import Reporter
from mimseg.stopping import check as check_stop


class Check(Protocol):
    """What a module of this part offers."""

    def measure(self, case: LoadedCase) -> Any:
        """What `find` needs of a case."""

    def find(self, measured: Mapping[str, Any], context: Context) -> list[Finding]:
        """Findings, given what was measured of each case by its identifier."""


CHECKS: tuple[Check, ...] = (values, channels, sizes, pieces, appearance, flips, duplicates, subjects, scale, spacing)
# Those that make sense of a case without an image; training draws images from its labels.
CHECKS_WITHOUT_IMAGE: tuple[Check, ...] = (values, channels, sizes, pieces, subjects, spacing)
# Those that need no image: quick enough to run before every training.
CHECKS_OF_LABELS: tuple[Check, ...] = (values, channels, subjects)


def look_at(
    cases: Sequence[Case],
    load: Callable[[Case], tuple[LoadedCase | None, list[Finding]]],
    checks: Sequence[Check],
    context: Context,
    reporter: Reporter,
    phase: str,
) -> list[Finding]:
    """Read the cases one after the other; what reading shows, and what each check finds.

    Args:
        cases: What to read.
        load: Reads one, see `mimseg.checks.cases.reading`.
        checks: Of `CHECKS`; a case without an image gets only those of `CHECKS_WITHOUT_IMAGE`.
        context: What no single case says.
        reporter: Is told how far it is.
        phase: Under which name.
    """
    findings: list[Finding] = []
    measured: list[dict[str, Any]] = [{} for _ in checks]
    for number, case in enumerate(cases):
        check_stop()
        reporter.progress(phase, number, len(cases))
        loaded, found = load(case)
        findings += found
        for one, of_cases in zip(checks, measured, strict=True):
            if loaded is not None and (case.images or one in CHECKS_WITHOUT_IMAGE):
                of_cases[case.identifier] = one.measure(loaded)
    reporter.progress(phase, len(cases), len(cases))
    for one, of_cases in zip(checks, measured, strict=True):
        check_stop()
        findings += one.find(of_cases, context)
    return findings
