"""Cases that start weights know already: by the SHA-256 of files that their provenance names.

A file that was saved again has another SHA-256, and a DICOM folder has none here: such cases are not recognised.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mimseg.bundle.checked_folder import sha256_of
from mimseg.data.cases import Case
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.stopping import check
from mimseg.training.crops.cache import TrainingCase
from mimseg.training.start.initial_weights import InitialWeights

# Of a pre-training, and of a training with labels.
_LISTS = ("data_sha256", "training_sha256", "validation_sha256")


def learned_from(provenance: Any) -> set[str]:
    """SHA-256 of all files that a provenance names, with labels or without, also those of the weights before it."""
    return {name for record in _records(provenance) for key in _LISTS for name in record.get(key) or ()}


def trained_on(provenance: Any) -> set[str]:
    """SHA-256 of the files whose labels were learned from, here or in the weights before."""
    return {name for record in _records(provenance) for name in record.get("training_sha256") or ()}


def supervised_by(provenance: Any) -> set[str]:
    """As `trained_on`, and the files whose labels chose weights."""
    records = [record for record in _records(provenance) if "training_sha256" in record]
    # With no validations the last weights were kept; an older mimseg did not record how many there were.
    chosen = (record.get("validation_sha256") or () for record in records if record.get("validations") != 0)
    return trained_on(provenance).union(*chosen)


def refuse_supervised(initial: InitialWeights | None, cases: Sequence[Case]) -> None:
    """Refuse start weights that know the labels of cases which score a cross-validation.

    Raises:
        UserError: They do.
    """
    known = count_known(cases, supervised_by(initial.provenance)) if initial else 0
    if initial and known:
        raise UserError(
            f"The labels of {known} of these {len(cases)} cases trained {initial.name}, or chose its weights: no fold "
            "could score them honestly.",
            "Start from the model that it was made from, or from none (--init none); without --folds it can be trained "
            "further, and only new cases tell how good it is.",
            code="start-knows-cases",
        )


def warn_of_trained(initial: InitialWeights | None, validation: Sequence[TrainingCase], reporter: Reporter) -> None:
    """Tell of validation cases that the start weights were trained on."""
    if initial is None:
        return
    trained = trained_on(initial.provenance)
    cases = {case.identifier for case in validation}
    known = {case.identifier for case in validation if case.sha256 in trained}
    if known:
        reporter.warning(
            "start-knows-validation",
            f"{len(known)} of the {len(cases)} validation cases trained {initial.name}, which this training starts "
            "from: their scores will be too high, and they do not choose the best weights well. Choose the cases "
            "that validated it, or new ones, or start from the model that it was made from.",
        )


def what_start_knows(provenance: Any, cases: Sequence[TrainingCase]) -> dict[str, str]:
    """What weights know of the cases that score what started from them: `start_knows`, a sentence; empty if nothing."""
    files = {case.identifier: case.sha256 for case in cases}
    labelled = sum(digest in supervised_by(provenance) for digest in files.values())
    seen = sum(digest in learned_from(provenance) for digest in files.values()) - labelled
    said = []
    if labelled:
        said.append(
            f"The labels of {labelled} of the {len(files)} scored cases trained the start weights or chose them: the "
            "scores are too high."
        )
    if seen:
        said.append(
            f"The start weights saw the images of {seen} of the {len(files)} scored cases, without their labels: on "
            "scans that they have not seen, the model may score lower."
        )
    return {"start_knows": " ".join(said)} if said else {}


def count_known(cases: Sequence[Case], digests: set[str]) -> int:
    """How many cases have a file that is among these: their first image, or the labelmap where there is none."""
    known = 0
    for case in cases if digests else ():
        check()
        known += any(path.is_file() and sha256_of(path) in digests for path in _identifying(case))
    return known


def _identifying(case: Case) -> Iterable[Any]:
    return case.images[:1] or ([case.label] if case.label is not None else [])


def _records(content: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary of a provenance, at any depth."""
    if isinstance(content, dict):
        yield content
        for value in content.values():
            yield from _records(value)
