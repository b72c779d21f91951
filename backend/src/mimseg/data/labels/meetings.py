"""Structures that meet in a voxel: each set of them gets a number, so that one array tells them all."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Sets = list[frozenset[int]]


def number_sets(masks: Iterable[tuple[int, NDArray[np.bool_]]], size: tuple[int, ...]) -> tuple[NDArray[np.intp], Sets]:
    """For each voxel the number of its set of structures, and the sets; number 0 is the empty one.

    Args:
        masks: A structure, and where it is (`size`); a structure may come more than once.
        size: Of the array.
    """
    numbers, sets = np.zeros(size, np.intp), [frozenset[int]()]
    for structure, mask in masks:
        here = numbers[mask]
        table = np.arange(len(sets))
        for number in np.unique(here):
            joined = sets[number] | {structure}
            if joined not in sets:
                sets.append(joined)
            table[number] = sets.index(joined)
        numbers[mask] = table[here]
    return numbers, sets
