"""Which cases to label next: uncertain ones that are unlike each other and unlike those labelled already.

Of the more uncertain half, greedy farthest-point selection (k-centre; Sener and Savarese, Active learning for
convolutional neural networks: a core-set approach, ICLR 2018) in the space of the encoder's features. Uncertainty alone
would propose the same difficulty several times over, and features alone would propose oddities that are easy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Share of the cases, most uncertain first, among which diversity decides.
UNCERTAIN_SHARE = 0.5


def propose(
    uncertainty: Sequence[float],
    features: NDArray[np.floating],
    labelled: NDArray[np.floating] | None,
    doubtful: Sequence[bool],
    count: int,
) -> list[int]:
    """Numbers of the cases to label next, in this order.

    The first one is the most uncertain case; each further one is, among the more uncertain half, the one whose nearest
    neighbour among the cases chosen and labelled so far is farthest away (Euclidean).

    Args:
        uncertainty: Of each case.
        features: `(cases, D)`.
        labelled: `(L, D)` of the cases labelled already, or None.
        doubtful: Cases that may not belong to the data; they are proposed only where the others do not suffice.
        count: How many to propose.
    """
    order = sorted(range(len(uncertainty)), key=lambda case: -uncertainty[case])
    usual = [case for case in order if not doubtful[case]]
    half = max(min(count, len(usual)), round(UNCERTAIN_SHARE * len(usual)))
    chosen = _farthest_first(usual[:half], features, labelled, count)
    odd = [case for case in order if doubtful[case]]
    return chosen + odd[: max(0, count - len(chosen))]


def nearest_distances(features: NDArray[np.floating], labelled: NDArray[np.floating] | None) -> list[float] | None:
    """Euclidean distance of each case `(cases, D)` to the nearest labelled one `(L, D)`, or without labelled ones to
    the nearest other case; None if there is nothing to compare with."""
    if labelled is None and len(features) < 2:
        return None
    others = np.asarray(features if labelled is None else labelled, np.float64)
    found = []
    for index, vector in enumerate(np.asarray(features, np.float64)):
        distances = np.linalg.norm(others - vector, axis=1)
        if labelled is None:
            distances[index] = np.inf
        found.append(float(distances.min()))
    return found


def _farthest_first(
    candidates: list[int], features: NDArray[np.floating], labelled: NDArray[np.floating] | None, count: int
) -> list[int]:
    """`count` of `candidates`, whose first one is taken first."""
    if not candidates:
        return []
    known = np.full(len(candidates), np.inf)
    points = np.asarray(features, np.float64)[candidates]
    for vector in () if labelled is None else np.asarray(labelled, np.float64):
        known = np.minimum(known, np.linalg.norm(points - vector, axis=1))
    chosen = [0]
    while len(chosen) < min(count, len(candidates)):
        known = np.minimum(known, np.linalg.norm(points - points[chosen[-1]], axis=1))
        remaining = known.copy()
        remaining[chosen] = -np.inf
        chosen.append(int(remaining.argmax()))
    return [candidates[index] for index in chosen]
