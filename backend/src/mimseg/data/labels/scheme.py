"""What the labelmaps of a data set mean: which values make up which structure, and which voxels nobody judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.data.cases import Dataset
from mimseg.data.cases.description import IGNORE
from mimseg.data.labels.regions import Regions, all_values, membership, read_further_values, read_regions
from mimseg.data.labels.segment_names import structures_of_segments
from mimseg.data.labels.structures import Label, distinct_color, read_labels
from mimseg.errors import UserError

# Class index of voxels of which nobody says what they are: they count neither in the loss nor in scores.
IGNORED = 255
_MOST_CLASSES = IGNORED - 1


@dataclass(frozen=True)
class LabelScheme:
    """Structures, and the label values that they are made of.

    Attributes:
        labels: The structures, by value.
        regions: Label values of each structure where structures may overlap; None if each is its own value.
        ignored: Label value of voxels of which nobody says what they are (nnU-Net's `ignore`); None without any.
        merged: Further label values, each with the value of the structure that it means too.
    """

    labels: tuple[Label, ...]
    regions: Regions | None = None
    ignored: int | None = None
    merged: tuple[tuple[int, int], ...] = ()

    @property
    def values(self) -> list[int]:
        """Label values of class 1, 2, ..."""
        return all_values(self.regions) if self.regions else [label.value for label in self.labels]

    @property
    def membership(self) -> NDArray[np.bool_]:
        """`(structures, classes)`: which classes (0 is background) each structure is made of."""
        return membership(self.values, self.regions)

    @property
    def structures(self) -> dict[str, tuple[int, ...]]:
        """Label values of each structure, by its name."""
        regions = self.regions or [(label.value,) for label in self.labels]
        return {
            label.name: (*values, *(value for value, owner in self.merged if owner in values))
            for label, values in zip(self.labels, regions, strict=True)
        }

    def other_side(self, partners: Mapping[int, int]) -> list[int]:
        """Class of each class (0 is background) in a mirrored image; `partners` are right values by left ones."""
        swap = {**partners, **{right: left for left, right in partners.items()}}
        row = {label.value: index for index, label in enumerate(self.labels)}
        turned = [row.get(swap.get(label.value, label.value), index) for index, label in enumerate(self.labels)]
        members = self.membership
        numbers = {column.tobytes(): number for number, column in reversed(list(enumerate(members.T)))}
        return [0, *(numbers.get(members.T[number][turned].tobytes(), number) for number in range(1, members.shape[1]))]

    @property
    def names(self) -> dict[int, str]:
        """By label value, the structure's name; that of a value of several overlapping ones is all their names."""
        names: dict[int, list[str]] = {}
        for name, values in self.structures.items():
            for value in values:
                names.setdefault(value, []).append(name)
        return {value: " and ".join(parts) for value, parts in sorted(names.items())}

    def classes_of(self, labels: NDArray[np.integer], path: Path) -> NDArray[np.uint8]:
        """Class index of each voxel of a labelmap; `IGNORED` where its value is the ignored one.

        Args:
            labels: Label values `(i, j, k)`.
            path: Where they are from, for messages.

        Raises:
            UserError: A value is not among those of the structures.
        """
        values = self.values
        if len(values) > _MOST_CLASSES:
            raise UserError(
                f"There are {len(values)} structures and overlaps of structures; {_MOST_CLASSES} are possible.",
                "Train several models, each for some of them.",
                "bad-labels",
            )
        known = {0, *values, *(value for value, _ in self.merged), *([] if self.ignored is None else [self.ignored])}
        unknown = sorted(set(np.unique(labels).tolist()) - known)
        if unknown:
            raise UserError(
                f"{path} has the label values {unknown[:8]}, which are not among the structures {values}.",
                "Name every value in the label file, or remove it from the labelmap.",
                code="unknown-label-value",
            )
        table = np.zeros(max(known) + 1, np.uint8)
        if self.ignored is not None:
            table[self.ignored] = IGNORED
        table[values] = np.arange(1, len(values) + 1)
        for value, owner in self.merged:
            table[value] = table[owner]
        return table[labels]


def choose_scheme(dataset: Dataset, labels: Path | None, source: Path) -> LabelScheme:
    """What the values of a data set mean: by the label file, or else as the data set, or its segmentations, say.

    A structure called `ignore` is none: its voxels are ignored.

    Args:
        dataset: The data set.
        labels: Label file, or None.
        source: The data set's path, for messages.

    Raises:
        UserError: The label file is not usable, or nothing says what the values mean.
    """
    if labels is not None:
        return read_scheme(labels, dataset.ignored)
    if dataset.label_names:
        named = sorted(dataset.label_names.items())
        structures = tuple(Label(value, name, distinct_color(index)) for index, (value, name) in enumerate(named))
        regions = tuple(dataset.regions[value] for value, _ in named) if dataset.regions else None
    else:
        structures, regions = structures_of_segments([case.label for case in dataset.cases if case.label]), None
    if not structures:
        raise UserError(
            f"{source} does not say what its label values mean.",
            'Give a file with --labels: [{"value": 1, "name": "liver"}, ...].',
            code="bad-labels",
        )
    return _without_ignored(structures, regions, dataset.ignored)


def read_scheme(labels: Path, ignored: int | None = None) -> LabelScheme:
    """What values mean by a label file.

    Args:
        labels: The file.
        ignored: Value of voxels of which nobody says what they are, unless the file gives it another meaning.

    Raises:
        UserError: It is not usable.
    """
    scheme = _without_ignored(read_labels(labels), read_regions(labels), ignored)
    also = read_further_values(labels)
    return replace(scheme, merged=tuple((value, owner) for owner, values in also.items() for value in values))


def _without_ignored(structures: Sequence[Label], regions: Regions | None, ignored: int | None) -> LabelScheme:
    kept = [index for index, label in enumerate(structures) if label.name.casefold() != IGNORE]
    for index, label in enumerate(structures):
        if index not in kept:
            ignored = regions[index][0] if regions else label.value
    scheme = LabelScheme(
        tuple(structures[index] for index in kept), tuple(regions[index] for index in kept) if regions else None
    )
    # A label file may give the value another meaning than the data set's description does.
    return LabelScheme(scheme.labels, scheme.regions, None if ignored in scheme.values else ignored)
