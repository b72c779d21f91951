"""Reading DICOM segmentations (SEG): binary, fractional and label maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimseg.data.dicom.codes import code_of, rgb_of_cielab
from mimseg.data.dicom.dataset import read_dataset
from mimseg.data.dicom.layers import Layers, metadata_of
from mimseg.data.labels.drawn import MARK
from mimseg.data.labels.structures import Label, distinct_color
from mimseg.data.reading.opened import ImageHeader
from mimseg.data.volume import Grid
from mimseg.errors import UserError
from mimseg.events import Reporter

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SOP_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
_SAME_PLACE_MM = 0.01
# Of the distance of slices, and of a pixel.
_OFF_GRID = 0.02
_IN_LINE = 0.25


@dataclass(frozen=True)
class _Frame:
    segment: int  # 0 in label maps, where the pixels say it
    position: NDArray[np.float64]


class SegmentationFile:
    """A DICOM segmentation whose header was read; its segments stand in the header's metadata as in `.seg.nrrd`.

    Slices without a segment are not in the file: its grid ends with the first and last slice that has one.

    Args:
        path: The file.
        like: The image's grid, whose planes the frames lie on if they can; None, or another grid, leaves the distance
            of slices to what the file says.

    Raises:
        UserError: It is damaged, or its frames make no grid.
    """

    def __init__(self, path: Path, like: Grid | None = None) -> None:
        self._path = path
        self._data = read_dataset(path, pixels=True)
        try:
            self._labels = _labels(self._data)
            self._frames = _frames(self._data)
            self._grid, self._guess = _grid(self._data, self._frames, path, like)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as fault:
            raise _damaged(path) from fault
        single = self._is_map or self._data.get("SegmentsOverlap") == "NO" or len(self._labels) == 1
        layers = [0] * len(self._labels) if single else list(range(len(self._labels)))
        self.header = ImageHeader(self._grid.size, max(layers) + 1, metadata=self._metadata(layers))

    def read(self, frame: int, orientation: str, reporter: Reporter) -> tuple[NDArray, Grid]:
        """Segment numbers `(i, j, k)`, or `(L, i, j, k)` if segments overlap, and their grid."""
        if self._guess:
            reporter.warning("slice-distance", f"{self._path}: {self._guess}")
        highest = max(label.value for label in self._labels)
        layers = Layers(self._grid.size, highest)
        places: dict[int, dict[int, NDArray[np.bool_]]] = {label.value: {} for label in self._labels}
        for one, k, pixels in self._pixels():
            values = np.unique(pixels) if self._is_map else [one.segment]
            for value in values:
                if int(value) in places:
                    found = pixels == value if self._is_map else pixels.astype(bool)
                    before = places[int(value)].get(k)
                    places[int(value)][k] = found if before is None else before | found
        numbers = [layers.add(label.value, places[label.value]) for label in self._labels]
        array = layers.array()
        count = len(array) if array.ndim == 4 else 1
        self.header = replace(self.header, components=count, metadata=self._metadata(numbers))
        return array, self._grid

    def verify(self) -> None:
        """Read to the end."""
        self.read(0, "", Reporter())

    def _metadata(self, layers: Sequence[int]) -> dict[str, str]:
        drawer = (self._data.SegmentSequence[-1].get("SegmentationAlgorithmIdentificationSequence") or [{}])[0]
        key, _, mark = str(drawer.get("AlgorithmParameters", "")).partition("=")
        return {**metadata_of(self._labels, layers), **({MARK: mark} if key == MARK else {})}

    @property
    def _is_map(self) -> bool:
        return self._data.get("SegmentationType") == "LABELMAP"

    def _pixels(self) -> Iterator[tuple[_Frame, int, NDArray]]:
        """Frame, number of its plane, and its pixels `(i, j)`; those of fractions are 1 from one half on."""
        rows, columns = int(self._data.Rows), int(self._data.Columns)
        along = np.array([one.position for one in self._frames]) @ self._grid.direction[:, 2]
        origin = float(np.asarray(self._grid.origin) @ self._grid.direction[:, 2])
        planes = np.rint((along - origin) / self._grid.spacing[2]).astype(int)
        unpacked = None if self._is_packed() else self._unpacked(rows, columns)
        for number, (one, k) in enumerate(zip(self._frames, planes, strict=True)):
            pixels = self._unpack(number, rows * columns) if unpacked is None else unpacked[number]
            yield one, int(k), pixels.reshape(rows, columns).T

    def _is_packed(self) -> bool:
        return self._data.BitsAllocated == 1 and self._data.file_meta.get("TransferSyntaxUID") in _UNCOMPRESSED

    def _unpack(self, number: int, pixels: int) -> NDArray[np.uint8]:
        """One frame of bits; frames follow each other without filling up a byte."""
        first = number * pixels
        content = self._data.PixelData[first // 8 : -(-(first + pixels) // 8)]
        bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")[first % 8 : first % 8 + pixels]
        if bits.size < pixels:
            raise _damaged(self._path)
        return bits

    def _unpacked(self, rows: int, columns: int) -> NDArray:
        try:
            pixels: NDArray = self._data.pixel_array.reshape(-1, rows, columns)
        except Exception as fault:  # Decoders fail in many ways.
            raise _damaged(self._path) from fault
        if self._data.get("SegmentationType") == "FRACTIONAL":
            pixels = 2 * pixels.astype(np.uint16) >= int(self._data.get("MaximumFractionalValue") or 255)
        return pixels


def _labels(data: Dataset) -> list[Label]:
    labels = []
    for index, item in enumerate(data.SegmentSequence):
        number = int(item.SegmentNumber)
        if number == 0:  # The background of a label map.
            continue
        name = " ".join(str(item.get("SegmentLabel") or item.get("SegmentDescription") or "").split())
        kind = code_of(item, "SegmentedPropertyTypeCodeSequence")
        types = item.get("SegmentedPropertyTypeCodeSequence")
        labels.append(
            Label(
                number,
                name or (kind.meaning if kind else f"Segment {number}"),
                rgb_of_cielab(item.get("RecommendedDisplayCIELabValue")) or distinct_color(index),
                code_of(item, "SegmentedPropertyCategoryCodeSequence") or Label.category,
                kind,
                code_of(types[0], "SegmentedPropertyTypeModifierCodeSequence") if types else None,
            )
        )
    if not labels:
        raise ValueError("no segment")
    return labels


def _frames(data: Dataset) -> list[_Frame]:
    shared = data.SharedFunctionalGroupsSequence[0]
    frames = []
    for item in data.PerFrameFunctionalGroupsSequence:
        identified = item.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence")
        segment = int(identified[0].ReferencedSegmentNumber) if identified else 0
        placed = item.get("PlanePositionSequence") or shared.PlanePositionSequence
        frames.append(_Frame(segment, np.array([float(value) for value in placed[0].ImagePositionPatient])))
    return frames


def _grid(data: Dataset, frames: list[_Frame], path: Path, like: Grid | None) -> tuple[Grid, str]:
    """The grid of the frames, with the slices between them that have none; and what was guessed of it, in words.

    Raises:
        UserError: The frames do not lie on a right-angled grid.
    """
    axes = np.array([float(v) for v in _group(data, "PlaneOrientationSequence").ImageOrientationPatient]).reshape(2, 3)
    measures = _group(data, "PixelMeasuresSequence")
    row_distance, column_distance = (float(value) for value in measures.PixelSpacing)
    normal = np.cross(*axes)
    positions = np.array([one.position for one in frames])
    along = (positions - positions[0]) @ normal
    first, last = int(np.argmin(along)), float(along.max() - along.min())
    within = np.abs((positions - positions[0]) @ axes.T) / [column_distance, row_distance]
    steps = np.diff(np.unique(np.rint(along / _SAME_PLACE_MM))) * _SAME_PLACE_MM
    step = float(steps.min()) if steps.size else 0.0
    stated, thickness = (float(measures.get(name) or 0) for name in ("SpacingBetweenSlices", "SliceThickness"))
    # A file that does not say it, and has frames some thicknesses apart, more likely lacks slices than has gaps.
    known = _plane_distance(like, normal, positions)
    guessed = thickness if not known and not stated and 0 < thickness < 0.75 * step else 0.0
    for distance in (known, stated, guessed, step, thickness):
        places = (along - along[first]) / distance if distance > 0 else np.full(1, 0.5)
        if np.abs(places - np.rint(places)).max() < _OFF_GRID * max(1.0, np.sqrt(places.max())):
            count = round(last / distance) + 1
            break
    else:
        distance, count = 0.0, 0
    if not count or within.max() > _IN_LINE:
        raise UserError(
            f"The segments in {path} lie on slices at irregular distances or of a tilted gantry.",
            "Resample the segmentation on the image, for example in 3D Slicer, and export it again.",
            "bad-geometry",
        )
    guess = ""
    if distance == guessed:
        guess = (
            f"it does not say how far apart slices lie. {distance:g} mm was taken, their thickness, though its nearest "
            f"frames are {step:g} mm apart: the slices between them count as not drawn on. Give the scan where that "
            "can be wrong."
        )
    x, y, z = (float(value) for value in positions[first])
    distance = last / (count - 1) if count > 1 else distance
    size = (int(data.Columns), int(data.Rows), count)
    return Grid(size, (column_distance, row_distance, distance), (x, y, z), np.stack([*axes, normal], axis=1)), guess


def _plane_distance(like: Grid | None, normal: NDArray[np.float64], positions: NDArray[np.float64]) -> float:
    """How far apart the planes of a grid lie if all positions are on them; 0 if they are not."""
    if like is None or abs(float(like.direction[:, 2] @ normal)) < 1 - _SAME_PLACE_MM:
        return 0.0
    planes = like.to_index(positions)[:, 2]
    return like.spacing[2] if np.abs(planes - np.rint(planes)).max() < _OFF_GRID else 0.0


def _group(data: Dataset, name: str) -> Any:
    """A functional group that all frames share, in the place for shared ones or in that of each frame."""
    shared = data.SharedFunctionalGroupsSequence[0].get(name)
    return (shared or data.PerFrameFunctionalGroupsSequence[0][name].value)[0]


def _damaged(path: Path) -> UserError:
    return UserError(
        f"The DICOM segmentation {path} is damaged, incomplete or compressed in an unknown way.",
        "Export or copy it again.",
        "unreadable",
    )
