"""Reading and writing labelmaps, including Slicer segmentations (`.seg.nrrd`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg import formats
from mimseg.data.labels.drawn import Algorithm, Drawn, Overlapping
from mimseg.data.labels.seg_nrrd import Segment, merge_segments, read_segments, stray_segments
from mimseg.data.labels.structures import Label
from mimseg.data.nifti.placement import grids_of
from mimseg.data.opening import open_image
from mimseg.data.reading.opened import ImageFile
from mimseg.data.volume import Grid, Volume
from mimseg.data.volumes import check_grid, describe_grid
from mimseg.data.writing import check_volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.files import replacing

Merge = Callable[[NDArray, Sequence[Segment]], NDArray]
# A label map may lie this share of a voxel beside its image: headers are rounded, and nothing is drawn finer.
_BESIDE_VOXELS = 0.1


def read_labelmap(
    path: Path,
    like: Grid | None = None,
    reporter: Reporter | None = None,
    orientation: str = "",
    merge: Merge | None = None,
) -> Volume:
    """Read a labelmap, or a Slicer segmentation as one labelmap.

    Where segments overlap, the later one wins and the reporter is told. A segmentation that covers
    only a part of `like`, voxel on voxel (as 3D Slicer may save it), is put in its place.

    Args:
        path: A labelmap in any image format, a `.seg.nrrd` file, a DICOM segmentation (SEG) or contours (RTSTRUCT).
        like: The grid it has to lie on, normally the image's; None accepts any.
        reporter: Is told of overlaps and of what is in doubt.
        orientation: How the axes run if the file does not say, as of the image; empty for RAS.
        merge: Makes one labelmap `(i, j, k)` of layers `(L, i, j, k)` and their segments; None takes the values of the
            file.

    Returns:
        Array `(i, j, k)`, uint8 or uint16, on `like` if that is given.

    Raises:
        UserError: Unreadable, not 3D, values that are no whole numbers 0..65535, or on another grid.
    """
    path, reporter = Path(path), reporter or Reporter()
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
    if like is None or _lies_on(grid, like, path, reporter):
        return Volume(labels, like or grid)
    placed = _place(labels, grid, like) if segments else None
    if placed is None:
        raise UserError(
            f"The labels {path} lie on another grid ({describe_grid(grid)}) than the image ({describe_grid(like)}).",
            "Give labels drawn on this image, or resample them on its grid with nearest-neighbour interpolation.",
            "grid-mismatch",
        )
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


def _lies_on(grid: Grid, like: Grid, path: Path, reporter: Reporter) -> bool:
    """True if the labels lie on the image, by either transform of either file; the reporter is told of small steps."""
    if grid.same_as(like):
        return True
    if grid.size != like.size:
        return False
    pairs = [(own, its) for own in grids_of(grid) for its in grids_of(like)]
    if any(own.same_as(its) for own, its in pairs[1:]):
        reporter.warning(
            "other-transform",
            f"{path}: these labels were placed by the other of the image's two transforms (qform and sform); voxel by "
            "voxel they fit it.",
        )
        return True
    beside = min(own.apart_from(its) for own, its in pairs)
    if beside > _BESIDE_VOXELS * min(like.spacing):
        return False
    reporter.warning("beside-image", f"{path}: these labels lie {beside:.2g} mm beside the image; they count as on it.")
    return True


def _whole_numbers(array: NDArray, path: Path) -> NDArray:
    try:
        return smallest_type(array)
    except ValueError as fault:
        raise UserError(
            f"{path} is no labelmap: {fault}.", "Give whole numbers, 0 for background.", "not-a-labelmap"
        ) from fault


def _place(labels: NDArray, grid: Grid, like: Grid) -> NDArray | None:
    """Labels on `like` if their voxels coincide with some of its voxels; None if they do not."""
    corners = np.array([np.zeros(3), np.asarray(grid.size) - 1.0])
    indices = like.to_index(grid.to_point(corners))
    start, last = np.rint(indices).astype(int)
    if np.abs(indices - np.rint(indices)).max() > 0.01 or np.any(last - start + 1 != grid.size):
        return None
    placed = np.zeros(like.size, labels.dtype)
    low, high = np.maximum(start, 0), np.minimum(last + 1, like.size)
    if np.any(low >= high):
        return placed
    target = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    source = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    placed[target] = labels[source]
    return placed
