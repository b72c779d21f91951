"""How sure a model is of a scan, in numbers that need no reference labels, from one or several members.

`uncertainty` orders the cases: of these numbers it orders them most like their true Dice. Spearman correlation with
1 - mean Dice (95 % bootstrap interval) on hippocampus volumes that the model was not trained on, one view of each scan
and the mean of all views that suit the model (`--augment`); `Testing/benchmarks/rank_scores.py` measures it:

| number             | shipped model, 31 cases, mean Dice 0.88 | model of 5 cases, 45 cases, mean Dice 0.76      |
|                    | one view              | all views       | one view              | all views               |
|--------------------|-----------------------|-----------------|-----------------------|-------------------------|
| uncertainty        | 0.64 (0.36 to 0.79)   | 0.60            | 0.48 (0.20 to 0.70)   | 0.42                    |
| entropy            | 0.41 (0.02 to 0.68)   | 0.44            | 0.48 (0.21 to 0.70)   | 0.47                    |
| soft Dice error    | 0.58 (0.23 to 0.78)   | 0.55            | 0.27 (-0.05 to 0.55)  | 0.24                    |
| disagreement       |                       | 0.47            |                       | 0.29                    |
| mutual information |                       | 0.47            |                       | 0.01                    |

So showing a scan in several ways does not order cases better than the plain answer, and costs six times as much: it is
off unless asked for. Ensembles of several models were not measured. What orders worse and is shown nowhere (soft Dice
error, Borges et al., arXiv 2402.10665; mutual information, Houlsby et al., arXiv 1112.5745) is not computed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Voxels around the predicted structures that count as their neighbourhood.
NEIGHBOURHOOD = 3


@dataclass(frozen=True)
class Doubt:
    """How doubtful the segmentation of one case is; every number is 0 where nothing is doubtful.

    Attributes:
        uncertainty: 1 - probability of the most probable class (least confidence) of the members' mean probabilities,
            mean over the voxels of the structures found. 1 if no structure was found.
        disagreement: 1 - mean Dice between the labels of two members, over all pairs and the structures that one of
            the two found; None of a single member.
        entropy: Predictive entropy: that of the mean probabilities, mean over the structures and their neighbourhood,
            as a share of the largest entropy possible.
        voxels: Voxels of any structure in the labels.
    """

    uncertainty: float
    disagreement: float | None
    entropy: float
    voxels: int


class Members:
    """Collects the members' probabilities of one case, one after the other.

    Args:
        multilabel: Channels are independent and none of them is background.
    """

    def __init__(self, multilabel: bool = False) -> None:
        self._multilabel = multilabel
        self._sum: NDArray[np.float32] | None = None
        self._labels: list[NDArray] = []

    def add(self, probabilities: NDArray[np.float32]) -> None:
        """Take in one member's `(K, x, y, z)`, which may be overwritten."""
        self._labels.append(_decided(probabilities, self._multilabel))
        if self._sum is None:
            self._sum = probabilities
        else:
            self._sum += probabilities

    def judge(self) -> tuple[Doubt, NDArray[np.float32], NDArray[np.float32]]:
        """The end: nothing can be added afterwards.

        Returns:
            The numbers of the case, the mean probabilities `(K, x, y, z)`, and their entropy `(x, y, z)`, 0..1.
        """
        if self._sum is None:
            raise ValueError("no member was added")
        mean, number = self._sum, len(self._labels)
        mean /= np.float32(number)
        entropy = entropy_of(mean, self._multilabel)
        found = _any(_decided(mean, self._multilabel))
        near = _grown(found, NEIGHBOURHOOD) if found.any() else np.ones_like(found)
        doubt = Doubt(
            uncertainty=_least_confidence(mean, found, self._multilabel),
            disagreement=_disagreement(self._labels, mean.shape[0], self._multilabel) if number > 1 else None,
            entropy=float(entropy[near].mean()),
            voxels=int(found.sum()),
        )
        return doubt, mean, entropy


def entropy_of(probabilities: NDArray[np.float32], multilabel: bool = False) -> NDArray[np.float32]:
    """Entropy of each voxel `(x, y, z)` as a share of the largest one possible; of channels that are independent, the
    mean over channels."""
    total = np.zeros(probabilities.shape[1:], np.float32)
    for channel in probabilities:
        total -= channel * np.log(np.maximum(channel, 1e-7))
        if multilabel:
            total -= (1 - channel) * np.log(np.maximum(1 - channel, 1e-7))
    largest = probabilities.shape[0] * np.log(2) if multilabel else np.log(probabilities.shape[0])
    return np.clip(total / np.float32(largest), 0, 1)


def _least_confidence(mean: NDArray[np.float32], found: NDArray[np.bool_], multilabel: bool) -> float:
    if not found.any():
        return 1.0
    # Of independent channels the surest structure counts, as the one that makes a voxel part of what was found.
    return float(1 - mean.max(axis=0)[found].mean(dtype=np.float64))


def _structures(channels: int, multilabel: bool) -> list[tuple[int, int]]:
    """Channel and its number in what `_decided` returns, of every structure."""
    return [(k, k) for k in range(channels)] if multilabel else [(k, k) for k in range(1, channels)]


def _decided(probabilities: NDArray[np.float32], multilabel: bool) -> NDArray:
    """Class of each voxel `(x, y, z)`; with independent channels masks `(K, x, y, z)`."""
    if multilabel:
        return probabilities > 0.5
    return probabilities.argmax(axis=0).astype(np.uint8 if probabilities.shape[0] <= 256 else np.uint16)


def _mask(decided: NDArray, structure: int, multilabel: bool) -> NDArray[np.bool_]:
    return decided[structure] if multilabel else decided == structure


def _any(decided: NDArray) -> NDArray[np.bool_]:
    return np.asarray(decided.any(axis=0) if decided.ndim == 4 else decided != 0)


def _disagreement(labels: list, channels: int, multilabel: bool) -> float:
    """1 - Dice, mean over pairs of members, of the mean over structures that one of the two found."""
    values = []
    for first, second in itertools.combinations(labels, 2):
        scores = []
        for _, structure in _structures(channels, multilabel):
            a, b = _mask(first, structure, multilabel), _mask(second, structure, multilabel)
            total = int(a.sum()) + int(b.sum())
            if total:
                scores.append(2 * int((a & b).sum()) / total)
        # Nothing found by either of them is no sign of doubt between them.
        values.append(1 - float(np.mean(scores)) if scores else 0.0)
    return float(np.mean(values)) if values else 0.0


def _grown(mask: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """The mask and all voxels within `steps` along the axes (a cube)."""
    grown = mask.copy()
    for axis in range(mask.ndim):
        for _ in range(steps):
            view, wider = np.moveaxis(grown, axis, 0), np.moveaxis(grown.copy(), axis, 0)
            wider[1:] |= view[:-1]
            wider[:-1] |= view[1:]
            grown = np.moveaxis(wider, 0, axis)
    return grown
