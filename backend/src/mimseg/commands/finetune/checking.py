"""What `mimseg check` finds without looking at an image, before every training: errors stop it, warnings are told."""

from __future__ import annotations

from collections.abc import Sequence

from mimseg.checks import CHECKS_OF_LABELS
from mimseg.checks.context import Context
from mimseg.checks.files import of_files
from mimseg.checks.finding import Finding, without_repetitions
from mimseg.checks.reading import load_labels
from mimseg.data.cases import Case, Dataset
from mimseg.data.labels.scheme import LabelScheme
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.stopping import check

_MOST_TOLD = 5


def stop_at_errors(
    dataset: Dataset, training: Sequence[Case], validation: Sequence[Case], scheme: LabelScheme, reporter: Reporter
) -> None:
    """Check the files and the labels of the cases.

    Args:
        dataset: Where they are from.
        training: Cases to train on.
        validation: Cases to validate on.
        scheme: What labels mean.
        reporter: Is told of warnings, and which files are left out.

    Raises:
        UserError: There are errors; it names the first of them.
    """
    cases = [*training, *validation]
    findings = of_files(dataset, cases)
    measured = {}
    for number, case in enumerate(cases):
        check()
        reporter.progress("check labels", number, len(cases))
        loaded, found = load_labels(case, scheme)
        findings += found
        if loaded is not None:
            measured[case.identifier] = [part.measure(loaded) for part in CHECKS_OF_LABELS]
    reporter.progress("check labels", len(cases), len(cases))
    context = Context(
        scheme.names,
        scheme.structures,
        channels=dataset.channels,
        training=frozenset(case.identifier for case in training),
        validation=frozenset(case.identifier for case in validation),
    )
    for number, part in enumerate(CHECKS_OF_LABELS):
        findings += part.find({name: values[number] for name, values in measured.items()}, context)
    findings = without_repetitions(findings)
    for finding in findings:
        if finding.severity == "warning":
            reporter.warning(finding.code, _told(finding))
        elif finding.severity == "note" and "files" in finding.evidence:
            reporter.info(f"Note: {finding.message}")
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        text = " ".join(_told(finding) for finding in errors[:_MOST_TOLD])
        if len(errors) > _MOST_TOLD:
            text += f" There are {len(errors) - _MOST_TOLD} more errors."
        raise UserError(text, errors[0].remedy, errors[0].code)


def _told(finding: Finding) -> str:
    return f"{finding.case}: {finding.message}" if finding.case else finding.message
