"""Reading labels that are learned from: values as the data set means them, whatever a file calls or numbers them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.data.cases.description import IGNORE
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.labels.meetings import Sets, number_sets
from mimseg.data.labels.scheme import LabelScheme
from mimseg.data.labels.seg_nrrd import Segment
from mimseg.data.labels.segment_names import is_named, match_segments, segments_of
from mimseg.data.opening import open_image
from mimseg.data.volume import Grid, Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.stopping import check

# In a set of structures, stands for voxels of which nobody says what they are.
UNJUDGED = -1


def read_truth(
    path: Path,
    scheme: LabelScheme,
    like: Grid | None = None,
    reporter: Reporter | None = None,
    orientation: str = "",
) -> Volume:
    """Read a labelmap, or the segments of a Slicer segmentation as the values of the structures that they are.

    Args:
        path: As for `read_labelmap`.
        scheme: What values mean; made by `with_overlaps` where segments may overlap.
        like: The grid it has to lie on; None accepts any.
        reporter: As for `read_labelmap`.
        orientation: As for `read_labelmap`.

    Returns:
        Label values `(i, j, k)`; those of a plain labelmap are as in the file.

    Raises:
        UserError: The file cannot be read, a segment is none of the structures, or segments overlap that must not.
    """

    def by_name(layers: NDArray, segments: Sequence[Segment]) -> NDArray:
        numbers, sets = sets_of_structures(layers, segments, scheme, path)
        values = _values_of_sets(scheme)
        unknown = [one for one in sets if one not in values and UNJUDGED not in one]
        if unknown:
            raise UserError(
                f"In {path} {_and(scheme, unknown[0])} overlap, which they do nowhere else.",
                "Give each voxel to one structure.",
                "overlap",
            )
        table = [scheme.ignored or 0 if UNJUDGED in one else values[one] for one in sets]
        return np.array(table, np.uint16)[numbers]

    return read_labelmap(path, like, reporter, orientation, by_name)


def with_overlaps(scheme: LabelScheme, files: Iterable[Path], reporter: Reporter | None = None) -> LabelScheme:
    """The scheme that these files need: with further values where segments overlap, and one for ignored voxels.

    Structures whose segments overlap are trained so that they may: each meeting of structures is a class of its own.

    Args:
        scheme: As chosen by `choose_scheme`.
        files: All labels; only Slicer segmentations of several layers are read.
        reporter: Is told which structures overlap.

    Raises:
        UserError: A file cannot be read.
    """
    reporter = reporter or Reporter()
    met: dict[frozenset[int], str] = {}
    unjudged = False
    for path in files:
        check()
        segments = segments_of(path)
        unjudged |= any(is_named(segment, IGNORE) for segment in segments)
        if len(segments) > 1 and open_image(path).header.components > 1:
            for one in _overlaps(path, scheme):
                met.setdefault(one, path.name)
    known = _values_of_sets(scheme)
    new = [one for one in met if one not in known]
    next_value = max([*scheme.values, scheme.ignored or 0]) + 1
    if unjudged and scheme.ignored is None:
        scheme = replace(scheme, ignored=next_value)
        next_value += 1
    if not new:
        return scheme
    value_of = {one: next_value + number for number, one in enumerate(new)}
    base = scheme.regions or tuple((label.value,) for label in scheme.labels)
    regions = tuple(
        (*values, *(value for one, value in value_of.items() if index in one)) for index, values in enumerate(base)
    )
    first = new[0]
    reporter.warning(
        "overlap-trained",
        f"Segments overlap ({_and(scheme, first)} in {met[first]}): the structures are trained so that they may. "
        "If they exclude each other, give each voxel to one of them.",
    )
    return replace(scheme, regions=regions)


def _overlaps(path: Path, scheme: LabelScheme) -> Sets:
    found: Sets = []

    def collect(layers: NDArray, segments: Sequence[Segment]) -> NDArray:
        numbers, sets = sets_of_structures(layers, segments, scheme, path)
        found.extend(sets[number] for number in np.unique(numbers))
        return np.zeros(numbers.shape, np.uint8)

    read_labelmap(path, merge=collect)
    return [one for one in found if len(one) > 1 and UNJUDGED not in one]


def sets_of_structures(
    layers: NDArray, segments: Sequence[Segment], scheme: LabelScheme, path: Path
) -> tuple[NDArray[np.intp], Sets]:
    """For each voxel the number of its set of structures, and the sets; number 0 is the empty one.

    Args:
        layers: `(L, i, j, k)`.
        segments: Of the file.
        scheme: What the structures are.
        path: For messages.

    Raises:
        UserError: A segment that was drawn is none of the structures.
    """
    masks = [
        layers[segment.layer] == segment.label_value if 0 <= segment.layer < len(layers) else None
        for segment in segments
    ]
    drawn = [index for index, mask in enumerate(masks) if mask is not None and mask.any()]
    matched: list[int | None] = [
        UNJUDGED if is_named(segment, IGNORE) else index
        for segment, index in zip(segments, match_segments(segments, scheme.labels), strict=True)
    ]
    strangers = [index for index in drawn if matched[index] is None]
    if strangers and scheme.regions and len(strangers) == len(drawn):
        return _by_value(layers, [segments[index] for index in drawn], scheme, path)
    if strangers:
        raise _strangers([segments[index].name for index in strangers], scheme, path)
    pairs = ((matched[index], masks[index]) for index in drawn)
    known = ((structure, mask) for structure, mask in pairs if structure is not None and mask is not None)
    return number_sets(known, layers.shape[1:])


def _by_value(
    layers: NDArray, segments: Sequence[Segment], scheme: LabelScheme, path: Path
) -> tuple[NDArray[np.intp], Sets]:
    """Segments that are parts of structures (necrosis, edema): only their values say of which."""
    values = [segment.label_value for segment in segments]
    if len(set(values)) < len(values) or not set(values) <= set(scheme.values):
        raise _strangers([segment.name for segment in segments], scheme, path)
    by_value = {value: one for one, value in _values_of_sets(scheme).items()}
    numbers, sets = np.zeros(layers.shape[1:], np.intp), [frozenset[int](), *(by_value[value] for value in values)]
    for number, segment in enumerate(segments, start=1):
        numbers[layers[segment.layer] == segment.label_value] = number
    return numbers, sets


def _values_of_sets(scheme: LabelScheme) -> dict[frozenset[int], int]:
    """The label value of each set of structures; of values that mean the same set the first."""
    values = {frozenset[int](): 0}
    for value, members in zip(scheme.values, scheme.membership.T[1:], strict=True):
        values.setdefault(frozenset(np.flatnonzero(members).tolist()), value)
    return values


def _and(scheme: LabelScheme, structures: frozenset[int]) -> str:
    return " and ".join(scheme.labels[index].name for index in sorted(structures))


def _strangers(names: Sequence[str], scheme: LabelScheme, path: Path) -> UserError:
    quoted = ", ".join(f"“{name}”" for name in names)
    what = f"the segments {quoted}, which are" if len(names) > 1 else f"the segment {quoted}, which is"
    return UserError(
        f"{path} has {what} none of the structures {', '.join(label.name for label in scheme.labels)}.",
        "Give segments the names of the structures (or their codes), or name them in the label file.",
        "unknown-segment",
    )
