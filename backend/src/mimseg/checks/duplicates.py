"""The same scan twice: equal voxels, nearly equal pictures, a crop of another volume, labels of another case."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.cases.low_resolution import ORIENTATIONS, coarse_image, orders, standardized
from mimseg.checks.context import Context
from mimseg.checks.finding import Finding, Spot

# Correlation of coarse cubes. Two sides or two visits of one person stay below 0.9; the same scan with other noise
# or brightness lies above 0.99. Volumes registered to a template resemble each other anyway, therefore both bounds.
_ALIKE = 0.98
_GAP_SHARE = 0.15
# The smallest hashes of runs of voxels are kept: volumes that share a part share hashes (MinHash, Broder 1997).
_RUN = 8
_KEPT = 512
_SHARED_RUNS = 32
_FEWEST_STEPS = 5


@dataclass(frozen=True)
class Fingerprint:
    """What is needed to recognise a scan again.

    Attributes:
        digest: SHA-256 of the voxels of all channels.
        label_digest: Of the labels, empty if there are none.
        cube: The coarse volume in anatomical directions, flattened.
        runs: Smallest hashes of runs of neighbouring voxels, sorted.
        subject: As the case list names it.
    """

    digest: str
    label_digest: str
    cube: NDArray[np.float16]
    runs: NDArray[np.uint64]
    subject: str


def measure(case: LoadedCase) -> Fingerprint:
    """The fingerprint of a case."""
    cube = coarse_image(case.turn.apply(case.sample))
    labels = _digest(case.labels) if case.labels is not None and case.structures else ""
    runs = _smallest_hashes(case.volume.array[0])
    return Fingerprint(_digest(case.volume.array), labels, cube.astype(np.float16), runs, case.case.subject)


def find(measured: Mapping[str, Fingerprint], context: Context) -> list[Finding]:
    """See the module."""
    findings, told = [], set()
    for first, second in _equal({name: found.digest for name, found in measured.items()}):
        told.add(frozenset((first, second)))
        text = f"Has exactly the same voxels as {first}."
        findings.append(_finding("error", "duplicate", text, first, second, context, {"same_as": first}))
    for (first, second), (alike, turn) in _alike(measured).items():
        if frozenset((first, second)) in told:
            continue
        told.add(frozenset((first, second)))
        mirrored = " when mirrored or turned" if turn else ""
        text = f"Is nearly the same volume as {first}{mirrored} (correlation {alike:.3f})."
        evidence = {"like": first, "correlation": alike}
        findings.append(_finding("warning", "near-duplicate", text, first, second, context, evidence))
    for (first, second), shared in _sharing(measured).items():
        if frozenset((first, second)) in told:
            continue
        told.add(frozenset((first, second)))
        text = f"Shares a part of its voxels with {first}, value for value: both are cut from one scan."
        evidence = {"like": first, "shared_share": shared / _KEPT}
        findings.append(_finding("warning", "same-scan", text, first, second, context, evidence))
    labels = {name: found.label_digest for name, found in measured.items() if found.label_digest}
    for first, second in _equal(labels):
        if frozenset((first, second)) not in told:
            text = f"Has exactly the same labels as {first}, but another image."
            remedy = "One labelmap was probably copied to the wrong name: put the right one there."
            spots = (Spot(second, "this case"), Spot(first, first))
            findings.append(Finding(second, "warning", "same-labels", text, remedy, {"same_as": first}, spots))
    return findings


def _finding(
    severity: str, code: str, text: str, first: str, second: str, context: Context, evidence: dict[str, object]
) -> Finding:
    remedy = "Remove one of them, or, if these are two scans of one person, give both the same `subject`."
    if _across(first, second, context):
        severity = "error"
        text += " One is in training, the other in validation."
        remedy = "Put both on one side: scores on what was trained on mean nothing."
    spots = (Spot(second, "this case"), Spot(first, first))
    return Finding(second, severity, code, text, remedy, evidence, spots)


def _across(first: str, second: str, context: Context) -> bool:
    training, validation = context.training or frozenset(), context.validation or frozenset()
    return (first in training and second in validation) or (second in training and first in validation)


def _equal(digests: Mapping[str, str]) -> list[tuple[str, str]]:
    """The first case with a digest, and each later one with the same."""
    first: dict[str, str] = {}
    pairs = []
    for name, digest in digests.items():
        if digest in first:
            pairs.append((first[digest], name))
        first.setdefault(digest, name)
    return pairs


def _alike(measured: Mapping[str, Fingerprint]) -> dict[tuple[str, str], tuple[float, int]]:
    """Pairs of cases with nearly the same cube, the correlation, and the number of the flip that shows it."""
    names = list(measured)
    if len(names) < 2:
        return {}
    cubes = standardized(np.stack([found.cube for found in measured.values()]))
    upper = np.triu(np.ones((len(names), len(names)), bool), 1)
    best = np.full(upper.shape, -1.0, np.float32)
    turns = np.zeros(upper.shape, int)
    for number, ((axes, _), order) in enumerate(zip(ORIENTATIONS, orders(), strict=True)):
        if axes != (0, 1, 2):
            continue
        correlations = cubes @ cubes[:, order].T
        better = correlations > best + 1e-4
        best[better], turns[better] = correlations[better], number
    plain = (cubes @ cubes.T)[upper]
    # With few pairs the usual gap would be that of the duplicates themselves.
    usual_gap = 1.0 - float(np.median(plain)) if plain.size > 2 else 1.0
    least = max(_ALIKE, 1.0 - _GAP_SHARE * usual_gap)
    pairs = zip(*np.nonzero(upper & (best >= least)), strict=True)
    return {(names[a], names[b]): (float(best[a, b]), int(turns[a, b])) for a, b in pairs}


def _sharing(measured: Mapping[str, Fingerprint]) -> Counter[tuple[str, str]]:
    """Pairs of cases with common runs of voxels, and how many."""
    holders: dict[int, list[str]] = defaultdict(list)
    for name, found in measured.items():
        for run in found.runs.tolist():
            holders[run].append(name)
    shared: Counter[tuple[str, str]] = Counter()
    for names in holders.values():
        # What many cases have is a pattern of the scanner's software, not of a person.
        if 2 <= len(names) <= 3:
            shared.update(combinations(names, 2))
    return Counter({pair: count for pair, count in shared.items() if count >= _SHARED_RUNS})


def _smallest_hashes(array: NDArray) -> NDArray[np.uint64]:
    """Hashes of runs along the first axis of `array` `(i, j, k)`, wherever they lie, without monotonous ones."""
    kept = np.empty(0, np.uint64)
    for plane in range(array.shape[2]):
        values = np.ascontiguousarray(array[:, :, plane].astype(np.float32))
        count = len(values) - _RUN + 1
        if count < 1:
            return kept
        bits = values.view(np.uint32).astype(np.uint64)
        hashes = np.zeros((count, values.shape[1]), np.uint64)
        for offset in range(_RUN):
            hashes = (hashes ^ bits[offset : offset + count]) * np.uint64(0x9E3779B97F4A7C15)
            hashes ^= hashes >> np.uint64(29)
        steps = np.cumsum(np.pad(np.diff(values, axis=0) != 0, ((1, 0), (0, 0))), axis=0)
        lively = steps[_RUN - 1 :] - steps[:count] >= _FEWEST_STEPS
        found = hashes[lively]
        if found.size > _KEPT:
            found = np.partition(found, _KEPT)[:_KEPT]
        kept = np.unique(np.concatenate([kept, found]))[:_KEPT]
    return kept


def _digest(array: NDArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
