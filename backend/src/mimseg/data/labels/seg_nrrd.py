"""The segment metadata of Slicer segmentation files (`.seg.nrrd`).

Keys as 3D Slicer's vtkMRMLSegmentationStorageNode writes and reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.data.labels.drawn import Algorithm
from mimseg.data.labels.structures import Code, Label, distinct_color
from mimseg.data.reading.opened import unreadable
from mimseg.data.volume import Grid
from mimseg.errors import UserError

_CATEGORIES = "Segmentation category and type - 3D Slicer General Anatomy list"
_REGIONS = "Anatomic codes - DICOM master list"
# Tags of a segment. Those that begin with DICOM are what 3D Slicer's own export to DICOM reads.
_ENTRY = "TerminologyEntry"
_HOW, _ALGORITHM = "DICOM.SegmentAlgorithmType", "DICOM.SegmentAlgorithmName"
_VERSION = "MIMSegment.ModelVersion"
# What 3D Slicer takes for a segment of which nothing is known.
TISSUE = Code("SCT", "85756007", "Tissue")


@dataclass(frozen=True)
class Segment:
    """One segment of a file: its voxels are `layer == label_value`; `value` is its number after merging.

    Attributes:
        color: Red, green, blue, 0..255; None if the file does not say.
        type: Coded property type, or None.
        modifier: Coded modifier of the type (laterality), or None.
        category: Coded property category, or None.
        algorithm: What drew it, or None: somebody's hand, or the file does not say.
    """

    name: str
    layer: int
    label_value: int
    value: int
    color: tuple[int, int, int] | None = None
    type: Code | None = None
    modifier: Code | None = None
    category: Code | None = None
    algorithm: Algorithm | None = None


def read_segments(metadata: Mapping[str, str], path: Path) -> list[Segment]:
    """The segments that the metadata of the file `path` describe; empty for a plain image.

    Raises:
        UserError: A layer or a value is no number, or a value is not in 1..65535.
    """
    matches = (re.fullmatch(r"Segment(\d+)_(?:ID|Name|LabelValue)", key) for key in metadata)
    numbers = sorted({int(match[1]) for match in matches if match})

    def read(number: int, key: str, default: str) -> str:
        return metadata.get(f"Segment{number}_{key}", default).strip()

    # Files of Slicer 4.10 and older have neither: one binary layer for each segment.
    try:
        found = [
            (read(n, "Name", read(n, "ID", "")), int(read(n, "Layer", str(n))), int(read(n, "LabelValue", "1")))
            for n in numbers
        ]
    except ValueError as fault:
        raise unreadable(path, "the layer or the value of a segment in its header is no number") from fault
    values = [label_value for _, _, label_value in found]
    for name, _, label_value in found:
        if not 1 <= label_value <= 65535:
            raise UserError(
                f"{path}: the segment “{name}” has the label value {label_value}, which no label map can hold.",
                "Give segments values from 1 to 65535: open the file in 3D Slicer and save it again.",
                "bad-labels",
            )
    if len(set(values)) < len(values):
        values = list(range(1, len(found) + 1))
    tags = [_tags(read(n, "Tags", "")) for n in numbers]
    shown = [
        (_color(read(n, "Color", "")), *_codes(own), _algorithm(own)) for n, own in zip(numbers, tags, strict=True)
    ]
    return [
        Segment(*segment, value, *more)  # type: ignore[arg-type]
        for segment, value, more in zip(found, values, shown, strict=True)
    ]


def _color(text: str) -> tuple[int, int, int] | None:
    try:
        red, green, blue = (min(255, max(0, round(255 * float(part)))) for part in text.split())
    except ValueError:
        return None
    return red, green, blue


def _tags(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (tag.partition(":") for tag in text.split("|"))}


def _codes(tags: Mapping[str, str]) -> tuple[Code | None, Code | None, Code | None]:
    """Type, its modifier and category of a terminology entry, as far as they are set."""
    parts = [part.split("^") for part in tags.get(_ENTRY, "").split("~")[1:4]]
    codes = [Code(*part) if len(part) == 3 and part[0] and part[1] else None for part in parts]
    category, kind, modifier = (*codes, None, None, None)[:3]
    return kind, modifier, category


def _algorithm(tags: Mapping[str, str]) -> Algorithm | None:
    name = tags.get(_ALGORITHM, "")
    return Algorithm(name, tags.get(_VERSION, "") or "unknown") if name and tags.get(_HOW) != "MANUAL" else None


def stray_segments(array: NDArray, segments: Sequence[Segment]) -> tuple[list[str], int]:
    """Names of segments whose layer is not there, and how many voxels belong to no segment though they are not 0."""
    layers = array if array.ndim == 4 else array[np.newaxis]
    lost = [segment.name for segment in segments if not 0 <= segment.layer < len(layers)]
    stray = 0
    for number, layer in enumerate(layers):
        known = [0, *(segment.label_value for segment in segments if segment.layer == number)]
        stray += layer.size - int(np.count_nonzero(np.isin(layer, known)))
    return lost, stray


def merge_segments(array: NDArray, segments: Sequence[Segment]) -> tuple[NDArray, int]:
    """One labelmap `(i, j, k)` from layers `(L, i, j, k)` or `(i, j, k)`, and how many voxels segments share."""
    layers = array if array.ndim == 4 else array[np.newaxis]
    merged = np.zeros(layers.shape[1:], np.uint16)
    overlap = 0
    for segment in segments:
        if not 0 <= segment.layer < len(layers):
            continue
        voxels = layers[segment.layer] == segment.label_value
        overlap += int(np.count_nonzero(merged[voxels]))
        merged[voxels] = segment.value
    return merged, overlap


def segment_metadata(
    labels: NDArray,
    grid: Grid,
    table: Sequence[Label],
    drawer: Callable[[int], Algorithm | None] = lambda value: None,
    layers: Mapping[int, int] | None = None,
) -> dict[str, str]:
    """The keys and values that make a labelmap `(i, j, k)`, or layers `(L, i, j, k)`, on `grid` a Slicer segmentation.

    Values in `labels` that the table does not name become `Label <value>`. `drawer` tells what drew a value, `layers`
    in which layer it is.
    """
    known = {label.value for label in table}
    present = [int(value) for value in np.unique(labels) if value != 0]
    others = [Label(value, f"Label {value}", distinct_color(value)) for value in present if value not in known]
    metadata = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_SourceRepresentation": "Binary labelmap",
        # Slicer before 5.2 knows the source representation by this name only.
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
        "Segmentation_ConversionParameters": f"Reference image geometry|{_reference_geometry(grid)}|&",
    }
    for index, label in enumerate([*table, *others]):
        layer = (layers or {}).get(label.value, 0)
        prefix = f"Segment{index}_"
        metadata |= {
            f"{prefix}ID": f"Segment_{label.value}",
            f"{prefix}Name": " ".join(label.name.split()),
            f"{prefix}NameAutoGenerated": "0",
            f"{prefix}Color": " ".join(f"{channel / 255:.6g}" for channel in label.color),
            f"{prefix}ColorAutoGenerated": "0",
            f"{prefix}LabelValue": str(label.value),
            f"{prefix}Layer": str(layer),
            f"{prefix}Extent": _extent((labels[layer] if labels.ndim == 4 else labels) == label.value),
            f"{prefix}Tags": f"{_ENTRY}:{terminology_entry(label)}|{_algorithm_tags(drawer(label.value))}",
        }
    return metadata


def _algorithm_tags(algorithm: Algorithm | None) -> str:
    if algorithm is None:
        return ""
    name, version = (text.replace("|", "/") for text in (algorithm.name, algorithm.version))
    return f"{_HOW}:AUTOMATIC|{_ALGORITHM}:{name}|{_VERSION}:{version}|"


def terminology_entry(label: Label) -> str:
    """A label's codes as 3D Slicer serialises a terminology entry."""
    # Without a type DICOM SEG export fails, and 3D Slicer's own default is tissue.
    category, kind = (label.category, label.type) if label.type else (TISSUE, TISSUE)
    codes = "~".join(_code(code) for code in (category, kind, label.modifier))
    return f"{_CATEGORIES}~{codes}~{_REGIONS}~^^~^^"


def _code(code: Code | None) -> str:
    # The separators themselves cannot be escaped in this format.
    parts = (code.scheme, code.value, code.meaning) if code else ("", "", "")
    return "^".join(re.sub(r"[~^|]", " ", part) for part in parts)


def _reference_geometry(grid: Grid) -> str:
    """The grid as vtkSegmentationConverter::SerializeImageGeometry writes it: RAS matrix by rows, then the extent.

    With it, 3D Slicer edits and exports the segmentation on the image's own voxels.
    """
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
    extent = [end for size in grid.size for end in (0, size - 1)]
    return "".join(f"{value};" for value in [*(f"{number:.17g}" for number in matrix.ravel()), *extent])


def _extent(voxels: NDArray) -> str:
    """First and last index along i, j, k; `0 -1 0 -1 0 -1` if there is no voxel."""
    ends: list[int] = []
    for axis in range(3):
        used = np.flatnonzero(voxels.any(axis=tuple(other for other in range(3) if other != axis)))
        ends += [int(used[0]), int(used[-1])] if used.size else [0, -1]
    return " ".join(str(end) for end in ends)
