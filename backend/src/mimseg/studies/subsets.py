"""Which cases pre-train, which train with labels, which validate: whole subjects, nested, drawn by seed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from mimseg.data.cases import Case, Dataset, pick_cases
from mimseg.errors import UserError

VALIDATION_EVERY = 5


def split(dataset: Dataset, pool: str | None, validation: str | None) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Cases to learn from and labelled cases to validate on; no subject is in both.

    Args:
        dataset: All cases.
        pool: Selection of the cases to learn from; None for all that do not validate.
        validation: Selection of the cases to validate on; None for all labelled cases of every fifth subject.

    Raises:
        UserError: A case or subject is in both, or too few are left.
    """
    labelled = [case for case in dataset.cases if case.label is not None]
    validating = pick_cases(labelled, validation) if validation is not None else every_fifth_subject(labelled)
    subjects = {subject_of(case) for case in validating}
    if pool is not None:
        learning = pick_cases(dataset.cases, pool)
    else:
        learning = tuple(case for case in dataset.cases if subject_of(case) not in subjects)
    shared = sorted({case.identifier for case in learning if subject_of(case) in subjects})
    if shared:
        raise UserError(
            f"{', '.join(shared[:5])}: {len(shared)} case(s) of the pool, or others of the same subject, validate.",
            "Scores on them would mean nothing: choose disjoint --pool and --validation.",
            code="leaking-validation",
        )
    trainable = sum(case.label is not None for case in learning)
    if len(validating) < 2 or not trainable:
        raise UserError(
            f"{_count(len(validating))} would validate and {_count(trainable)} with labels would train: too few for a "
            "study.",
            "Choose at least two labelled cases to validate on with --validation, and leave one or more to train on; "
            "by itself, every fifth labelled subject validates, which takes ten of them.",
            code="no-dataset",
        )
    return learning, validating


def _count(cases: int) -> str:
    return f"{cases} case{'' if cases == 1 else 's'}"


def every_fifth_subject(cases: Sequence[Case]) -> tuple[Case, ...]:
    """All cases of every fifth subject, in the order in which subjects first appear; none below five subjects."""
    chosen = list(_by_subject(cases))[VALIDATION_EVERY - 1 :: VALIDATION_EVERY]
    return tuple(case for case in cases if subject_of(case) in chosen)


def subset(pool: Iterable[Case], size: int, seed: int) -> tuple[Case, ...]:
    """The first `size` labelled cases (0: all) of an order that depends on the seed alone, so subsets are nested.

    Every subject gives one case before any gives a second one.

    Raises:
        UserError: There are fewer labelled cases.
    """
    groups = list(_by_subject([case for case in pool if case.label is not None]).values())
    generator = random.Random(f"labelled cases, seed {seed}")
    generator.shuffle(groups)
    for group in groups:
        generator.shuffle(group)
    rounds = range(max(map(len, groups), default=0))
    order = [group[number] for number in rounds for group in groups if number < len(group)]
    if size > len(order):
        raise UserError(
            f"The study asks for {size} labelled cases, but the pool has {len(order)}.",
            "Ask for fewer with --labelled or --sizes, or set fewer aside with --validation.",
            code="too-few-cases",
        )
    return tuple(order[: size or None])


def subject_of(case: Case) -> str:
    """The subject, or, where none is known, the case as a subject of its own."""
    return f"subject {case.subject}" if case.subject else f"case {case.identifier}"


def subject_numbers(cases: Sequence[Case]) -> list[int]:
    """A number for each case that is equal for cases of one subject; names nobody."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(subject_of(case), len(numbers)) for case in cases]


def _by_subject(cases: Iterable[Case]) -> dict[str, list[Case]]:
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(subject_of(case), []).append(case)
    return groups
