"""Look for problems in a labelled data set before anything is trained, and say them in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimseg.bundle.locations import find_bundle
from mimseg.bundle.reader import open_bundle
from mimseg.checks import CHECKS, look_at
from mimseg.checks.cases.files import of_files
from mimseg.checks.cases.reading import load_case
from mimseg.checks.context import Context, Expected
from mimseg.checks.finding import SEVERITIES, Finding, without_repetitions
from mimseg.commands.check.report import report_paths, write_report
from mimseg.data.cases import Case, Dataset, load_dataset, pick_cases
from mimseg.data.labels.scheme import LabelScheme, choose_scheme
from mimseg.data.labels.truth import with_overlaps
from mimseg.errors import UserError
from mimseg.events import Reporter


@dataclass(frozen=True)
class CheckSettings:
    """What to check.

    Attributes:
        data: A data set, see `mimseg.data.cases.load_dataset`.
        labels: JSON file that names the label values, or None for what the data set says.
        modality: `CT` or `MR`; None for that of the model or the data set, if either says it.
        model: Name or path of the model that training is to start from, or None.
        cases: Selection of the cases to train on, see `mimseg.data.cases.pick_cases`; None for all (others).
        validation: Selection of the cases to validate on, or None.
        report: Where to write `<report>.html` and `<report>.json`, or None.
        orientation: How the axes run in files that do not say so; empty for RAS.
        names_only: Only look at which files belong together; no voxel is read, and the result lists the pairs.
    """

    data: Path
    labels: Path | None = None
    modality: str | None = None
    model: str | None = None
    cases: str | None = None
    validation: str | None = None
    report: Path | None = None
    orientation: str = ""
    names_only: bool = False


@dataclass(frozen=True)
class Checked:
    """What was found, gravest first, in how many cases."""

    findings: list[Finding]
    cases: int


def check(settings: CheckSettings, reporter: Reporter) -> Checked:
    """Read every case once and list what was found.

    Args:
        settings: What to check.
        reporter: Gets one warning per error or warning, notes as free text, and the list as the result.

    Raises:
        UserError: The data set, the label file, the model or a selection cannot be read, or the report would replace a
            file that is none.
    """
    if settings.report is not None:
        report_paths(settings.report)
    dataset = load_dataset(settings.data, True, settings.orientation)
    cases, training, validation = _chosen(dataset, settings)
    scheme, overlaps = _scheme(dataset, cases, settings)
    context = Context(
        {} if scheme is None else scheme.names,
        {} if scheme is None else scheme.structures,
        settings.labels is None and not dataset.label_names,
        dataset.channels,
        _expected(settings),
        training,
        validation,
    )
    reporter.start("check", cases=len(cases))
    findings = of_files(dataset, cases) + overlaps
    if not settings.names_only:
        found = look_at(cases, lambda case: load_case(case, scheme), CHECKS, context, reporter, "check")
        findings = without_repetitions(findings + found)
    order = {case.identifier: number for number, case in enumerate(cases)}
    findings.sort(key=lambda found: (SEVERITIES.index(found.severity), order.get(found.case, -1)))
    for finding in findings:
        tell = f"{f'{finding.case}: ' if finding.case else ''}{finding.message} {finding.remedy}"
        if finding.severity == "note":
            reporter.info(f"Note: {tell}")
        else:
            reporter.warning(finding.code, tell)
    written: dict[str, Any] = {}
    if settings.report is not None:
        html, data = write_report(settings.report, findings, cases, context, scheme, reporter)
        written = {"report": str(html), "table": str(data)}
    counts = {severity: sum(found.severity == severity for found in findings) for severity in SEVERITIES}
    problems = [found.to_json() for found in findings]
    if settings.names_only:
        written["pairs"] = [_pair(case) for case in cases]
        written["label_names"] = {} if scheme is None else {str(value): name for value, name in scheme.names.items()}
    reporter.result(cases=len(cases), problems=problems, counts=counts, **written)
    return Checked(findings, len(cases))


def _pair(case: Case) -> dict[str, Any]:
    """Which files are one case, for a program that takes them over."""
    label = None if case.label is None else str(case.label)
    return {"id": case.identifier, "images": [str(path) for path in case.images], "label": label}


def _chosen(
    dataset: Dataset, settings: CheckSettings
) -> tuple[tuple[Case, ...], frozenset[str] | None, frozenset[str] | None]:
    """The cases to read, and which of them train and validate if both is known."""
    chosen = pick_cases(dataset.cases, settings.cases) if settings.cases else dataset.cases
    if not settings.validation:
        return chosen, None, None
    validating = pick_cases(dataset.cases, settings.validation)
    validation = frozenset(case.identifier for case in validating)
    training = frozenset(case.identifier for case in chosen)
    if not settings.cases:
        training -= validation
    wanted = training | validation
    return tuple(case for case in dataset.cases if case.identifier in wanted), training, validation


def _scheme(
    dataset: Dataset, cases: Sequence[Case], settings: CheckSettings
) -> tuple[LabelScheme | None, list[Finding]]:
    """What label values mean, None if nothing says so, and a note where segments overlap.

    Files that cannot be read are told of when they are.
    """
    try:
        scheme = choose_scheme(dataset, settings.labels, settings.data)
    except UserError:
        if settings.labels is not None:
            raise
        return None, []
    told = _FirstWarning()
    for case in () if settings.names_only else cases:
        try:
            scheme = with_overlaps(scheme, [case.label] if case.label else [], told)
        except UserError:
            continue
    remedy = "Nothing, if one structure is a part of another."
    return scheme, [Finding("", "note", told.code, told.message, remedy)] if told.code else []


class _FirstWarning(Reporter):
    """Keeps the first warning."""

    code = message = ""

    def warning(self, code: str, message: str) -> None:
        self.code, self.message = self.code or code, self.message or message


def _expected(settings: CheckSettings) -> Expected:
    if settings.model is None:
        return Expected(settings.modality, source="the chosen modality" if settings.modality else "")
    description = open_bundle(find_bundle(settings.model)).description
    return Expected(
        settings.modality or description.modality,
        description.channels,
        description.preprocessing.spacing,
        f"the model {description.name}",
    )
