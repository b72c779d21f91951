"""The labelled cases of a fine-tuning: which ones train, which validate, what their values mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mimseg.commands.finetune.settings import FinetuneSettings
from mimseg.data.cases import Case, Dataset, load_dataset, pick_cases
from mimseg.data.cases.images import read_images
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.labels.regions import Regions, all_values, read_regions
from mimseg.data.labels.structures import Label, distinct_color, read_labels
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volume import Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.training.crops.cache import TrainingCase, load_cases
from mimseg.training.initial_weights import InitialWeights
from mimseg.training.planning import SPACING_SAMPLES, choose_preprocessing
from mimseg.training.synthesis.label_extras import read_label_extras


@dataclass(frozen=True)
class LabelledData:
    """Everything that is learned from, prepared.

    Attributes:
        labels: The structures.
        modality: `CT` or `MR`.
        preprocessing: What the volumes went through.
        training: Cases to train on.
        validation: Cases to choose the best weights by; may be empty.
        regions: Label values that make up each structure where structures may overlap; None if each is its own value.
    """

    labels: tuple[Label, ...]
    modality: str
    preprocessing: Preprocessing
    training: list[TrainingCase]
    validation: list[TrainingCase]
    regions: Regions | None = None

    @property
    def outputs(self) -> int:
        """Output channels of the network: structures that exclude each other need one more for the background."""
        return len(self.labels) + (1 if self.regions is None else 0)


def load_labelled_data(settings: FinetuneSettings, initial: InitialWeights | None, reporter: Reporter) -> LabelledData:
    """Find, split, read and prepare the cases.

    Raises:
        UserError: The data set, the selection or a case is not usable.
    """
    dataset = load_dataset(settings.data, True, settings.orientation)
    training, validation = split_cases(dataset, settings)
    if not validation:
        reporter.warning(
            "no-validation",
            "There are too few cases to set some aside: the model is not scored. --folds auto scores every case.",
        )
    _say_what_is_drawn(training, reporter)
    labels = choose_labels(dataset, settings)
    modality, preprocessing = choose_preprocessing(
        initial, settings.preprocessing, settings.modality, settings.spacing, lambda: _sample(training), drawn(training)
    )
    regions = read_regions(settings.labels) if settings.labels else None
    values = all_values(regions) if regions else [label.value for label in labels]
    extras = read_label_extras(settings.labels, labels)
    prepared = load_cases(
        training, preprocessing, values, reporter, False, "read training cases", regions=regions, extras=extras
    )
    validating = []
    if validation:
        validating = load_cases(
            validation, preprocessing, values, reporter, True, "read validation cases", regions=regions, extras=extras
        )
    return LabelledData(labels, modality, preprocessing, prepared, validating, regions)


def load_whole_data(
    settings: FinetuneSettings, cases: Sequence[Case], initial: InitialWeights | None, reporter: Reporter
) -> LabelledData:
    """Read and prepare all cases as training cases that can also be scored; for cross-validation.

    Raises:
        UserError: A case is not usable.
    """
    _say_what_is_drawn(cases, reporter)
    labels = choose_labels(load_dataset(settings.data, True, settings.orientation), settings)
    modality, preprocessing = choose_preprocessing(
        initial, settings.preprocessing, settings.modality, settings.spacing, lambda: _sample(cases), drawn(cases)
    )
    regions = read_regions(settings.labels) if settings.labels else None
    values = all_values(regions) if regions else [label.value for label in labels]
    extras = read_label_extras(settings.labels, labels)
    prepared = load_cases(cases, preprocessing, values, reporter, True, "read cases", regions=regions, extras=extras)
    return LabelledData(labels, modality, preprocessing, prepared, [], regions)


def split_cases(dataset: Dataset, settings: FinetuneSettings) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Training and validation cases; no case, and no known subject, is in both."""
    labelled = tuple(case for case in dataset.cases if case.label is not None)
    validation: tuple[Case, ...] = ()
    if settings.validation:
        validation = pick_cases(labelled, settings.validation)
    chosen = {case.identifier for case in validation}
    training = (
        pick_cases(labelled, settings.cases)
        if settings.cases
        else tuple(case for case in labelled if case.identifier not in chosen)
    )
    if not settings.validation and len(training) >= 5:
        validation = training[4::5]
        training = tuple(case for case in training if case not in validation)
    shared = {case.identifier for case in training} & {case.identifier for case in validation}
    subjects = {case.subject for case in training if case.subject} & {case.subject for case in validation}
    if shared or subjects:
        raise UserError(
            f"{', '.join(sorted(shared | subjects)[:5])} is in both training and validation.",
            "Scores on training cases mean nothing: choose disjoint --cases and --validation.",
            code="leaking-validation",
        )
    if not training:
        raise UserError("No case is left for training.", "Choose fewer validation cases.", code="no-dataset")
    return training, validation


def choose_labels(dataset: Dataset, settings: FinetuneSettings) -> tuple[Label, ...]:
    """The structures: from the label file, or else as the data set names its values."""
    if settings.labels:
        return read_labels(settings.labels)
    if not dataset.label_names:
        raise UserError(
            f"{settings.data} does not say what its label values mean.",
            'Give a file with --labels: [{"value": 1, "name": "liver"}, ...].',
            code="bad-labels",
        )
    return tuple(
        Label(value, name, distinct_color(index))
        for index, (value, name) in enumerate(sorted(dataset.label_names.items()))
    )


def drawn(cases: Sequence[Case]) -> bool:
    """Whether images of all cases are drawn from their labels."""
    return not any(case.images for case in cases)


def _say_what_is_drawn(cases: Sequence[Case], reporter: Reporter) -> None:
    count = sum(not case.images for case in cases)
    if count:
        reporter.info(
            f"{count} of {len(cases)} cases have labels but no image: images of every kind of contrast, resolution and "
            "noise are drawn from their labels while training. The model then suits scans of any kind."
        )


def _sample(cases: Sequence[Case]) -> list[Volume]:
    """Some of the volumes, to plan from; where there are none, the labelmaps."""
    chosen = cases if drawn(cases) else [case for case in cases if case.images]
    chosen = chosen[:: max(1, len(chosen) // SPACING_SAMPLES)]
    return [read_images(case) if case.images else read_labelmap(case.label) for case in chosen]  # type: ignore[arg-type]
