"""Look for problems in a labelled data set before anything is trained, and say them in plain words."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mimseg.data.cases import Case, Dataset, load_dataset
from mimseg.data.labelmaps import read_labelmap
from mimseg.data.labels import read_labels
from mimseg.data.volume import Volume
from mimseg.data.volumes import read_channels
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.stopping import check as check_stop

TINY_VOXELS = 10
SPACING_FACTOR = 2.0
# CT in Hounsfield units nearly always contains air or fat; a volume without negative values is not in HU.
HIGHEST_CT_MINIMUM = -50.0


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes:
        case: Name of the case, or empty if it concerns the whole data set.
        severity: `error` (cannot be trained on) or `warning` (look at it).
        code: Stable identifier.
        message: What is wrong, with numbers.
        remedy: What to do.
    """

    case: str
    severity: str
    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class _Facts:
    """What is remembered of a case after its voxels are released."""

    case: Case
    digest: str
    spacing: tuple[float, ...]
    lowest: float
    counts: dict[int, int]


def check(data: Path, reporter: Reporter, labels: Path | None = None, modality: str | None = None) -> list[Problem]:
    """Read every case once and list the problems.

    Args:
        data: A data set, see `mimseg.data.cases.load_dataset`.
        reporter: Gets one warning per problem and the list as the result.
        labels: JSON file that names the label values, or None for what the data set says.
        modality: `CT` or `MR` of the model that training starts from; None leaves this unchecked.

    Raises:
        UserError: The data set itself cannot be read.
    """
    dataset = load_dataset(data)
    known = {label.value for label in read_labels(labels)} if labels else set(dataset.label_names)
    reporter.start("check", cases=len(dataset.cases))
    problems, facts = _read_all(dataset, reporter)
    problems += _label_problems(facts, known)
    problems += _duplicates(facts) + _spacing_outliers(facts)
    if modality == "CT":
        problems += [_not_hounsfield(fact) for fact in facts if fact.lowest > HIGHEST_CT_MINIMUM]
    order = {case.identifier: number for number, case in enumerate(dataset.cases)}
    problems.sort(key=lambda problem: (problem.severity, order.get(problem.case, -1)))
    for problem in problems:
        name = f"{problem.case}: " if problem.case else ""
        reporter.warning(problem.code, f"{name}{problem.message} {problem.remedy}")
    reporter.result(cases=len(dataset.cases), problems=[asdict(problem) for problem in problems])
    return problems


def _read_all(dataset: Dataset, reporter: Reporter) -> tuple[list[Problem], list[_Facts]]:
    problems, facts = [], []
    for number, case in enumerate(dataset.cases):
        check_stop()
        reporter.progress("check", number, len(dataset.cases))
        try:
            facts.append(_facts(case))
        except UserError as fault:
            problems.append(Problem(case.identifier, "error", fault.code, fault.message, fault.hint))
    reporter.progress("check", len(dataset.cases), len(dataset.cases))
    return problems, facts


def _facts(case: Case) -> _Facts:
    volume = read_channels(case.images)
    label: Volume | None = read_labelmap(case.label, like=volume.grid) if case.label else None
    counts: dict[int, int] = {}
    if label is not None:
        values, numbers = np.unique(label.array, return_counts=True)
        counts = {int(value): int(n) for value, n in zip(values, numbers, strict=True) if value != 0}
    digest = hashlib.sha256(np.ascontiguousarray(volume.array).tobytes()).hexdigest()
    return _Facts(case, digest, volume.grid.spacing, float(volume.array.min()), counts)


def _label_problems(facts: Sequence[_Facts], known: set[int]) -> list[Problem]:
    problems = []
    used: set[int] = set().union(*(fact.counts for fact in facts))
    for fact in facts:
        name = fact.case.identifier
        unknown = sorted(set(fact.counts) - known) if known else []
        if unknown:
            remedy = "Name these values in the label file, or remove them from the labelmap."
            text = f"The labelmap has the values {unknown}, which nothing names."
            problems.append(Problem(name, "error", "unknown-label-value", text, remedy))
        if not fact.counts:
            text = "The labelmap is empty."
            problems.append(Problem(name, "error", "empty-label", text, "Draw the structures, or leave the case out."))
            continue
        missing = sorted((known or used) - set(fact.counts))
        if missing:
            text = f"The structures with the values {missing} are missing, which other cases may have."
            problems.append(Problem(name, "warning", "missing-structure", text, "Check whether they were forgotten."))
        for value in (value for value, count in fact.counts.items() if count < TINY_VOXELS):
            text = f"The structure with the value {value} has only {fact.counts[value]} voxels."
            problems.append(Problem(name, "warning", "tiny-label", text, "Remove stray voxels, or finish drawing it."))
    return problems


def _duplicates(facts: Sequence[_Facts]) -> list[Problem]:
    first: dict[str, str] = {}
    problems = []
    for fact in facts:
        if fact.digest in first:
            text = f"Has exactly the same voxels as {first[fact.digest]}."
            remedy = "Remove one: with one in training and one in validation, scores mean nothing."
            problems.append(Problem(fact.case.identifier, "error", "duplicate", text, remedy))
        first.setdefault(fact.digest, fact.case.identifier)
    return problems


def _spacing_outliers(facts: Sequence[_Facts]) -> list[Problem]:
    if len(facts) < 3:
        return []
    sorted_spacings = np.array([sorted(fact.spacing) for fact in facts])
    median = np.median(sorted_spacings, axis=0)
    problems = []
    for fact, spacing in zip(facts, sorted_spacings, strict=True):
        if (spacing > SPACING_FACTOR * median).any() or (spacing * SPACING_FACTOR < median).any():
            shown = " x ".join(f"{edge:.3g}" for edge in fact.spacing)
            usual = " x ".join(f"{edge:.3g}" for edge in median)
            text = f"The voxels of {shown} mm differ much from the usual {usual} mm."
            problems.append(Problem(fact.case.identifier, "warning", "spacing", text, "Check that it belongs here."))
    return problems


def _not_hounsfield(fact: _Facts) -> Problem:
    text = f"The lowest value is {fact.lowest:.0f}: this is no CT in Hounsfield units."
    remedy = "Export it again with rescale slope and intercept applied, or choose an MR model."
    return Problem(fact.case.identifier, "error", "not-hounsfield", text, remedy)
