"""The labelled cases of a fine-tuning: which ones train, which validate, what their values mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from mimseg.commands.finetune.anatomy import Anatomy, learn_anatomy
from mimseg.commands.finetune.boxes import lay_boxes
from mimseg.commands.finetune.checking import stop_at_errors
from mimseg.commands.finetune.locator import warn_of_whole_scans
from mimseg.commands.finetune.mirroring import guard_sides
from mimseg.commands.finetune.settings import NO_VALIDATION, FinetuneSettings
from mimseg.data.cases import Case, Dataset, load_dataset, pick_cases
from mimseg.data.cases.images import read_images
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.labels.regions import Regions
from mimseg.data.labels.scheme import LabelScheme, choose_scheme
from mimseg.data.labels.structures import Label
from mimseg.data.labels.truth import with_overlaps
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volume import Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.studies.subsets import every_fifth_subject
from mimseg.training.crops.cache import TrainingCase, load_cases
from mimseg.training.planning import SPACING_SAMPLES, choose_preprocessing
from mimseg.training.start.initial_weights import InitialWeights
from mimseg.training.synthesis.label_extras import read_label_extras


@dataclass(frozen=True)
class LabelledData:
    """Everything that is learned from, prepared.

    Attributes:
        scheme: The structures, and what label values mean.
        modality: `CT` or `MR`.
        preprocessing: What the volumes went through.
        training: Cases to train on; one that was cut has an entry for each box.
        validation: Cases to choose the best weights by, likewise; may be empty.
    """

    scheme: LabelScheme
    modality: str
    preprocessing: Preprocessing
    training: list[TrainingCase]
    validation: list[TrainingCase]

    @property
    def labels(self) -> tuple[Label, ...]:
        """The structures."""
        return self.scheme.labels

    @property
    def regions(self) -> Regions | None:
        """Label values that make up each structure where structures may overlap; None if each is its own value."""
        return self.scheme.regions

    @property
    def outputs(self) -> int:
        """Output channels of the network: structures that exclude each other need one more for the background."""
        return len(self.labels) + (1 if self.regions is None else 0)

    @cached_property
    def anatomy(self) -> Anatomy:
        """What the labels tell of anatomy."""
        return learn_anatomy(self.training, self.scheme, self.preprocessing, self.validation)


def load_labelled_data(settings: FinetuneSettings, initial: InitialWeights | None, reporter: Reporter) -> LabelledData:
    """Find, split, read and prepare the cases.

    Raises:
        UserError: The data set, the selection or a case is not usable.
    """
    dataset = load_dataset(settings.data, True, settings.orientation)
    training, validation = split_cases(dataset, settings)
    if not validation:
        asked = settings.validation == NO_VALIDATION
        why = "No case was to be set aside" if asked else "There are too few cases, or people, to set some aside"
        reporter.warning("no-validation", f"{why}: the model is not scored. --folds auto scores every case.")
    _say_what_is_drawn(training, reporter)
    scheme = scheme_of(dataset, (*training, *validation), settings, reporter)
    guard_sides(settings.augmentation, scheme.labels, reporter, settings.resume)
    if not settings.resume:
        stop_at_errors(dataset, training, validation, scheme, reporter)
    modality, preprocessing = choose_preprocessing(
        initial, settings.preprocessing, settings.modality, settings.spacing, lambda: _sample(training), drawn(training)
    )
    extras = read_label_extras(settings.labels, scheme.labels)
    boxes = lay_boxes(settings, (*training, *validation), scheme, reporter)
    load = partial(
        load_cases, preprocessing=preprocessing, scheme=scheme, reporter=reporter, extras=extras, boxes=boxes
    )
    prepared = load(training, keep=False, phase="read training cases")
    if not boxes:
        warn_of_whole_scans(settings.locator, prepared, reporter)
    validating = load(validation, keep=True, phase="read validation cases") if validation else []
    return LabelledData(scheme, modality, preprocessing, prepared, validating)


def load_whole_data(
    settings: FinetuneSettings, cases: Sequence[Case], initial: InitialWeights | None, reporter: Reporter
) -> LabelledData:
    """Read and prepare all cases as training cases that can also be scored; for cross-validation.

    Raises:
        UserError: A case is not usable.
    """
    _say_what_is_drawn(cases, reporter)
    scheme = scheme_of(load_dataset(settings.data, True, settings.orientation), cases, settings, reporter)
    guard_sides(settings.augmentation, scheme.labels, reporter, settings.resume)
    modality, preprocessing = choose_preprocessing(
        initial, settings.preprocessing, settings.modality, settings.spacing, lambda: _sample(cases), drawn(cases)
    )
    extras = read_label_extras(settings.labels, scheme.labels)
    boxes = lay_boxes(settings, cases, scheme, reporter)
    prepared = load_cases(cases, preprocessing, scheme, reporter, True, "read cases", extras=extras, boxes=boxes)
    if not boxes:
        warn_of_whole_scans(settings.locator, prepared, reporter)
    return LabelledData(scheme, modality, preprocessing, prepared, [])


def split_cases(dataset: Dataset, settings: FinetuneSettings) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Training and validation cases; no case, and no known subject, is in both."""
    labelled = tuple(case for case in dataset.cases if case.label is not None)
    validation: tuple[Case, ...] = ()
    if settings.validation and settings.validation != NO_VALIDATION:
        validation = pick_cases(labelled, settings.validation)
    chosen = {case.identifier for case in validation}
    training = (
        pick_cases(labelled, settings.cases)
        if settings.cases
        else tuple(case for case in labelled if case.identifier not in chosen)
    )
    if not settings.validation:
        validation = every_fifth_subject(training)
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


def scheme_of(dataset: Dataset, cases: Sequence[Case], settings: FinetuneSettings, reporter: Reporter) -> LabelScheme:
    """What the labels of these cases mean.

    Raises:
        UserError: Nothing says so, or a Slicer segmentation cannot be read.
    """
    scheme = choose_scheme(dataset, settings.labels, settings.data)
    return with_overlaps(scheme, [case.label for case in cases if case.label is not None], reporter)


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
