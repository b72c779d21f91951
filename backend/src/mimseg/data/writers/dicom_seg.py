"""Labels as a DICOM segmentation (SEG) of the series that they were drawn on.

By the standard the object repeats the patient and study of its series, so it is as confidential as the series. Segments
are numbered from 1 without gaps, in the order of the table, as the standard demands and 3D Slicer (dcmqi) expects; what
a segment is, its codes and its name say.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mimseg import __version__
from mimseg.data.dicom.dataset import need
from mimseg.data.dicom.folder import first_slice
from mimseg.data.labels.drawn import MARK, Algorithm, Drawn
from mimseg.data.labels.seg_nrrd import TISSUE
from mimseg.data.labels.structures import Code, Label, distinct_color
from mimseg.data.volume import Grid
from mimseg.data.writers.series_headers import source_headers
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.formats import format_of, is_dicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SERIES_OFFSET = 1000
# By it a file of ours is known again.
MANUFACTURER = "MIMSegment"
# Characters of a segment's name, and of other texts.
LONGEST_NAME = 64


def refuse_other_sources(scan: Path, output: Path, reporter: Reporter | None = None) -> None:
    """Refuse to write a DICOM segmentation where that would fail; judged before anything is computed.

    Args:
        scan: The (first) image of the case.
        output: The file to write; other formats are never refused.
        reporter: Is told which elements of the series cannot be repeated, never their values.

    Raises:
        UserError: `scan` is no folder or file of DICOM, no segmentation can quote it, or highdicom is missing.
    """
    written = format_of(output)
    if written is None or not written.dicom:
        return
    if scan.is_file() and not is_dicom(scan):
        raise _no_dicom(f"{scan} is no DICOM", output)
    need("highdicom")
    plane = first_slice(scan)
    if plane is None:
        return  # Reading it says what is wrong.
    headers, left_out = source_headers([plane.path])
    x, y, z = (float(value) for value in plane.position)
    direction = np.stack([*plane.axes, plane.normal], axis=1)
    grid = Grid((*plane.size, 1), (*plane.spacing, 1.0), (x, y, z), direction)
    empty = _segmentation(headers, Drawn(np.zeros(grid.size, np.uint8), grid), scan)
    repeated = [name for name in left_out if name in empty]
    if repeated and reporter is not None:
        reporter.warning(
            "dicom-elements",
            f"{scan}: {', '.join(repeated)} of this series cannot be read as the standard wants, and stay empty in "
            f"{output.name}.",
        )


def write(path: Path, drawn: Drawn) -> None:
    """Write a binary segmentation with a segment for each structure that occurs.

    If none does, every structure of the table is there with one empty frame: it was looked for and not found.

    Raises:
        UserError: The grid is not of a DICOM series, or highdicom is missing.
        OSError: It cannot be written.
    """
    source = drawn.grid.source
    if source is None or not source.dicom:
        raise _no_dicom("the scan is no DICOM", path)
    headers, _ = source_headers(source.dicom)
    _segmentation(headers, drawn, source.dicom[0].parent).save_as(path)


def _segmentation(headers: Sequence[Dataset], drawn: Drawn, scan: Path) -> Dataset:
    """The object of what is drawn on the slices with these headers.

    Raises:
        UserError: They cannot be quoted. Reasons of libraries quote the patient, and stay here.
    """
    log = logging.getLogger("highdicom")
    level = log.level
    try:
        with warnings.catch_warnings():
            # Both are about values of the series against the standard, which they quote.
            warnings.simplefilter("ignore")
            log.setLevel(logging.CRITICAL)
            return _built(headers, drawn)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise UserError(
            f"The headers of {scan} are not as the standard wants: no DICOM segmentation can quote them.",
            "Export the series again from the archive, or write .seg.nrrd or .nii.gz.",
            "not-dicom",
        ) from None
    finally:
        log.setLevel(level)


def _built(headers: Sequence[Dataset], drawn: Drawn) -> Dataset:
    highdicom = need("highdicom")
    segments = _segments(drawn)
    frames = _frames(drawn, segments)
    place: dict[str, Any] = {}
    if not frames.any():
        frames = frames[:1]
    if len(frames) == 1 or drawn.grid.source is None or not drawn.grid.source.planes:
        place = _place(drawn.grid, len(frames))
    drawers = [drawn.drawer(label.value) for label in segments]
    named = sorted({one.name for one in drawers if one})
    versions = sorted({f"{one.name} {one.version}" for one in drawers if one})
    written = highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=frames,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            _described(number, label, algorithm, drawn.mark)
            for number, (label, algorithm) in enumerate(zip(segments, drawers, strict=True), 1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=max(0, int(headers[0].get("SeriesNumber") or 0)) + _SERIES_OFFSET,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=_short(", ".join(named) or "mimseg"),
        software_versions=__version__,
        device_serial_number="0",
        content_label="SEGMENTATION",
        content_description=_short(", ".join([*versions, "research use only"])),
        series_description=_short(f"Segmentation by {', '.join(named)}" if named else "Segmentation"),
        **place,
    )
    # Highdicom prefers the headers' own spacing, which may be that of the acquisition, and not that of the slices.
    written.SharedFunctionalGroupsSequence[0].update(_shared_place(drawn.grid, place))
    # Names of structures may need it; the patient's is written anew in it.
    written.SpecificCharacterSet = "ISO_IR 192"
    written.ContentCreatorName = ""
    return written


def _no_dicom(what: str, output: Path) -> UserError:
    return UserError(
        f"{output} cannot be a DICOM segmentation: {what}, and such a file must quote the series that it belongs to.",
        "Give the folder with the DICOM series, or write .seg.nrrd or .nii.gz.",
        "not-dicom",
    )


def _segments(drawn: Drawn) -> list[Label]:
    """The structures that occur, in the order of the table; all of the table if none does."""
    overlapping = drawn.overlapping
    known = {label.value: label for label in drawn.table}
    counts = np.bincount(drawn.labels.ravel(), minlength=1)
    present = {int(value) for value in np.flatnonzero(counts) if value}
    if overlapping is not None:
        present |= {value for value in overlapping.values if value in known and overlapping.of(value).any()}
    others = [Label(value, f"Label {value}", distinct_color(value)) for value in sorted(present - set(known))]
    found = [label for label in (*drawn.table, *others) if label.value in present]
    return found or list(drawn.table) or [Label(1, "Label 1", distinct_color(1))]


def _frames(drawn: Drawn, segments: Sequence[Label]) -> NDArray[np.integer]:
    """Segment numbers `(k, j, i)`, or `(k, j, i, segment)` of 0 and 1 where a voxel may belong to several."""
    if drawn.overlapping is not None:
        return np.stack([drawn.overlapping.of(label.value).T for label in segments], axis=-1).astype(np.uint8)
    table = np.zeros(max(int(drawn.labels.max()), *(label.value for label in segments)) + 1, np.uint16)
    for number, label in enumerate(segments, start=1):
        table[label.value] = number
    return np.ascontiguousarray(table[drawn.labels].T)


def _described(number: int, label: Label, algorithm: Algorithm | None, mark: str) -> Any:
    highdicom = need("highdicom")
    types = highdicom.seg.SegmentAlgorithmTypeValues
    # As in `.seg.nrrd`: without a type it is tissue, 3D Slicer's own default.
    category, kind = (label.category, label.type) if label.type else (TISSUE, TISSUE)
    described = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=" ".join(label.name.split())[:LONGEST_NAME],
        segmented_property_category=_coded(category),
        segmented_property_type=_coded(kind),
        algorithm_type=types.AUTOMATIC if algorithm else types.MANUAL,
        algorithm_identification=_identified(algorithm, mark) if algorithm else None,
        display_color=highdicom.color.CIELabColor.from_rgb(*label.color),
    )
    if label.type and label.modifier:
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            _coded(label.modifier)
        ]
    return described


def _identified(algorithm: Algorithm, mark: str) -> Any:
    highdicom = need("highdicom")
    return highdicom.AlgorithmIdentificationSequence(
        name=_short(algorithm.name),
        family=highdicom.sr.CodedConcept("123109", "DCM", "Artificial Intelligence"),
        version=_short(algorithm.version),
        source="MIMSegment",
        parameters={MARK: mark} if mark else None,
    )


def _coded(code: Code) -> Any:
    return need("highdicom").sr.CodedConcept(code.value, code.scheme, _short(code.meaning) or code.value)


def _shared_place(grid: Grid, place: dict[str, Any]) -> Dataset:
    """Spacing, and orientation where it is not that of the files, of all frames."""
    shared = need("pydicom").Dataset()
    shared.PixelMeasuresSequence = place.get("pixel_measures") or _place(grid, 0)["pixel_measures"]
    if place:
        shared.PlaneOrientationSequence = place["plane_orientation"]
    return shared


def _place(grid: Grid, planes: int) -> dict[str, Any]:
    """Where the planes lie, as Highdicom takes it, for a grid that is not that of the files."""
    highdicom = need("highdicom")
    direction = np.asarray(grid.direction, float)
    corners = grid.to_point(np.array([[0.0, 0.0, k] for k in range(planes)]).reshape(-1, 3))
    patient = highdicom.CoordinateSystemNames.PATIENT
    return {
        "pixel_measures": highdicom.PixelMeasuresSequence(
            pixel_spacing=(grid.spacing[1], grid.spacing[0]),
            slice_thickness=grid.spacing[2],
            spacing_between_slices=grid.spacing[2],
        ),
        "plane_orientation": highdicom.PlaneOrientationSequence(patient, [*direction[:, 0], *direction[:, 1]]),
        "plane_positions": [highdicom.PlanePositionSequence(patient, corner.tolist()) for corner in corners],
    }


def _short(text: str) -> str:
    """Text that fits where the standard allows 64 characters; `\\` would separate values."""
    return " ".join(text.replace("\\", "/").split())[:LONGEST_NAME]
