"""Cases prepared once and kept in memory: what crops are drawn from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimseg.data.cases import Case
from mimseg.data.cases.images import read_images
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.labels.regions import Regions, membership
from mimseg.data.preprocessing import Prepared, Preprocessing, prepare
from mimseg.data.volume import Grid, Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.stopping import check

FOREGROUND_POINTS = 2000


@dataclass
class TrainingCase:
    """One case on the grid that the network is trained on.

    Attributes:
        identifier: Name, for messages only.
        image: `(C, I, J, K)` float32.
        label: `(I, J, K)` uint8 class indices, or None.
        points: For each class but background up to 2000 voxel indices `(n, 3)` of it.
        prepared: What brings predictions back to the case's own grid; None unless kept for validation.
        truth: Class indices on the case's own grid; None unless kept for validation.
        membership: `(structures, classes)`: which classes (0 is background) each structure is made of; None without
            labels.
        sha256: Of the first image file.
    """

    identifier: str
    image: Tensor
    label: Tensor | None
    points: tuple[Tensor, ...]
    prepared: Prepared | None
    truth: NDArray | None
    sha256: str
    membership: NDArray[np.bool_] | None = None


def label_on_grid(label: Volume, grid: Grid) -> NDArray:
    """Labels at the voxel centres of `grid`, nearest neighbour.

    Args:
        label: Labelmap `(i, j, k)`.
        grid: A grid whose axes are those of the labelmap, permuted, flipped, scaled or shifted.
    """
    relation = np.linalg.inv(label.grid.affine) @ grid.affine
    result = label.array
    partner = np.abs(relation[:3, :3]).argmax(axis=0)  # source axis of each new axis
    indices: list[NDArray] = [np.empty(0)] * 3
    for axis in range(3):
        source = int(partner[axis])
        position = relation[source, axis] * np.arange(grid.size[axis]) + relation[source, 3]
        indices[source] = np.clip(np.floor(position + 0.5 - 1e-6), 0, label.array.shape[source] - 1).astype(np.intp)
    return np.ascontiguousarray(result[np.ix_(*indices)].transpose(partner))


def load_case(
    case: Case,
    preprocessing: Preprocessing,
    values: Sequence[int],
    keep: bool,
    reporter: Reporter,
    regions: Regions | None = None,
) -> TrainingCase:
    """Read and prepare one case.

    Args:
        case: Files of the case.
        preprocessing: As stored in the model.
        values: Label value of class 1, 2, ...; empty for unlabelled cases.
        keep: Keep what validation on the case's own grid needs.
        reporter: For warnings.
        regions: Values that make up each structure where structures may overlap; None if each is its own value.

    Raises:
        UserError: A file is not usable, or the labelmap has values that are not among `values`.
    """
    volume = read_images(case, reporter=reporter)
    prepared = prepare(volume, preprocessing)
    digest = hashlib.sha256(Path(case.images[0]).read_bytes()).hexdigest() if case.images[0].is_file() else ""
    image = torch.from_numpy(np.ascontiguousarray(prepared.array, dtype=np.float32))
    if case.label is None or not values:
        return TrainingCase(case.identifier, image, None, (), prepared if keep else None, None, digest)
    labelmap = read_labelmap(case.label, like=volume.grid)
    unknown = sorted(set(np.unique(labelmap.array).tolist()) - {0, *values})
    if unknown:
        raise UserError(
            f"{case.label} has the label values {unknown[:8]}, which are not among the structures {list(values)}.",
            "Name every value in the label file, or remove it from the labelmap.",
            code="unknown-label-value",
        )
    classes = np.zeros(labelmap.array.shape, np.uint8)
    for index, value in enumerate(values, start=1):
        classes[labelmap.array == value] = index
    on_grid = label_on_grid(Volume(classes, labelmap.grid), prepared.grid)
    generator = np.random.default_rng(0)
    points = []
    for index in range(1, len(values) + 1):
        found = np.argwhere(on_grid == index)
        if len(found) > FOREGROUND_POINTS:
            found = found[generator.choice(len(found), FOREGROUND_POINTS, replace=False)]
        points.append(torch.from_numpy(found))
    return TrainingCase(
        case.identifier,
        image,
        torch.from_numpy(on_grid),
        tuple(points),
        prepared if keep else None,
        classes if keep else None,
        digest,
        membership(values, regions),
    )


def load_cases(
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    values: Sequence[int],
    reporter: Reporter,
    keep: bool = False,
    phase: str = "read",
    skip_unreadable: bool = False,
    regions: Regions | None = None,
) -> list[TrainingCase]:
    """Read and prepare cases one after the other, with progress.

    Args:
        skip_unreadable: Warn about an unusable case and go on (pre-training on a folder of anything).
        regions: As for `load_case`.
    """
    loaded = []
    for number, case in enumerate(cases):
        check()
        reporter.progress(phase, number, len(cases))
        try:
            loaded.append(load_case(case, preprocessing, values, keep, reporter, regions))
        except UserError as fault:
            if not skip_unreadable:
                raise
            reporter.warning("case-skipped", f"Skipped: {fault.message}")
    reporter.progress(phase, len(cases), len(cases))
    if not loaded:
        raise UserError("None of the volumes could be read.", "See the warnings above.", code="no-dataset")
    return loaded
