"""The volumes of a pre-training: which ones train, which are held out, and what is done to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mimseg.commands.pretrain.settings import PretrainSettings
from mimseg.data.cases import Case, is_dataset, load_dataset, pick_cases, stem
from mimseg.data.cases.images import read_images
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.scans import find_scans
from mimseg.data.volume import Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.stopping import check
from mimseg.training.crops.cache import TrainingCase, load_cases
from mimseg.training.planning import SPACING_SAMPLES, choose_preprocessing
from mimseg.training.start.initial_weights import InitialWeights

# Fewer volumes than this are all trained on: one held out would tell nothing and be missed.
FEWEST_TO_HOLD_OUT = 10


@dataclass(frozen=True)
class UnlabelledData:
    """Everything that is learned from, prepared.

    Attributes:
        modality: `CT` or `MR`.
        preprocessing: What the volumes went through.
        training: Volumes to train on.
        validation: Volumes to measure the loss on; the training ones if there are too few to hold some out.
    """

    modality: str
    preprocessing: Preprocessing
    training: list[TrainingCase]
    validation: list[TrainingCase]


def load_unlabelled_data(
    settings: PretrainSettings, initial: InitialWeights | None, reporter: Reporter
) -> UnlabelledData:
    """Find, read and prepare the volumes.

    Raises:
        UserError: No volume was found, or none can be read.
    """
    cases = find_cases(settings.data, settings.cases, reporter)
    drawn = not any(case.images for case in cases)
    modality, preprocessing = choose_preprocessing(
        initial, settings.preprocessing, settings.modality, settings.spacing, lambda: _sample(cases), drawn
    )
    anonymous = [
        replace(case, identifier=f"volume {n}", label=None if case.images else case.label)
        for n, case in enumerate(cases, start=1)
    ]
    prepared = load_cases(anonymous, preprocessing, None, reporter, skip_unreadable=True)
    channels = prepared[0].image.shape[0]
    odd = next((case for case in prepared if case.image.shape[0] != channels), None)
    if odd is not None:
        raise UserError(
            f"{odd.identifier} has {odd.image.shape[0]} channels, the first one {channels}.",
            "All volumes need the same channels in the same order.",
            code="bad-dataset",
        )
    # A block at the end, not every tenth: neighbours in the order of names are often the same person.
    held_out = len(prepared) // 10 if len(prepared) >= FEWEST_TO_HOLD_OUT else 0
    training = prepared[: len(prepared) - held_out]
    return UnlabelledData(modality, preprocessing, training, prepared[len(training) :] or training)


def find_cases(data: Sequence[Path], selection: str | None, reporter: Reporter | None = None) -> list[Case]:
    """All volumes, one case each; of labelled data sets with all their channels. The reporter is told of masks.

    Raises:
        UserError: Nothing was found, or the selection names an unknown case.
    """
    cases: list[Case] = []
    for entry in data:
        if is_dataset(entry):
            cases += load_dataset(entry, without_images=True).cases
        else:
            cases += [Case(stem(path), (path,), None) for path in find_scans(entry, reporter)]
    if selection:
        cases = list(pick_cases(cases, selection))
    if not cases:
        raise UserError(
            f"No volume was found in {', '.join(map(str, data))}.",
            "Give folders with NIfTI, NRRD, MHA files or DICOM series.",
            code="no-dataset",
        )
    return cases


def _sample(cases: Sequence[Case]) -> list[Volume]:
    """Some of the volumes, to plan from; unreadable ones are reported when all are loaded."""
    sample = []
    for case in cases[:: max(1, len(cases) // SPACING_SAMPLES)]:
        check()
        try:
            sample.append(read_images(case) if case.images else read_labelmap(case.label))  # type: ignore
        except UserError:
            continue
    if not sample:
        raise UserError("None of the first volumes could be read.", "Check the folder.", code="no-dataset")
    return sample
