"""Folds of a cross-validation: whole subjects, drawn by seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from mimseg.errors import UserError

LEAVE_ONE_OUT_UP_TO = 6
USUAL_FOLDS = 5


def assign_folds(subjects: Sequence[str], folds: int, seed: int) -> list[int]:
    """Number of the fold, from 0, that holds out each case.

    Args:
        subjects: Subject of each case; cases of one subject share a fold.
        folds: Number of folds; 0 for leave-one-subject-out up to six subjects and five folds above.
        seed: Of the draw.

    Raises:
        UserError: There are fewer subjects than folds, or only one.
    """
    distinct = sorted(set(subjects))
    count = folds or (len(distinct) if len(distinct) <= LEAVE_ONE_OUT_UP_TO else USUAL_FOLDS)
    if not 2 <= count <= len(distinct):
        raise UserError(
            f"{len(distinct)} subject(s) cannot be divided into {count} folds.",
            "Label at least two subjects, or ask for fewer folds.",
            code="no-dataset",
        )
    random.Random(seed).shuffle(distinct)
    place = {subject: number % count for number, subject in enumerate(distinct)}
    return [place[subject] for subject in subjects]
