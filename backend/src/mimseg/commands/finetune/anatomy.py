"""What the labels of a training tell of anatomy, by which a scan of another part of the body is recognised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels.scheme import IGNORED, LabelScheme
from mimseg.data.orientation import vectors_of
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volume import Grid
from mimseg.inference import known_places, known_volumes
from mimseg.inference.known_places import extents_of, places_record
from mimseg.inference.known_volumes import volumes_record
from mimseg.training.crops.cache import TrainingCase


def anatomy_record(cases: Sequence[TrainingCase], scheme: LabelScheme, preprocessing: Preprocessing) -> dict[str, Any]:
    """For a description's `training`: volumes of the structures and, where these exclude each other, their places."""
    spacing, labelled = preprocessing.spacing, [case.label for case in cases if case.label is not None]
    if spacing is None or not labelled:
        return {}
    voxel_ml, volumes, middles = float(np.prod(spacing)) / 1000, [], []
    for label in labelled:
        classes = _without_ignored(label.numpy())
        grid = Grid(classes.shape, spacing, direction=vectors_of(preprocessing.orientation))
        extents = extents_of(classes, scheme.membership.shape[1], grid)
        volumes.append([float(extents.voxels[own].sum()) * voxel_ml for own in scheme.membership])
        middles.append(extents.middles[1:])
    names = [label.name for label in scheme.labels]
    places = {} if scheme.regions else places_record(names, middles)
    record = {known_volumes.ENTRY: volumes_record(names, volumes), known_places.ENTRY: places}
    return {entry: content for entry, content in record.items() if content}


def _without_ignored(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.where(classes == IGNORED, 0, classes).astype(np.uint8)
