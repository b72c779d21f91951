"""What the labels of a training tell of anatomy: volumes, places, and what hangs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels.connected import pieces_of
from mimseg.data.labels.scheme import IGNORED, LabelScheme
from mimseg.data.orientation import vectors_of
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volume import Grid
from mimseg.inference import known_places, known_volumes
from mimseg.inference.known_places import FEWEST_CASES, extents_of, places_record
from mimseg.inference.known_volumes import FEWEST_STRUCTURES, volumes_record
from mimseg.training.crops.cache import TrainingCase

# Structures are one piece if so much of them hangs together in every case.
ONE_PIECE = 0.99
# A structure of more pieces is a thread or a film, as the fluid around a brain: what it touches does not hang together.
MOST_PIECES = 10
# A structure that one case shows, as a tumour, or none, tells nothing of how many pieces it has.
FEWEST_SHOWN = 2


@dataclass(frozen=True)
class Anatomy:
    """What a description says of it.

    Attributes:
        record: For `training`: volumes and, where structures exclude each other, places of the structures.
        one_piece: Groups of structures that hang together.
    """

    record: dict[str, Any] = field(default_factory=dict)
    one_piece: tuple[tuple[str, ...], ...] = ()


def learn_anatomy(
    cases: Sequence[TrainingCase],
    scheme: LabelScheme,
    preprocessing: Preprocessing,
    scoring: Sequence[TrainingCase] = (),
) -> Anatomy:
    """What the labels of all cases tell that have any: one without shows another part of the body, to learn from.

    Args:
        cases: To train on.
        scheme: What labels mean.
        preprocessing: As the network sees them.
        scoring: Cases that score: they tell sizes and places, too, which no score depends on. What hangs together they
            must not tell, since loose pieces are dropped before they are scored.
    """
    spacing = preprocessing.spacing
    training = _maps(cases)
    maps = training + _maps(scoring)
    if spacing is None or not maps:
        return Anatomy()
    voxel_ml, volumes, middles = float(np.prod(spacing)) / 1000, [], []
    for classes in maps:
        grid = Grid(classes.shape, spacing, direction=vectors_of(preprocessing.orientation))
        extents = extents_of(classes, scheme.membership.shape[1], grid)
        volumes.append([float(extents.voxels[own].sum()) * voxel_ml for own in scheme.membership])
        middles.append(extents.middles[1:])
    names = [label.name for label in scheme.labels]
    record = {known_volumes.ENTRY: volumes_record(names, volumes)}
    if scheme.regions:
        return Anatomy(record)
    places = places_record(names, middles)
    return Anatomy({**record, **({known_places.ENTRY: places} if places else {})}, one_piece_groups(training, names))


def one_piece_groups(maps: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """What is one piece in every label map that shows it.

    Where all structures hang together, as a brain does: what is solid, and then everything. Where they do not: each
    structure that is one piece by itself, as most organs are, if two cases show it. A model of few structures has none,
    for they may be lesions.

    Args:
        maps: Class indices `(x, y, z)`; class k is `names[k - 1]`.
        names: Of the structures.
    """
    everything = list(range(1, len(names) + 1))
    if len(names) < FEWEST_STRUCTURES or len(maps) < FEWEST_CASES:
        return ()
    if not _hang_together(maps, everything):
        shown = np.sum([np.isin(everything, classes) for classes in maps], axis=0)
        return tuple(
            (names[number - 1],)
            for number, count in zip(everything, shown, strict=True)
            if count >= FEWEST_SHOWN and _hang_together(maps, [number])
        )
    solid = [
        number for number in everything if all(pieces_of(classes, [number]).count <= MOST_PIECES for classes in maps)
    ]
    groups = [solid, everything] if 0 < len(solid) < len(everything) else [everything]
    if not _hang_together(maps, groups[0]):
        return ()
    return tuple(tuple(names[number - 1] for number in group) for group in groups)


def _hang_together(maps: Sequence[NDArray[np.uint8]], group: Sequence[int]) -> bool:
    return all(pieces_of(classes, group).main_share >= ONE_PIECE for classes in maps)


def _maps(cases: Sequence[TrainingCase]) -> list[NDArray[np.uint8]]:
    maps = [_without_ignored(case.label.numpy()) for case in cases if case.label is not None]
    return [classes for classes in maps if classes.any()]


def _without_ignored(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(classes == IGNORED, 0, classes).astype(np.uint8)
