"""Scores of structures that may overlap, such as whole tumor and tumor core: each is compared as a whole.

By the label file, a reference holds parts (`values`), and a result holds the structures themselves (`value`), of which
a label map shows the smallest one in each voxel. What is part of a smaller structure is part of the larger one as well
if all its parts are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.commands.evaluate.reading import read_pair
from mimseg.data.cases.description import IGNORE
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.labels.meetings import Sets
from mimseg.data.labels.scheme import LabelScheme
from mimseg.data.labels.seg_nrrd import Segment
from mimseg.data.labels.segment_names import is_named, match_segments
from mimseg.data.labels.truth import UNJUDGED, sets_of_structures
from mimseg.data.volume import Grid, Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.metrics.overlap import overlaps
from mimseg.metrics.scores import score_classes
from mimseg.metrics.summary import CaseScores


def score_regions(
    name: str, predicted: Path, reference: Path, scheme: LabelScheme, tolerance_mm: float, reporter: Reporter
) -> CaseScores:
    """Scores of one case.

    Args:
        name: Name of the case.
        predicted: Label map whose values are those of results, or segments that are named like the structures.
        reference: Label map of parts, or segments.
        scheme: With `regions`.
        tolerance_mm: Tolerance of the surface Dice.
        reporter: Is told of what is not scored.

    Raises:
        UserError: A file cannot be read, they lie on different grids, or the prediction has values of no result.
    """
    found, expected = _File(scheme, _results(scheme)), _File(scheme, _parts(scheme))
    volumes = read_pair(predicted, reference, reporter, (found.read, expected.read))
    _refuse_other_values(found.unknown, predicted, scheme)
    if expected.unknown:
        reporter.warning(
            "not-scored", f"{name}: not in the label file, not scored: {', '.join(map(str, expected.unknown))}"
        )
    judged = ~expected.holds(UNJUDGED, volumes[1].array)
    classes = {}
    anything = [np.zeros(judged.shape, np.uint8) for _ in volumes]
    for number, label in enumerate(scheme.labels):
        masks = [
            (file.holds(number, volume.array) & judged).astype(np.uint8)
            for file, volume in zip((found, expected), volumes, strict=True)
        ]
        for all_of_it, mask in zip(anything, masks, strict=True):
            all_of_it |= mask
        scores = score_classes(masks[0], masks[1], volumes[1].grid.spacing, [1], tolerance_mm)
        if scores:
            classes[label.name] = scores[1]
    return CaseScores(name, classes, overlaps(anything[0], anything[1], [0])[0].dice)


@dataclass
class _File:
    """One file as numbers of sets of structures.

    Attributes:
        scheme: What the structures are.
        by_value: The structures that a value of a plain label map stands for.
        sets: Of each number that was read.
        unknown: Values of a plain label map that stand for nothing.
    """

    scheme: LabelScheme
    by_value: Mapping[int, frozenset[int]]
    sets: Sets = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)

    def read(self, path: Path, like: Grid | None, reporter: Reporter) -> Volume:
        """The file as numbers of `sets`; 0 is the empty one."""
        segmented = False

        def by_sets(layers: NDArray, segments: Sequence[Segment]) -> NDArray:
            nonlocal segmented
            segmented = True
            numbers, self.sets = sets_of_structures(layers, self._known(segments, path, reporter), self.scheme, path)
            return numbers

        volume = read_labelmap(path, like, reporter, merge=by_sets)
        if not segmented:
            values = np.flatnonzero(np.bincount(volume.array.reshape(-1, order="A"))).tolist()
            self.unknown = [value for value in values if value and value not in self.by_value]
            self.sets = [self.by_value.get(value, frozenset()) for value in range(max(values, default=0) + 1)]
        return volume

    def holds(self, structure: int, numbers: NDArray) -> NDArray[np.bool_]:
        """Where a structure is, by what was read."""
        larger = _larger(self.scheme)
        inside = [any(structure in larger.get(one, {one}) for one in each) for each in self.sets]
        return np.array(inside, bool)[numbers]

    def _known(self, segments: Sequence[Segment], path: Path, reporter: Reporter) -> Sequence[Segment]:
        """Segments that are structures; all of them if none is, since their values may say which parts they are."""
        matched = match_segments(segments, self.scheme.labels)
        known = [
            each for each, index in zip(segments, matched, strict=True) if index is not None or is_named(each, IGNORE)
        ]
        if not known or len(known) == len(segments):
            return segments
        others = ", ".join(each.name for each in segments if each not in known)
        reporter.warning("not-scored", f"{path.name}: not in the label file, not scored: {others}")
        return known


def _larger(scheme: LabelScheme) -> dict[int, set[int]]:
    """Of each structure, those that have all its parts; itself is one."""
    parts = [set(values) for values in scheme.regions or ()]
    return {number: {other for other, its in enumerate(parts) if own <= its} for number, own in enumerate(parts)}


def _results(scheme: LabelScheme) -> dict[int, frozenset[int]]:
    return {label.value: frozenset({number}) for number, label in enumerate(scheme.labels)}


def _parts(scheme: LabelScheme) -> dict[int, frozenset[int]]:
    columns = zip(scheme.values, scheme.membership.T[1:], strict=True)
    parts = {value: frozenset(np.flatnonzero(members).tolist()) for value, members in columns}
    parts |= {value: parts[owner] for value, owner in scheme.merged if owner in parts}
    return parts if scheme.ignored is None else {**parts, scheme.ignored: frozenset({UNJUDGED})}


def _refuse_other_values(unknown: Sequence[int], predicted: Path, scheme: LabelScheme) -> None:
    if not unknown:
        return
    known = ", ".join(f"{label.value} = {label.name}" for label in scheme.labels)
    raise UserError(
        f'{predicted} has the value {unknown[0]}, which is no "value" of the label file ({known}).',
        "Give predictions numbered as results are, not as the references, or segments that are named.",
        "unknown-label-value",
    )
