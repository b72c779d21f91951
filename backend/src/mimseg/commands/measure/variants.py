"""Segmenting the same scans with other overlaps and spacings, and comparing the labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.bundle.description import Description
from mimseg.commands.measure.cases import Scan
from mimseg.data.preprocessing import prepare
from mimseg.data.volume import Volume
from mimseg.events import Reporter
from mimseg.inference.locating import Located, cut, segment_located
from mimseg.inference.pipeline import segment_volume
from mimseg.inference.sliding_window import Predict
from mimseg.inference.window_grid import WindowGrid
from mimseg.memory import memory_errors_named
from mimseg.metrics.overlap import mean_of_defined, overlaps

PHASE = "measure"
# A candidate that disagrees more on any scan is not looked at further.
LEAST_AGREEMENT = 0.97
# Scans that are measured however long they take.
FEWEST_SCANS = 2

Spacing = tuple[float, float, float]
# Boxes in a scan that a model with a locator looks at; none if it looks at all of it.
Find = Callable[[Volume], Sequence[Located]]


@dataclass
class MeasuredVariant:
    """One way to segment, with what came out on each scan; lists are in the order of the scans.

    Attributes:
        overlap: Share of a window that its neighbour covers too.
        spacing: Working spacing in mm, or None as scanned.
        windows: Windows computed.
        dice: Mean Dice of the structures against the truth; NaN without truth.
        agreement: Mean Dice of the structures against the labels of the largest overlap; NaN where the windows lie
            at the same places, or where neither found anything.
    """

    overlap: float
    spacing: Spacing | None
    windows: list[int] = field(default_factory=list)
    dice: list[float] = field(default_factory=list)
    agreement: list[float] = field(default_factory=list)

    @property
    def compared(self) -> list[float]:
        """The agreements that say something."""
        return [value for value in self.agreement if not math.isnan(value)]

    @property
    def mean_dice(self) -> float:
        """Mean over the scans; NaN without truth."""
        return mean_of_defined(self.dice)

    def losses(self, usual: MeasuredVariant) -> list[float]:
        """By how much Dice is lower than in `usual`, for each scan of both with a truth."""
        pairs = zip(usual.dice, self.dice, strict=False)
        return [other - own for other, own in pairs if not math.isnan(other - own)]


class Measuring:
    """Runs the variants of a model.

    Args:
        description: Of the model.
        predict: Its engine.
        scans: Each call reads one.
        reporter: Receives the progress.
        steps: Number of variants of each scan, for the progress.
        seconds: Take no new scan after that time, but for the first two; None: take all.
        find: Finds the model's region in a large scan.
    """

    def __init__(
        self,
        description: Description,
        predict: Predict,
        scans: Sequence[Callable[[], Scan]],
        reporter: Reporter,
        steps: int,
        seconds: float | None = None,
        find: Find = lambda volume: (),
    ) -> None:
        self._description, self._predict, self._scans = description, predict, scans
        self._reporter, self._steps, self._seconds = reporter, steps, seconds
        self._find, self._found = find, dict[int, Sequence[Located]]()
        self._done = 0

    def overlaps(self, candidates: Sequence[float]) -> list[MeasuredVariant]:
        """One variant for each overlap, the first one being what the others are compared with.

        Windows that lie at the same places are not computed again.

        Raises:
            UserError, OutOfMemory: A scan cannot be segmented.
            Stopped: The user asked to stop.
        """
        variants = [MeasuredVariant(overlap, self._description.preprocessing.spacing) for overlap in candidates]
        waiting, began = list(variants), time.monotonic()
        for number in range(len(self._scans)):
            if self._late(began, number):
                self._scans = self._scans[:number]
                break
            self._progress(number * len(candidates))
            scan, located = self._read(number)
            windows = _Windows(scan.volume, self._description, located)
            reference: NDArray[np.integer] | None = None
            known: dict[tuple, tuple[float, float]] = {}
            for variant in waiting:
                places = windows.places(variant.overlap)
                if places not in known:
                    labels = self._labels(scan.volume, located, self._description, variant.overlap)
                    agreement = math.nan if reference is None else self._dice(labels, reference, math.nan)
                    reference = labels if reference is None else reference
                    known[places] = self._score(labels, scan), agreement
                dice, agreement = known[places]
                variant.windows.append(windows.computed(variant.overlap))
                variant.dice.append(dice)
                variant.agreement.append(agreement)
                self._progress(self._done + 1)
            waiting = [variant for variant in waiting if not _disagrees(variant)]
        return variants

    def spacings(self, candidates: Sequence[Spacing], overlap: float) -> list[MeasuredVariant]:
        """One variant for each spacing; raises as `overlaps` does."""
        variants = [MeasuredVariant(overlap, spacing) for spacing in candidates]
        first = len(self._scans) * (self._steps - len(candidates))
        for number in range(len(self._scans)):
            self._progress(first + number * len(candidates))
            scan, located = self._read(number)
            for variant in variants:
                preprocessing = replace(self._description.preprocessing, spacing=variant.spacing)
                changed = replace(self._description, preprocessing=preprocessing, quick=None)
                variant.windows.append(_Windows(scan.volume, changed, located).computed(overlap))
                variant.dice.append(self._score(self._labels(scan.volume, located, changed, overlap), scan))
                variant.agreement.append(math.nan)
                self._progress(self._done + 1)
        return variants

    def with_engine(self, predict: Predict, overlap: float) -> MeasuredVariant:
        """The usual spacing by another engine; raises as `overlaps` does."""
        variant, usual = MeasuredVariant(overlap, self._description.preprocessing.spacing), self._predict
        self._predict = predict
        try:
            for number in range(len(self._scans)):
                scan, located = self._read(number)
                labels = self._labels(scan.volume, located, self._description, overlap)
                variant.dice.append(self._score(labels, scan))
                self._progress(self._done + 1)
        finally:
            self._predict = usual
        return variant

    def _read(self, number: int) -> tuple[Scan, Sequence[Located]]:
        """A scan, and where the model looks at it, which is found once."""
        scan = self._scans[number]()
        if number not in self._found:
            self._found[number] = self._find(scan.volume)
        return scan, self._found[number]

    def _labels(
        self, volume: Volume, located: Sequence[Located], description: Description, overlap: float
    ) -> NDArray[np.integer]:
        stopping.check()
        if not located:
            return segment_volume(volume, description, self._predict, overlap=overlap)
        labels = segment_located(volume, description, self._predict, located, overlap)
        # The truth does not tell the sides apart.
        return np.where(labels > 0, (labels - 1) % len(description.labels) + 1, 0).astype(labels.dtype)

    def _score(self, labels: NDArray[np.integer], scan: Scan) -> float:
        if scan.truth is None:
            return math.nan
        return self._dice(labels if scan.ignored is None else np.where(scan.ignored, 0, labels), scan.truth, 1.0)

    def _dice(self, labels: NDArray[np.integer], other: NDArray[np.integer], if_none: float) -> float:
        """Mean Dice of the structures in either; `if_none` where there is no structure in both."""
        classes = list(range(1, len(self._description.labels) + 1))
        found = mean_of_defined([one.dice for one in overlaps(labels, other, classes).values()])
        return if_none if math.isnan(found) else found

    def _late(self, began: float, number: int) -> bool:
        too_long = self._seconds is not None and time.monotonic() - began > self._seconds
        return too_long and number >= FEWEST_SCANS

    def _progress(self, done: int) -> None:
        self._done = done
        self._reporter.progress(PHASE, done, len(self._scans) * self._steps)


class _Windows:
    """Where the windows of a scan, or of the boxes in it, lie, without computing them."""

    def __init__(self, volume: Volume, description: Description, located: Sequence[Located]) -> None:
        self._window = description.window
        parts = [cut(volume, each) for each in located] or [volume]
        with memory_errors_named("prepare a scan"):
            prepared = [prepare(part, description.preprocessing) for part in parts]
        self._parts = [(each.array.shape[1:], each.foreground) for each in prepared]

    def places(self, overlap: float) -> tuple:
        """First voxels of the windows along x, y, z, of each part."""
        grids = [WindowGrid.plan(size, self._window, overlap) for size, _ in self._parts]
        return tuple(tuple(axis.starts for axis in grid.axes) for grid in grids)

    def computed(self, overlap: float) -> int:
        """How many windows the network sees."""
        plan = WindowGrid.plan
        return sum(
            len(plan(size, self._window, overlap).with_foreground(foreground)) for size, foreground in self._parts
        )


def _disagrees(variant: MeasuredVariant) -> bool:
    return bool(variant.compared) and min(variant.compared) < LEAST_AGREEMENT
