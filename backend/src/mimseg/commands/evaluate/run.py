"""Compare segmentations with references: scores per case and class, and what they say on the whole.

Labels are matched by name where a file names its structures or the label file names them, by value
otherwise; values of a nameless file that take the meaning they have in the other file are told. A class
that is in neither file of a case has no score there; a class that is in one file only has Dice 0,
surface Dice 0 and an infinite HD95. Means and medians are taken over the finite scores, and the numbers
of undefined and infinite ones are reported next to them. Voxels that the reference calls `ignore` count
nowhere. A case whose files cannot be read is left out and named, and the run fails at its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.commands.evaluate.reading import read_pair
from mimseg.commands.evaluate.regions import score_regions
from mimseg.commands.evaluate.report import report_paths, write_report
from mimseg.data.cases import stem
from mimseg.data.cases.description import IGNORE
from mimseg.data.labels.labelmaps import read_segment_names
from mimseg.data.labels.scheme import LabelScheme, read_scheme
from mimseg.data.labels.structures import read_labels
from mimseg.errors import UserError, of_case
from mimseg.events import Reporter
from mimseg.formats import ending_of
from mimseg.metrics.overlap import overlaps
from mimseg.metrics.scores import score_classes
from mimseg.metrics.summary import CaseScores, Evaluation, summarise
from mimseg.stopping import check


@dataclass(frozen=True)
class EvaluateSettings:
    """Choices of `mimseg evaluate`.

    Attributes:
        predictions: A label map, or a folder of them.
        references: A label map, or a folder of them; cases are matched by file name without extension.
        output: The report's path without extension: `.csv` and `.json` are written.
        labels: JSON file with value and name of the structures to score, as `finetune` takes it; None for all there
            are.
        tolerance_mm: Tolerance of the surface Dice.
        seed: Seed of the bootstrap.
    """

    predictions: Path
    references: Path
    output: Path
    labels: Path | None = None
    tolerance_mm: float = 1.0
    seed: int = 0


def evaluate(settings: EvaluateSettings, reporter: Reporter) -> tuple[Evaluation, tuple[Path, Path]]:
    """Score all cases and write the report.

    Returns:
        The scores, and the paths of the table (CSV) and of the whole report (JSON).

    Raises:
        UserError: Nothing matches, a file cannot be read, or two files lie on different grids. Of several cases, the
            others are scored and the report is written first.
        Stopped: The user stopped; no report is written.
    """
    if not (math.isfinite(settings.tolerance_mm) and settings.tolerance_mm >= 0):
        raise UserError(f"The tolerance {settings.tolerance_mm} mm is not usable.", "Give millimetres, 0 or more.")
    report_paths(settings.output)
    scheme = read_scheme(settings.labels) if settings.labels else None
    regions = scheme if scheme is not None and scheme.regions else None
    table = _table(settings.labels, scheme) if settings.labels and scheme is not None else None
    reporter.start("evaluate", tolerance_mm=settings.tolerance_mm)
    pairs = pair_files(settings.predictions, settings.references, reporter)
    cases: list[CaseScores] = []
    left_out: list[str] = []
    spelling: dict[str, str] = {}
    once = _Once(reporter)
    for number, (name, predicted, reference) in enumerate(pairs):
        reporter.progress("evaluate", number, len(pairs))
        check()
        try:
            if regions is not None:
                scores = score_regions(name, predicted, reference, regions, settings.tolerance_mm, once)
            else:
                scores = score_case(name, predicted, reference, table, settings.tolerance_mm, once)
        except Exception as fault:
            if len(pairs) == 1:
                raise
            told = of_case(fault)
            reporter.warning(told.code, f"{name}: {told} This case is left out.")
            left_out.append(name)
            continue
        same = {spelling.setdefault(text.casefold(), text): score for text, score in scores.classes.items()}
        cases.append(replace(scores, classes=same))
    reporter.progress("evaluate", len(pairs), len(pairs))
    if not cases:
        raise UserError("None of the cases could be scored.", "The warnings above say why.", "cases-failed")
    names = [label.name for label in scheme.labels] if scheme is not None else None
    evaluation = summarise(cases, names, settings.tolerance_mm, settings.seed)
    evaluation = replace(evaluation, left_out=tuple(left_out))
    if not any(case.classes for case in cases):
        reporter.warning("no-labels", "None of the structures to score is in any file.")
    paths = write_report(settings.output, evaluation)
    if left_out:
        raise UserError(
            f"{len(left_out)} of {len(pairs)} cases could not be scored: {', '.join(left_out[:5])}.",
            f"The warnings above say why; the scores of the others are in {paths[0]}.",
            "cases-failed",
        )
    return evaluation, paths


def pair_files(predictions: Path, references: Path, reporter: Reporter) -> list[tuple[str, Path, Path]]:
    """Name, prediction and reference of each case; files without a partner are told to the reporter.

    Raises:
        UserError: A path does not exist, a folder is given for one side only, or nothing matches.
    """
    for path in (predictions, references):
        if not path.exists():
            raise UserError(f"{path} does not exist.", "Check the path.", "file-missing")
    if predictions.is_file() and references.is_file():
        return [(stem(references), predictions, references)]
    if predictions.is_file() or references.is_file():
        raise UserError(
            f"One of {predictions} and {references} is a file, the other a folder.", "Give two files or two folders."
        )
    predicted, expected = _label_files(predictions), _label_files(references)
    common = sorted(predicted.keys() & expected.keys())
    if not common:
        raise UserError(
            f"No file in {predictions} (such as {_example(predicted)}) is named like one in {references} "
            f"(such as {_example(expected)}).",
            "Name predictions like their references; the extension may differ.",
            "no-cases",
        )
    for files, others, side, partner in (
        (expected, predicted, "reference", "prediction"),
        (predicted, expected, "prediction", "reference"),
    ):
        alone = sorted(files.keys() - others.keys())
        if alone:
            shown = ", ".join(alone[:5]) + (", ..." if len(alone) > 5 else "")
            reporter.warning(f"no-{partner}", f"{len(alone)} {side}(s) without a {partner} are left out: {shown}")
    return [(name, predicted[name], expected[name]) for name in common]


def score_case(
    name: str,
    predicted: Path,
    reference: Path,
    table: dict[int, str] | None,
    tolerance_mm: float,
    reporter: Reporter | None = None,
) -> CaseScores:
    """Scores of one case.

    Args:
        name: Name of the case.
        predicted: Label map or segmentation.
        reference: Label map or segmentation on the same grid, or with voxels of it; see `read_pair`.
        table: Names of the values to score; None for all values and the files' own names.
        tolerance_mm: Tolerance of the surface Dice.
        reporter: Is told of labels that are not scored, of overlapping segments, and of values that take their meaning
            from the other file.

    Raises:
        UserError: A file cannot be read, or they lie on different grids.
    """
    reporter = reporter or Reporter()
    volumes = read_pair(predicted, reference, reporter)
    values = [np.flatnonzero(np.bincount(volume.array.reshape(-1, order="A"))) for volume in volumes]
    names = _names(predicted, reference, table, [[int(v) for v in found if v] for found in values], reporter)
    ignored = [value for value, text in names[1].items() if text.casefold() == IGNORE]
    if ignored:
        unknown = np.isin(volumes[1].array, ignored)
        predicted_labels, expected_labels = (
            replace(volume, array=np.where(unknown, 0, volume.array)) for volume in volumes
        )
        volumes = predicted_labels, expected_labels
        names = _without_ignored(names[0]), _without_ignored(names[1])
        table = None if table is None else _without_ignored(table)
    # The spelling of the label file goes before the reference's, and that before the prediction's.
    spelling = {text.casefold(): text for own in (*names, table or {}) for text in own.values()}
    classes = list(dict.fromkeys(spelling[text.casefold()] for own in names[::-1] for text in own.values()))
    if table is not None:
        left_out = [text for text in classes if text not in table.values()]
        classes = [text for text in classes if text in table.values()]
        if left_out:
            reporter.warning("not-scored", f"{name}: not in the label file, not scored: {', '.join(left_out)}")
    numbers = {text.casefold(): number for number, text in enumerate(classes, start=1)}
    maps = [_renumber(volume.array, own, numbers) for volume, own in zip(volumes, names, strict=True)]
    spacing = volumes[1].grid.spacing
    scores = score_classes(maps[0], maps[1], spacing, list(numbers.values()), tolerance_mm)
    background = overlaps(maps[0], maps[1], [0])[0].dice
    return CaseScores(name, {classes[number - 1]: score for number, score in scores.items()}, background)


def _table(labels: Path, scheme: LabelScheme) -> dict[int, str]:
    """Names by value, `ignore` and further values of a structure among them."""
    names = {label.value: label.name for label in read_labels(labels)}
    return names | {value: names[owner] for value, owner in scheme.merged}


def _label_files(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not ending_of(path) or not path.is_file():
            continue
        name = stem(path).removesuffix("_segmentation")  # as `mimseg segment` names files in a folder
        if name in files:
            raise UserError(
                f"{folder} holds two files of the case {name}: {files[name].name} and {path.name}.",
                "Keep one of them in this folder.",
                "ambiguous-case",
            )
        files[name] = path
    return files


def _example(files: dict[str, Path]) -> str:
    return next((path.name for path in files.values()), "nothing: it holds no label map")


def _names(
    predicted: Path, reference: Path, table: dict[int, str] | None, values: list[list[int]], reporter: Reporter
) -> tuple[dict[int, str], dict[int, str]]:
    """Name of each value in the prediction and in the reference; equal names are one class."""
    own = [read_segment_names(predicted), read_segment_names(reference)]
    if not all(own) and table is not None:
        # The label file says what the nameless one holds, and the other one as well if it knows none of its names.
        known = {text.casefold() for text in table.values()} | {IGNORE}
        own = [names if any(text.casefold() in known for text in names.values()) else {} for names in own]
    if all(own) and not {text.casefold() for text in own[0].values()} & {text.casefold() for text in own[1].values()}:
        theirs = [", ".join(dict.fromkeys(names.values())) for names in own]
        reporter.warning(
            "no-common-names",
            f"The segmentation to judge ({theirs[0]}) and the reference ({theirs[1]}) have no structure of one name, "
            "so Dice is 0. Rename the segments of one of them.",
        )
    shared = table or own[1] or own[0]
    if table is None and any(own) and not all(own):
        meaning = ", ".join(f"{value} = {text}" for value, text in sorted(shared.items()))
        reporter.warning(
            "matched-by-value",
            f"One of two files does not name its structures: its values were taken for those of the other ({meaning}). "
            "If they mean something else, say what with --labels.",
        )
    named = [
        names or {value: shared.get(value, f"label {value}") for value in found}
        for names, found in zip(own, values, strict=True)
    ]
    return named[0], named[1]


class _Once(Reporter):
    """Passes warnings on, each text once."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._told: set[str] = set()

    def warning(self, code: str, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self._reporter.warning(code, message)


def _without_ignored(names: dict[int, str]) -> dict[int, str]:
    return {value: text for value, text in names.items() if text.casefold() != IGNORE}


def _renumber(array: NDArray, names: dict[int, str], numbers: dict[str, int]) -> NDArray[np.uint16]:
    lookup = np.zeros(int(array.max(initial=0)) + 1, np.uint16)
    for value, name in names.items():
        if value < len(lookup):
            lookup[value] = numbers.get(name.casefold(), 0)
    return lookup[array]
