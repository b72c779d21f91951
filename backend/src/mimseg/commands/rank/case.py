"""One case under the eyes of one model or several: labels, uncertainty, features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.description import Description
from mimseg.bundle.locations import find_bundle
from mimseg.bundle.reader import Bundle, open_bundle
from mimseg.commands.rank.members import PLAIN, View, probabilities_of, views_of
from mimseg.commands.rank.scores import Doubt, Members
from mimseg.commands.segment.chosen import label_values, note_for, volumes_of
from mimseg.commands.segment.finder import Finder
from mimseg.commands.segment.fit import check_fit
from mimseg.data.labels.connected import keep_main_piece
from mimseg.data.labels.drawn import Overlapping
from mimseg.data.preprocessing import Prepared, prepare, restore, restore_probability
from mimseg.data.regions import Box, box_from_ras
from mimseg.data.volume import Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.inference.engines import Engine, open_engine
from mimseg.inference.features import FeatureEngine
from mimseg.inference.known_volumes import refuse_nothing_known
from mimseg.inference.locating import Located, cut, uncut
from mimseg.memory import memory_errors_named

# Of intensities: what stands in for the encoder's features where a network does not give them.
_QUANTILES = np.linspace(0.05, 0.95, 10)


@dataclass(frozen=True)
class Judged:
    """What the models say of one case.

    Attributes:
        doubt: In numbers; of several regions that of the most uncertain one.
        labels: Label values `(i, j, k)` on the scan's own grid; of structures that overlap the smallest.
        uncertainty: Entropy of the mean probabilities as a share of the largest one possible, `(i, j, k)`, 0..1,
            on the scan's own grid; 0 outside of the regions.
        features: `(D,)`, mean over regions.
        volumes_ml: Volume of each structure in mL, by name.
        overlapping: Where each structure is if they may overlap, or None.
    """

    doubt: Doubt
    labels: NDArray[np.integer]
    uncertainty: NDArray[np.float32]
    features: NDArray[np.float32]
    volumes_ml: dict[str, float]
    overlapping: Overlapping | None = None


class Ensemble:
    """The models, loaded once for all cases.

    Args:
        models: Names or paths.
        augment: Each model sees a scan in all the views that suit it, not only as it is.
        threads: Processor threads; None leaves it to the engine.
        reporter: Is told where the first model cannot find its region by itself.

    Attributes:
        names: Of the models.
        description: Of the first model.
        members: Number of answers for each case.
        feature_kind: `encoder` or `intensity`.
        no_features: Why the encoder's features are not to be had, or nothing.

    Raises:
        UserError: A model cannot be opened, or they do not go together.
    """

    def __init__(
        self, models: Sequence[str], augment: bool, threads: int | None = None, reporter: Reporter | None = None
    ) -> None:
        bundles = [open_bundle(find_bundle(model)) for model in models]
        self._descriptions = [bundle.description for bundle in bundles]
        _check_ensemble(self._descriptions)
        self.description = self._descriptions[0]
        self.names = tuple(description.name for description in self._descriptions)
        self._views = [views_of(description) if augment else (PLAIN,) for description in self._descriptions]
        self.members = sum(map(len, self._views))
        self._features, self.no_features = _feature_engine(bundles[0], threads)
        self.feature_kind = "intensity" if self._features is None else "encoder"
        first = self._features or open_engine(bundles[0], "cpu", "auto", threads)
        self._threads = threads
        self._finder = Finder(self.description, True, (), reporter or Reporter())
        self._engines: list[Engine] = [first, *(open_engine(b, "cpu", "auto", threads) for b in bundles[1:])]

    @property
    def channels(self) -> int:
        """Files of each case."""
        return len(self.description.channels)

    def check_fit(self, volume: Volume, case: str, regions: Sequence[Sequence[float]], reporter: Reporter) -> None:
        """Tell, or raise, where a case is hardly what the models were trained on, as `mimseg segment` does.

        Raises:
            UserError: It is CT that cannot be in Hounsfield units, of which a model sees a window.
        """
        has_region = bool(regions) or self._finder.runs_on(volume.grid)
        for description in self._descriptions:
            check_fit(volume, case, description, has_region, reporter)

    def judge(self, volume: Volume, regions: Sequence[Sequence[float]] = ()) -> Judged:
        """Judge one case.

        Args:
            volume: As read.
            regions: Boxes in mm, RAS; where they overlap, an earlier one's structures stay. Without any, a model with
                a locator finds its region in large scans; both sides get the same structures.

        Raises:
            UserError: A region lies outside of the volume, none is found, or what is found in a whole scan is not what
                the model knows.
            OutOfMemory: Memory ran out.
            Stopped: The user asked to stop.
        """
        size = "x".join(map(str, volume.grid.size))
        with memory_errors_named(f"rank {size} voxels with {len(self.description.labels)} structures"):
            located = self._located(volume, regions)
            if located:
                parts = [self._judge_located(volume, each) for each in located]
            else:
                parts = [self._judge(volume, box, whole=not regions) for box in _boxes(volume, regions)]
        labels, uncertainty, overlapping = parts[0].labels, parts[0].uncertainty, parts[0].overlapping
        for part in parts[1:]:
            if overlapping is not None and part.overlapping is not None:
                overlapping.bits[...] = np.where(labels == 0, part.overlapping.bits, overlapping.bits)
            labels = np.where(labels == 0, part.labels, labels)
            uncertainty = np.maximum(uncertainty, part.uncertainty)
        worst = max((part.doubt for part in parts), key=lambda doubt: doubt.uncertainty)
        doubt = replace(worst, voxels=int(np.count_nonzero(labels)))
        structures = self.description.labels
        volumes = {row.label: row.ml for row in volumes_of(labels, overlapping, volume.grid, structures)}
        features = np.stack([part.features for part in parts]).mean(axis=0)
        return Judged(doubt, labels, uncertainty, features, volumes, overlapping)

    def features(self, volume: Volume, regions: Sequence[Sequence[float]] = ()) -> NDArray[np.float32]:
        """The features `(D,)` of a case alone, mean over regions.

        Raises:
            UserError: A region lies outside of the volume.
            OutOfMemory: Memory ran out.
            Stopped: The user asked to stop.
        """
        found = []
        with memory_errors_named("compute features"):
            located = self._located(volume, regions)
            parts: list[tuple[Volume, Box | None]] = [(cut(volume, each), None) for each in located]
            for part, box in parts or [(volume, box) for box in _boxes(volume, regions)]:
                prepared = prepare(part, self.description.preprocessing, box)
                if self._features is not None:
                    self._look(0, PLAIN, prepared)
                found.append(self._described(prepared))
        return np.stack(found).mean(axis=0)

    def _located(self, volume: Volume, regions: Sequence[Sequence[float]]) -> list[Located]:
        if regions:
            return []
        return self._finder.boxes(volume, lambda bundle: open_engine(bundle, "cpu", "auto", self._threads))

    def _judge_located(self, volume: Volume, located: Located) -> Judged:
        part = self._judge(cut(volume, located), None)
        labels = np.zeros(volume.grid.size, part.labels.dtype)
        uncertainty = np.zeros(volume.grid.size, np.float32)
        labels[located.box.slices] = uncut(part.labels, volume.grid, located)
        uncertainty[located.box.slices] = uncut(part.uncertainty, volume.grid, located)
        overlapping = note_for(self.description, self.description.labels, volume.grid)
        if overlapping is not None and part.overlapping is not None:
            for own, noted in zip(overlapping.bits, part.overlapping.bits, strict=True):
                own[located.box.slices] = uncut(noted, volume.grid, located)
        return replace(part, labels=labels, uncertainty=uncertainty, overlapping=overlapping)

    def _judge(self, volume: Volume, box: Box | None, whole: bool = False) -> Judged:
        members = Members(self.description.multilabel)
        first: Prepared | None = None
        features: NDArray[np.float32] | None = None
        for index, description in enumerate(self._descriptions):
            prepared = prepare(volume, description.preprocessing, box)
            first = first or prepared
            if prepared.array.shape[1:] != first.array.shape[1:]:
                raise UserError(
                    "The models cut this scan differently, because they take other voxels for background.",
                    "Use models trained with the same preprocessing.",
                    "models-differ",
                )
            for view in self._views[index]:
                members.add(self._look(index, view, prepared))
                if features is None:
                    features = self._described(prepared)
        if first is None or features is None:
            raise ValueError("there is always at least one model")
        labels = self.description.labels
        overlapping = note_for(self.description, labels, volume.grid)
        doubt, mean, entropy = members.judge()
        classes = restore(mean, first, overlapping is not None, None if overlapping is None else overlapping.bits)
        uncertainty = restore_probability(entropy, first)
        if box is not None:
            box.erase_outside((0, 0, 0), classes, uncertainty, *([] if overlapping is None else [overlapping.bits]))
        # The labels are those that `mimseg segment` would write: they are what is corrected, measured and drawn.
        for group in self.description.pieces:
            keep_main_piece(classes[first.region.slices], group)
        if whole:
            refuse_nothing_known(classes, self.description, volume.grid, "this scan")
        return Judged(doubt, label_values(classes, labels, labels), uncertainty, features, {}, overlapping)

    def _look(self, index: int, view: View, prepared: Prepared) -> NDArray[np.float32]:
        if self._features is not None:
            self._features.take()  # forget what other views left behind
        return probabilities_of(view, prepared, self._descriptions[index], self._engines[index])

    def _described(self, prepared: Prepared) -> NDArray[np.float32]:
        """The features of what was looked at last."""
        return describe_intensities(prepared) if self._features is None else self._features.take()


def describe_intensities(prepared: Prepared) -> NDArray[np.float32]:
    """Quantiles of the scaled intensities of each channel, and the logarithm of each edge in mm: a stand-in for the
    encoder's features."""
    inside = prepared.foreground if prepared.foreground is not None and prepared.foreground.any() else ...
    levels = [np.quantile(channel[inside], _QUANTILES) for channel in prepared.array]
    edges = [np.log(n * s) for n, s in zip(prepared.grid.size, prepared.grid.spacing, strict=True)]
    return np.concatenate([*levels, edges]).astype(np.float32)


def _boxes(volume: Volume, regions: Sequence[Sequence[float]]) -> list[Box | None]:
    return [box_from_ras(bounds, volume.grid) for bounds in regions] if regions else [None]


def _feature_engine(bundle: Bundle, threads: int | None) -> tuple[FeatureEngine | None, str]:
    """The engine, or None and why there is none."""
    try:
        return FeatureEngine(bundle, threads), ""
    except ImportError:
        return None, "OpenVINO is not installed."
    except UserError as fault:
        if fault.code != "no-features":
            raise
        return None, fault.message


def _check_ensemble(descriptions: Sequence[Description]) -> None:
    """Refuse models whose probabilities cannot be averaged.

    Raises:
        UserError: naming the two models and the difference.
    """
    first = descriptions[0]
    for other in descriptions[1:]:
        ours, theirs = first.preprocessing, other.preprocessing
        differences = {
            "structures": [label.name for label in first.labels] != [label.name for label in other.labels]
            or [label.value for label in first.labels] != [label.value for label in other.labels]
            or first.multilabel != other.multilabel,
            "channels": first.channels != other.channels,
            "working spacings": ours.spacing != theirs.spacing,
            "orientations": ours.orientation != theirs.orientation,
            "rules for cutting away background": ours.crop_foreground != theirs.crop_foreground,
        }
        found = [name for name, differs in differences.items() if differs]
        if found:
            raise UserError(
                f"The models {first.name} and {other.name} cannot be used together: they have different "
                f"{' and '.join(found)}.",
                "Give models trained on the same structures with the same --spacing, or one model.",
                "models-differ",
            )
