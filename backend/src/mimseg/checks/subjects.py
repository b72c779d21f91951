"""Cases or persons that are in both training and validation, which makes scores worthless."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding

# Ends of names that tell visits, sides or sequences of one person apart.
_SUFFIX = re.compile(
    r"[-_ .](?:ses[-_]?\w+|(?:pre|post)(?:op)?\d*|baseline|follow[-_]?up\d*|fu\d*|visit[-_]?\d+|scan[-_]?\d+|tp\d+"
    r"|left|right|lh|rh|[lr]|t1c?e?|t2|flair|copy|kopie|\(\d+\))$",
    re.IGNORECASE,
)


def measure(case: LoadedCase) -> str:
    """The subject, as the case list names it."""
    return case.case.subject


def find(measured: Mapping[str, str], context: Context) -> list[Finding]:
    """See the module."""
    findings = []
    if context.training is not None and context.validation is not None:
        findings += _split(measured, context.training, context.validation)
    by_subject = defaultdict(list)
    for name, subject in measured.items():
        if subject:
            by_subject[subject].append(name)
    several = sum(len(names) > 1 for names in by_subject.values())
    if several:
        text = f"{several} subject{'s have' if several > 1 else ' has'} several cases."
        remedy = "When you choose validation cases yourself, keep those of one subject together."
        findings.append(Finding("", "note", "several-cases-of-subject", text, remedy, {"subjects": several}))
    return findings + _alike_names([name for name, subject in measured.items() if not subject], context)


def _split(subjects: Mapping[str, str], training: frozenset[str], validation: frozenset[str]) -> list[Finding]:
    findings = []
    trained = {subjects[name]: name for name in sorted(training) if subjects.get(name)}
    for name in sorted(validation):
        if name in training:
            text = "Is in both training and validation."
        elif subjects.get(name) in trained:
            text = f"Validates, but {trained[subjects[name]]} of the same subject is trained on."
        else:
            continue
        remedy = "Choose disjoint --cases and --validation: scores on what was trained on mean nothing."
        findings.append(Finding(name, "error", "leaking-validation", text, remedy, {"subject": subjects.get(name, "")}))
    return findings


def _alike_names(names: list[str], context: Context) -> list[Finding]:
    """Cases without a known subject whose names suggest that they are of one person."""
    groups = defaultdict(list)
    for name in names:
        groups[_person(name)].append(name)
    findings = []
    for group in groups.values():
        if len(group) < 2:
            continue
        text = f"The names {', '.join(group[:4])}{' ...' if len(group) > 4 else ''} look like one subject's."
        remedy = "If so, give them the same `subject` in a case list (CSV), so that none validates what another taught."
        sides = {
            name in (context.validation or ())
            for name in group
            if name in (context.training or ()) or name in (context.validation or ())
        }
        severity = "warning" if len(sides) == 2 or context.validation is None else "note"
        findings.append(Finding(group[0], severity, "alike-names", text, remedy, {"cases": group}))
    return findings


def _person(name: str) -> str:
    match = re.match(r"(sub-[A-Za-z0-9]+)(?=_)", name)
    if match:
        return match[1]
    shorter = _SUFFIX.sub("", name)
    while shorter != name and len(shorter) > 2:
        name, shorter = shorter, _SUFFIX.sub("", shorter)
    return name
