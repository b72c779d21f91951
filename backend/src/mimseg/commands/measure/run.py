"""Measures the overlap of windows and the coarser spacing that a model tolerates, and stores both in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mimseg.bundle.description import Description
from mimseg.bundle.locations import find_bundle, list_bundles
from mimseg.bundle.reader import Bundle, open_bundle
from mimseg.bundle.update import check_updatable, update_description
from mimseg.commands.measure.cases import read_scan, spread, unseen_cases
from mimseg.commands.measure.choice import (
    OVERLAPS,
    bf16_row,
    choose_overlap,
    choose_quick_mode,
    coarser_spacings,
    row_of,
)
from mimseg.commands.measure.variants import PHASE, Find, Measuring
from mimseg.commands.segment.finder import Finder
from mimseg.data.cases import Case, Dataset, load_dataset, pick_cases
from mimseg.data.cases.images import has_channels
from mimseg.data.labels.regions import read_regions
from mimseg.data.labels.scheme import LabelScheme
from mimseg.data.labels.truth import with_overlaps
from mimseg.data.volume import Volume
from mimseg.errors import OutOfMemory, UserError
from mimseg.events import Reporter
from mimseg.inference.engines import open_engine
from mimseg.inference.locating import Located
from mimseg.inference.sliding_window import Predict


@dataclass(frozen=True)
class MeasureSettings:
    """Choices of `mimseg measure`.

    Attributes:
        model: Name or path of the model's folder.
        data: A labelled data set, see `mimseg.data.cases.load_dataset`.
        cases: Selection of its cases, see `mimseg.data.cases.pick_cases`; None for all.
        labels: Label file that the model was trained with; only needed for structures that may overlap.
        device: `auto`, `cpu`, `cuda`, `mps`.
        engine: `auto`, `openvino`, `torch`.
        threads: Processor threads; None takes one for each physical core.
    """

    model: str
    data: Path
    cases: str | None = None
    labels: Path | None = None
    device: str = "auto"
    engine: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class MeasurementData:
    """What a model is measured on, and how far.

    Attributes:
        cases: Labelled cases; at most eight of them are taken.
        with_truth: The labels may be compared with: the model was not trained on these cases.
        scheme: What the values of the labels mean; None if they are those of the model.
        overlap: Asked for by the user: it stays; None lets the overlap be chosen.
        seconds: Take no further case after that time, but for the first two; None: take all.
    """

    cases: Sequence[Case]
    with_truth: bool = True
    scheme: LabelScheme | None = None
    overlap: float | None = None
    seconds: float | None = None


def measure_inference(settings: MeasureSettings, reporter: Reporter) -> Bundle:
    """Measure a model on labelled cases, and store overlap, quick mode and all that was measured in it.

    Returns:
        The model as it is now.

    Raises:
        UserError: The model cannot be changed, or the data are not usable.
        OutOfMemory: Memory ran out.
        Stopped: The user asked to stop; the model is as it was.
    """
    folder = _own_folder(settings.model)
    bundle = open_bundle(folder)
    description = bundle.description
    dataset = load_dataset(settings.data)
    cases = _labelled_cases(dataset, settings, len(description.channels))
    scheme = _scheme(settings.labels, description, dataset)
    scheme = with_overlaps(scheme, [case.label for case in cases if case.label is not None], reporter)
    reporter.start("measure", model=description.name, version=description.version, cases=len(cases))
    unseen = unseen_cases(cases, description, reporter)
    if not unseen:
        reporter.warning(
            "trained-on",
            "The model was trained on all of these cases: only the overlap can be measured, by agreement. For a quick "
            "mode give other labelled cases.",
        )
    elif len(unseen) < len(cases):
        reporter.info(f"{len(cases) - len(unseen)} of {len(cases)} cases are left out: the model was trained on them.")
    comparable = scheme.regions is not None or not description.multilabel
    if not comparable:
        reporter.warning(
            "no-label-file",
            "The structures of this model may overlap: without --labels, only the windows' overlap can be measured.",
        )
    what = MeasurementData(unseen or cases, bool(unseen) and comparable, scheme)
    bundle = measure_model(bundle, what, reporter, settings.device, settings.engine, settings.threads)
    changed = bundle.description
    reporter.result(
        model=str(bundle.path),
        overlap=changed.overlap,
        quick=None if changed.quick is None else changed.quick.to_json(),
        inference=changed.scores["inference"],
    )
    return bundle


def measure_model(
    bundle: Bundle,
    what: MeasurementData,
    reporter: Reporter,
    device: str = "auto",
    engine: str = "auto",
    threads: int | None = None,
) -> Bundle:
    """Measure a model and renew its description; raises as `measure_inference` does.

    A model with a locator is measured in the boxes that it finds in large scans. If the memory of a GPU does not
    suffice for one of both, everything is measured on the CPU.

    Args:
        bundle: The model; its folder is renewed.
        what: Cases, and how far they may be used.
        reporter: Receives the progress and the outcome in words.
        device: As for `open_engine`.
        engine: Likewise.
        threads: Likewise.
    """
    check_updatable(bundle.path)
    # The engine is gone before the folder is replaced: on Windows, files that it has open could not be moved.
    try:
        description = _measure(bundle, what, reporter, device, engine, threads)
    except OutOfMemory as fault:
        if fault.code != "gpu-out-of-memory":
            raise
        reporter.warning("gpu-out-of-memory", f"{fault.message} The CPU is used instead.")
        description = _measure(bundle, what, reporter, "cpu", "auto", threads)
    return update_description(bundle.path, description)


def _measure(
    bundle: Bundle, what: MeasurementData, reporter: Reporter, device: str, engine: str, threads: int | None
) -> Description:
    finder = Finder(bundle.description, True, (), _Warnings(reporter))
    predict = open_engine(bundle, device, engine, threads, reporter)
    half = None
    if what.with_truth and predict.name == "openvino":
        half = open_engine(bundle, device, engine, threads, precision="bf16")

    def find(volume: Volume) -> Sequence[Located]:
        return finder.boxes(volume, lambda locating: open_engine(locating, device, engine, threads))

    half = half if half and half.precision == "bf16" else None
    return measured(bundle.description, predict, what, reporter, half, find)


class _Warnings(Reporter):
    """Passes on the warnings of looking for regions; the progress is that of the measurement."""

    def __init__(self, outer: Reporter) -> None:
        self.warning = outer.warning  # type: ignore[method-assign]


def measured(
    description: Description,
    predict: Predict,
    what: MeasurementData,
    reporter: Reporter,
    half: Predict | None = None,
    find: Find = lambda volume: (),
) -> Description:
    """The description with the overlap, the quick mode and the table that are measured; raises as `measure_model`.

    Args:
        description: Of the model.
        predict: Its engine.
        what: Cases, and how far they may be used.
        reporter: Receives the progress and the outcome in words.
        half: An engine with 16-bit arithmetic, to compare scores with.
        find: Finds the model's region in a large scan; structures of both sides count as the same there.
    """
    usual_spacing = description.preprocessing.spacing
    spacings = coarser_spacings(usual_spacing) if what.with_truth and usual_spacing is not None else []
    candidates = OVERLAPS if what.overlap is None else (what.overlap,)
    cases = spread(what.cases)
    scheme = (what.scheme or LabelScheme(description.labels)) if what.with_truth else None
    scans = [partial(read_scan, case, scheme, reporter) for case in cases]
    steps = len(candidates) + len(spacings) + (half is not None)
    measuring = Measuring(description, predict, scans, reporter, steps, what.seconds, find)
    variants = measuring.overlaps(candidates)
    overlap, why = candidates[0], "As asked for."
    if what.overlap is None:
        overlap, why = choose_overlap(variants, description.overlap)
    usual = next((variant for variant in variants if variant.overlap == overlap), variants[0])
    coarser = measuring.spacings(spacings, overlap)
    bf16 = {} if half is None else {"bf16": bf16_row(measuring.with_engine(half, overlap), usual)}
    quick, quick_why = choose_quick_mode(coarser, usual) if coarser else (None, _why_not_quick(what, description))
    taken = len(variants[0].windows)
    reporter.progress(PHASE, taken * steps, taken * steps)
    record = {
        "cases": taken,
        "cases_are": "not trained on" if what.with_truth else "compared without their labels",
        "overlap": why,
        "quick_mode": quick_why,
        **bf16,
        "variants": [
            *(row_of(variant, variants[0]) for variant in variants),
            *(row_of(variant, usual) for variant in coarser),
        ],
    }
    if overlap != description.overlap and "summary" in description.scores:
        record["other_scores"] = f"Measured with overlap {description.overlap:g}."
    reporter.info(f"Overlap of windows: {why}\nQuick mode: {quick_why}")
    scores: dict[str, Any] = {**description.scores, "inference": record}
    return replace(description, overlap=overlap, quick=quick, scores=scores)


def _why_not_quick(what: MeasurementData, description: Description) -> str:
    if description.preprocessing.spacing is None:
        return "None: the model works at the spacing of the scan, whatever it is."
    return "None: its loss would have to be measured on labelled cases that the model was not trained on."


def _own_folder(model: str) -> Path:
    """The folder of a model that may be changed.

    Raises:
        UserError: It is a zip file, or came with mimseg and was called by its name.
    """
    folder = find_bundle(model)
    if not folder.is_dir():
        raise UserError(
            f"{folder} is packed.", f"First import it: mimseg models import {folder}, then give its name.", "usage"
        )
    if any(bundle.shipped and bundle.name == model and bundle.path == folder for bundle in list_bundles()):
        raise UserError(
            f"The model {model} came with mimseg and stays as it is.",
            f"Copy its folder {folder}, and give the path of the copy.",
            "shipped-model",
        )
    return folder


def _scheme(labels: Path | None, description: Description, dataset: Dataset) -> LabelScheme:
    """What the labels of the data set mean for the model.

    Raises:
        UserError: The label file has another number of structures.
    """
    regions = read_regions(labels) if labels is not None and description.multilabel else None
    if regions is not None and len(regions) != len(description.labels):
        raise UserError(
            f"{labels} has {len(regions)} structures, but {description.name} has {len(description.labels)}.",
            "Give the label file that the model was trained with.",
            "bad-labels",
        )
    own = {label.value: label.name for label in description.labels}
    if regions is None and description.multilabel and own == dataset.label_names and dataset.regions:
        regions = tuple(dataset.regions[value] for value in own)
    scheme = LabelScheme(description.labels, regions)
    return replace(scheme, ignored=None if dataset.ignored in scheme.values else dataset.ignored)


def _labelled_cases(dataset: Dataset, settings: MeasureSettings, channels: int) -> tuple[Case, ...]:
    cases = tuple(case for case in dataset.cases if case.label is not None)
    if settings.cases:
        cases = pick_cases(cases, settings.cases)
    if not cases:
        raise UserError(f"{settings.data} has no labelled case.", "Give cases with labels.", "no-dataset")
    wrong = next((case for case in cases if not has_channels(case, channels)), None)
    if wrong is not None:
        raise UserError(
            f"The case {wrong.identifier} has {len(wrong.images)} files, but the model wants {channels}.",
            "Give cases with these channels.",
            "wrong-channels",
        )
    return cases
