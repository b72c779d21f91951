"""Cases prepared once and kept in memory: what crops are drawn from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimseg.data.cases import Case
from mimseg.data.cases.images import read_images
from mimseg.data.labels.grid import label_on_grid
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.labels.scheme import LabelScheme
from mimseg.data.labels.truth import read_truth
from mimseg.data.orientation import turn_to
from mimseg.data.preprocessing import Prepared, Preprocessing, prepare, working_grid
from mimseg.data.volume import Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.inference.locating import Located, cut
from mimseg.stopping import check
from mimseg.training.synthesis.drawing import LabelSource, draw_volume
from mimseg.training.synthesis.label_extras import LabelExtras
from mimseg.training.synthesis.source import label_source

FOREGROUND_POINTS = 2000


@dataclass
class TrainingCase:
    """One case on the grid that the network is trained on.

    Attributes:
        identifier: Name of the case; the boxes that a large one is cut to share it.
        image: `(C, I, J, K)` float32; zeros that take no memory where images are drawn.
        label: `(I, J, K)` uint8 class indices, `IGNORED` where nobody says what is there; or None.
        points: For each class but background up to 2000 voxel indices `(n, 3)` of it.
        prepared: What brings predictions back to the case's own grid; None unless kept for validation.
        truth: The same on the case's own grid; None unless kept for validation.
        membership: `(structures, classes)`: which classes (0 is background) each structure is made of; None without
            labels.
        sha256: Of the first image file, or of the labelmap where there is none.
        other_side: `(classes,)`: class of each class in a mirrored image; None without labels.
        source: What images are drawn from; None for a case with images.
        subject: Whose case it is; empty if unknown. It is never written into a model.
    """

    identifier: str
    image: Tensor
    label: Tensor | None
    points: tuple[Tensor, ...]
    prepared: Prepared | None
    truth: NDArray | None
    sha256: str
    membership: NDArray[np.bool_] | None = None
    other_side: Tensor | None = None
    source: LabelSource | None = None
    subject: str = ""

    @property
    def shows_something(self) -> bool:
        """Whether any structure is labelled."""
        return any(len(points) for points in self.points)


def count_cases(cases: Sequence[TrainingCase]) -> int:
    """How many cases there are; the boxes that one was cut to are one."""
    return len({case.identifier for case in cases})


def usual_sizes(cases: Sequence[TrainingCase]) -> list[tuple[int, ...]]:
    """Voxels along x, y, z of the cases that show something; of all where none does."""
    showing = [case for case in cases if case.shows_something] or cases
    return [tuple(case.image.shape[1:]) for case in showing]


def load_training_case(
    case: Case,
    preprocessing: Preprocessing,
    scheme: LabelScheme | None,
    keep: bool,
    reporter: Reporter,
    extras: LabelExtras | None = None,
    located: Located | None = None,
) -> TrainingCase:
    """Read and prepare one case, or the part of it in a box.

    Args:
        case: Files of the case.
        preprocessing: As stored in the model.
        scheme: What label values mean; None for unlabelled cases.
        keep: Keep what validation on the case's own grid needs.
        reporter: For warnings.
        extras: Sides, and what images of a case without any are drawn like.
        located: The box, for a case with images. In a mirrored one, structures that are named left and right change
            places.

    Raises:
        UserError: A file is not usable, or the labels are not among those of the scheme although there is an image;
            where images are drawn, such values make image only.
    """
    extras = extras or LabelExtras()
    if not case.images and case.label is not None:
        return _drawn_case(case, case.label, preprocessing, scheme, keep, extras)
    volume = read_images(case, reporter=reporter)
    grid = volume.grid
    if located is not None:
        volume = cut(volume, located)
    prepared = prepare(volume, preprocessing)
    digest = hashlib.sha256(Path(case.images[0]).read_bytes()).hexdigest() if case.images[0].is_file() else ""
    image = torch.from_numpy(np.ascontiguousarray(prepared.array, dtype=np.float32))
    if case.label is None or scheme is None:
        return TrainingCase(case.identifier, image, None, (), prepared if keep else None, None, digest)
    labelmap = read_truth(case.label, scheme, grid, reporter, case.orientation)
    labels = Volume(scheme.classes_of(labelmap.array, case.label), labelmap.grid)
    other_side = scheme.other_side(extras.partners)
    if located is not None:
        labels = cut(labels, located)
        if located.place.mirrored:
            labels = Volume(_swapped(labels.array, other_side), labels.grid)
    on_grid = label_on_grid(labels, prepared.grid)
    return TrainingCase(
        case.identifier,
        image,
        torch.from_numpy(on_grid),
        _points(on_grid, len(scheme.values)),
        prepared if keep else None,
        labels.array if keep else None,
        digest,
        scheme.membership,
        torch.tensor(other_side, dtype=torch.uint8),
        subject=case.subject,
    )


def _drawn_case(
    case: Case,
    path: Path,
    preprocessing: Preprocessing,
    scheme: LabelScheme | None,
    keep: bool,
    extras: LabelExtras,
) -> TrainingCase:
    """A case without images: crops are drawn from its labels; for validation one image that is always the same."""
    values = scheme.values if scheme is not None else []
    labelmap = read_truth(path, scheme) if scheme is not None else read_labelmap(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    turned = turn_to(preprocessing.orientation, labelmap.grid).apply_to_grid(labelmap.grid)
    grid = working_grid(turned, preprocessing.spacing)
    source, indices = label_source(
        labelmap, grid, values, extras.merged, preprocessing.intensity, extras.partners, extras.contrasts,
        extras.stripped, path,
    )  # fmt: skip
    on_grid = source.fine_classes[:: source.factor, :: source.factor, :: source.factor].contiguous()
    prepared, truth = None, None
    image = torch.zeros(1).expand(1, *grid.size)
    if keep:
        drawn = draw_volume(source, indices, labelmap.grid.spacing, int(digest[:8], 16))
        prepared = prepare(Volume(drawn, labelmap.grid), preprocessing)
        truth = np.asarray(source.classes, np.uint8)[indices]
    return TrainingCase(
        case.identifier,
        image,
        on_grid,
        _points(on_grid.numpy(), len(values)),
        prepared,
        truth,
        digest,
        scheme.membership if scheme is not None else None,
        torch.tensor([0] if scheme is None else scheme.other_side(extras.partners), dtype=torch.uint8),
        source,
        case.subject,
    )


def _swapped(classes: NDArray[np.uint8], other_side: Sequence[int]) -> NDArray[np.uint8]:
    """Class indices of a mirrored image; what is ignored stays ignored."""
    table = np.arange(256, dtype=np.uint8)
    table[: len(other_side)] = other_side
    return table[classes]


def _points(classes: NDArray, count: int) -> tuple[Tensor, ...]:
    """Up to 2000 voxel indices of each class 1 .. `count`."""
    generator = np.random.default_rng(0)
    points = []
    for index in range(1, count + 1):
        found = np.argwhere(classes == index)
        if len(found) > FOREGROUND_POINTS:
            found = found[generator.choice(len(found), FOREGROUND_POINTS, replace=False)]
        points.append(torch.from_numpy(found))
    return tuple(points)


def load_cases(
    cases: Sequence[Case],
    preprocessing: Preprocessing,
    scheme: LabelScheme | None,
    reporter: Reporter,
    keep: bool = False,
    phase: str = "read",
    skip_unreadable: bool = False,
    extras: LabelExtras | None = None,
    boxes: Mapping[str, Sequence[Located]] = MappingProxyType({}),
) -> list[TrainingCase]:
    """Read and prepare cases one after the other, with progress.

    Args:
        skip_unreadable: Warn about an unusable case and go on (pre-training on a folder of anything).
        extras: As for `load_training_case`.
        boxes: By identifier, the boxes that a case is cut to; each gives an entry of the result.
    """
    loaded = []
    for number, case in enumerate(cases):
        check()
        reporter.progress(phase, number, len(cases))
        try:
            for located in boxes.get(case.identifier, (None,)):
                loaded.append(load_training_case(case, preprocessing, scheme, keep, reporter, extras, located))
        except UserError as fault:
            if not skip_unreadable:
                raise
            reporter.warning("case-skipped", f"Skipped: {fault.message}")
    reporter.progress(phase, len(cases), len(cases))
    if not loaded:
        raise UserError("None of the volumes could be read.", "See the warnings above.", code="no-dataset")
    return loaded
