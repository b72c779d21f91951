"""The labelled cases on which a model's overlap and quick mode are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.bundle.checked_folder import sha256_of
from mimseg.bundle.description import Description
from mimseg.data.cases import Case
from mimseg.data.cases.images import read_images
from mimseg.data.labels.scheme import IGNORED, LabelScheme
from mimseg.data.labels.truth import read_truth
from mimseg.data.preprocessing import label_type, largest_first
from mimseg.data.volume import Volume
from mimseg.events import Reporter

MOST_CASES = 8


@dataclass(frozen=True)
class Scan:
    """A case at hand.

    Attributes:
        volume: `(i, j, k)` or `(C, i, j, k)`.
        truth: Class indices `(i, j, k)`, 0 background, as `segment_volume` gives them; None where nobody asks for it.
        ignored: Where nobody says what is there `(i, j, k)`; None if that is nowhere.
    """

    volume: Volume
    truth: NDArray[np.integer] | None = None
    ignored: NDArray[np.bool_] | None = None


def spread(cases: Sequence[Case], most: int = MOST_CASES) -> list[Case]:
    """At most `most` cases, evenly spaced through the list."""
    count = min(most, len(cases))
    return [cases[(2 * number + 1) * len(cases) // (2 * count)] for number in range(count)]


def unseen_cases(cases: Sequence[Case], description: Description, reporter: Reporter) -> list[Case]:
    """The cases whose first image is not among those that the model says it was trained on."""
    seen = set(_training_hashes(description))
    if not seen:
        reporter.warning(
            "training-cases-unknown",
            f"{description.name} does not say which cases it was trained on: what is measured on those means little.",
        )
        return list(cases)
    unseen = []
    for number, case in enumerate(cases):
        stopping.check()
        reporter.progress("compare cases", number, len(cases))
        image = case.images[0]
        if not image.is_file() or sha256_of(image) not in seen:
            unseen.append(case)
    reporter.progress("compare cases", len(cases), len(cases))
    return unseen


def read_scan(case: Case, scheme: LabelScheme | None, reporter: Reporter) -> Scan:
    """Read a case.

    Args:
        case: Its files.
        scheme: What its labels mean; None leaves them unread.
        reporter: Receives warnings.

    Raises:
        UserError: A file cannot be read, or the labels are not among those of the scheme.
    """
    volume = read_images(case, reporter=reporter)
    if scheme is None or case.label is None:
        return Scan(volume)
    labels = read_truth(case.label, scheme, volume.grid, reporter, case.orientation)
    classes = scheme.classes_of(labels.array, case.label)
    ignored = classes == IGNORED
    classes[ignored] = 0
    return Scan(volume, _smallest(classes, scheme.membership), ignored if ignored.any() else None)


def _smallest(classes: NDArray[np.integer], member: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Structure of each voxel, the smallest where several meet, as `segment` does.

    Args:
        classes: Class indices `(i, j, k)`.
        member: `(structures, classes)`: which classes each structure is made of.
    """
    counts = np.bincount(classes.ravel(), minlength=member.shape[1])
    structure = np.zeros(member.shape[1], label_type(len(member) + 1))
    for row in largest_first([int(counts[own].sum()) for own in member]):
        structure[member[row]] = row + 1
    return structure[classes]


def _training_hashes(description: Description) -> list[str]:
    finetuning = description.training.get("finetuning")
    found = finetuning.get("training_sha256") if isinstance(finetuning, dict) else None
    return found if isinstance(found, list) else []
