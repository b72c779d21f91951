"""What `mimseg check` finds without looking at an image, before every training: errors stop it, warnings are told."""

from __future__ import annotations

from collections.abc import Sequence

from mimseg.checks import CHECKS_OF_LABELS, look_at
from mimseg.checks.cases.files import of_files
from mimseg.checks.cases.reading import load_labels
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding, without_repetitions
from mimseg.data.cases import Case, Dataset
from mimseg.data.labels.scheme import LabelScheme
from mimseg.errors import UserError
from mimseg.events import Reporter

_MOST_TOLD = 5


def stop_at_errors(
    dataset: Dataset, training: Sequence[Case], validation: Sequence[Case], scheme: LabelScheme, reporter: Reporter
) -> frozenset[str]:
    """Check the files and the labels of the cases.

    Args:
        dataset: Where they are from.
        training: Cases to train on.
        validation: Cases to validate on.
        scheme: What labels mean.
        reporter: Is told of warnings, and which files are left out.

    Returns:
        Identifiers of the cases whose labelmap is empty.

    Raises:
        UserError: There are errors; it names the first of them.
    """
    cases = [*training, *validation]
    context = Context(
        scheme.names,
        scheme.structures,
        channels=dataset.channels,
        training=frozenset(case.identifier for case in training),
        validation=frozenset(case.identifier for case in validation),
    )
    found = look_at(cases, lambda case: load_labels(case, scheme), CHECKS_OF_LABELS, context, reporter, "check labels")
    findings = without_repetitions(of_files(dataset, cases) + found)
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
    return frozenset(finding.case for finding in found if finding.code == "empty-label")


def _told(finding: Finding) -> str:
    return f"{finding.case}: {finding.message}" if finding.case else finding.message
