"""Reading and writing labelmaps, including Slicer segmentations (`.seg.nrrd`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg import formats
from mimseg.data.labels.drawn import Algorithm, Drawn, Overlapping
from mimseg.data.labels.placing import lies_on, place, turned_like
from mimseg.data.labels.seg_nrrd import Segment, merge_segments, read_segments, stray_segments
from mimseg.data.labels.structures import Label
from mimseg.data.opening import open_image
from mimseg.data.reading.opened import ImageFile
from mimseg.data.volume import Grid, Volume
from mimseg.data.volumes import check_grid, describe_grid
from mimseg.data.writing import check_volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.files import replacing

Merge = Callable[[NDArray, Sequence[Segment]], NDArray]


def read_labelmap(
    path: Path,
    like: Grid | None = None,
    reporter: Reporter | None = None,
    orientation: str = "",
    merge: Merge | None = None,
    whole: bool = False,
) -> Volume:
    """Read a labelmap, or a Slicer segmentation as one labelmap.

    Where segments overlap, the later one wins and the reporter is told. A segmentation that covers
    another part of `like`, voxel on voxel (as 3D Slicer may save it), is put in its place; the reporter is told of
    labels beyond `like`, which are left out.

    Args:
        path: A labelmap in any image format, a `.seg.nrrd` file, a DICOM segmentation (SEG) or contours (RTSTRUCT).
        like: The grid it has to lie on, normally the image's; None accepts any.
        reporter: Is told of overlaps and of what is in doubt.
        orientation: How the axes run if the file does not say, as of the image; empty for RAS.
        merge: Makes one labelmap `(i, j, k)` of layers `(L, i, j, k)` and their segments; None takes the values of the
            file.
        whole: Refuse labels beyond `like`.

    Returns:
        Array `(i, j, k)`, uint8 or uint16, on `like` if that is given.

    Raises:
        UserError: Unreadable, not 3D, values that are no whole numbers 0..65535, or on another grid; all labels lie
            beyond `like`, or some with `whole`.
    """
    path, reporter = Path(path), reporter or Reporter()
    if path.is_dir():
        raise UserError(
            f"{path} is a folder, but labels are one file.",
            f"Give that file, ending in {formats.listed(formats.LABELS_READ)}; of DICOM, the file with the structures "
            "(modality SEG or RTSTRUCT).",
            "unsupported-format",
        )
    file = open_image(path, like)
    _refuse_what_is_no_labelmap(file, path)
    array, grid = file.read(0, orientation or formats.UNSAID_ORIENTATION, reporter)
    check_grid(grid, path)
    segments = read_segments(file.header.metadata, path)
    _tell_stray(array, segments, path, reporter)
    if segments and merge is not None:
        array = merge(array if array.ndim == 4 else array[np.newaxis], segments)
    elif segments:
        array, overlap = merge_segments(array, segments)
        if overlap:
            reporter.warning("overlap", f"{path}: segments overlap in {overlap} voxels; the later segment keeps them.")
    elif array.ndim == 4:
        raise UserError(f"{path} has {len(array)} numbers in each voxel.", "Give one label per voxel.", "not-scalar")
    labels = _whole_numbers(array, path)
    if like is None or lies_on(grid, like, path, reporter):
        return Volume(labels, like or grid)
    labels, turned = turned_like(labels, grid, like)
    if lies_on(turned, like, path, reporter):
        return Volume(labels, like)
    placed = place(labels, turned, like) if segments else None
    if placed is None:
        raise UserError(
            f"The labels {path} lie on another grid ({describe_grid(grid)}) than the image ({describe_grid(like)}).",
            "Give labels drawn on this image, or resample them on its grid with nearest-neighbour interpolation.",
            "grid-mismatch",
        )
    _tell_outside(labels, placed, path, reporter, whole)
    return Volume(placed, like)


def read_segment_names(path: Path) -> dict[int, str]:
    """Names of the segments in a `.seg.nrrd` by their value in `read_labelmap`; empty for plain labelmaps."""
    path = Path(path)
    return {segment.value: segment.name for segment in read_segments(open_image(path).header.metadata, path)}


def write_labelmap(
    path: Path,
    labels: NDArray,
    grid: Grid,
    table: Sequence[Label] = (),
    algorithm: Algorithm | None = None,
    overlapping: Overlapping | None = None,
    algorithms: Mapping[int, Algorithm] | None = None,
) -> None:
    """Write labels on exactly `grid`; the ending of `path` chooses the format.

    The file is verified after writing and appears complete or not at all.

    Args:
        path: With an ending of `formats.LABELS_WRITTEN`.
        labels: `(i, j, k)` of whole numbers 0..65535.
        grid: The grid of the labels; NIfTI takes both transforms of the file that it was read from.
        table: Name, colour and codes of each value, for formats that have a place for them.
        algorithm: What drew the labels, for formats that name it.
        overlapping: Where each structure is, for formats in which a voxel may belong to several.
        algorithms: What drew a value, where `algorithm` did not.

    Raises:
        UserError: The ending is not supported, or the file cannot be written.
        ValueError: The array does not fit the grid or holds other numbers.
    """
    path = Path(path)
    found = formats.format_of(path)
    if found is None or not found.writer:
        raise UserError(
            f"{path} has an ending that labels cannot be written to.",
            f"Use one of {formats.listed(formats.LABELS_WRITTEN)}.",
            "unsupported-format",
        )
    if tuple(labels.shape) != tuple(grid.size):
        raise ValueError(f"labels of shape {labels.shape} do not fit a grid of size {grid.size}")
    writer = import_module(f"mimseg.data.writers.{found.writer}")
    # A DICOM segmentation has no slices without a segment.
    size = grid.size[:2] if found.dicom else grid.size
    check = (lambda written: check_volume(written, size)) if found.labels else None
    with replacing(path, check, also=(RuntimeError,)) as temporary:
        writer.write(temporary, Drawn(smallest_type(labels), grid, table, algorithm, overlapping, algorithms or {}))


def smallest_type(labels: NDArray) -> NDArray:
    """Labels as uint8 if they fit, else as uint16.

    Raises:
        ValueError: A value is negative, fractional or above 65535.
    """
    highest, lowest = labels.max(initial=0), labels.min(initial=0)
    if not (lowest >= 0 and highest <= 65535):  # also true of NaN
        raise ValueError(f"label values must lie in 0..65535, got {lowest}..{highest}")
    whole = labels.astype(np.uint8 if highest <= 255 else np.uint16)
    if labels.dtype.kind == "f" and not np.array_equal(whole, labels):
        raise ValueError("label values must be whole numbers")
    return whole


def _refuse_what_is_no_labelmap(file: ImageFile, path: Path) -> None:
    size = file.header.size
    if len(size) != 3 or 0 in size:
        shape = "x".join(str(value) for value in size)
        raise UserError(f"The labels {path} are not a volume ({shape}).", "Give a labelmap of three axes.", "not-3d")
    if file.header.number:
        raise UserError(f"{path} has {file.header.number}.", "Give one label per voxel.", "not-scalar")


def _tell_stray(array: NDArray, segments: Sequence[Segment], path: Path, reporter: Reporter) -> None:
    lost, stray = stray_segments(array, segments) if segments else ([], 0)
    if lost:
        reporter.warning("segment-without-layer", f"{path}: the voxels of {', '.join(lost)} are not in the file.")
    if stray:
        reporter.warning(
            "stray-voxels", f"{path}: {stray} voxels belong to no segment of its header and count as background."
        )


def _tell_outside(labels: NDArray, placed: NDArray, path: Path, reporter: Reporter, refuse: bool) -> None:
    """Tell of labelled voxels that were lost when `labels` were put in their place."""
    drawn, kept = int(np.count_nonzero(labels)), int(np.count_nonzero(placed))
    if kept == drawn:
        return
    if kept == 0:
        raise UserError(
            f"All labelled voxels of {path} lie outside of the image.",
            "Give the image that they were drawn on.",
            "grid-mismatch",
        )
    lost = f"{path}: {drawn - kept} of {drawn} labelled voxels ({1 - kept / drawn:.0%}) lie outside of the image"
    if refuse:
        raise UserError(
            f"{lost}.",
            "Give the image that they were drawn on, or erase what lies beside this one.",
            "outside-image",
        )
    reporter.warning("outside-image", f"{lost} and are left out.")


def _whole_numbers(array: NDArray, path: Path) -> NDArray:
    try:
        return smallest_type(array)
    except ValueError as fault:
        raise UserError(
            f"{path} is no labelmap: {fault}.", "Give whole numbers, 0 for background.", "not-a-labelmap"
        ) from fault
