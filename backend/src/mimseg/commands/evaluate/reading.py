"""Reading a prediction and its reference onto one grid that holds all of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names
from mimseg.data.labels.placing import lies_on, place, union_of
from mimseg.data.volume import Grid, Volume
from mimseg.data.volumes import describe_grid
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.formats import is_dicom

Read = Callable[[Path, Grid | None, Reporter], Volume]
# More voxels than any image has: so far apart are only files of two images.
_MOST_VOXELS = 2**30


def read_pair(
    predicted: Path, reference: Path, reporter: Reporter, read: tuple[Read, Read] = (read_labelmap, read_labelmap)
) -> tuple[Volume, Volume]:
    """Both label maps on one grid.

    3D Slicer saves segmentations cropped to their segments, and a DICOM segmentation has no slices without one. Such
    files are compared on all voxels of both: where a file has none, nothing was drawn.

    Args:
        predicted: The prediction.
        reference: The reference.
        reporter: Is told what is in doubt.
        read: Reads the prediction, and the reference: a path, the grid that it has to lie on or None, the reporter.

    Raises:
        UserError: A file cannot be read, or they lie on different grids.
    """
    expected = read[1](reference, None, reporter)
    try:
        found = read[0](predicted, None, reporter)
        return _on_one_grid(found, expected, predicted, reference, reporter)
    except UserError as fault:
        if not is_dicom(predicted):
            raise
        # Contours have no voxels of their own: without their image they are filled on those of the reference.
        try:
            return read[0](predicted, expected.grid, reporter), expected
        except UserError:
            raise fault from None


def _on_one_grid(
    found: Volume, expected: Volume, predicted: Path, reference: Path, reporter: Reporter
) -> tuple[Volume, Volume]:
    if lies_on(found.grid, expected.grid, predicted, reporter):
        return replace(found, grid=expected.grid), expected
    # A plain label map has the size of its image; only a file of segments may hold a part of it.
    cropped = read_segment_names(predicted) or read_segment_names(reference)
    union = union_of(expected.grid, found.grid) if cropped else None
    if union is not None and union.size[0] * union.size[1] * union.size[2] <= _MOST_VOXELS:
        arrays = [place(volume.array, volume.grid, union) for volume in (found, expected)]
        if arrays[0] is not None and arrays[1] is not None:
            return Volume(arrays[0], union), Volume(arrays[1], union)
    raise UserError(
        f"The prediction {predicted} ({describe_grid(found.grid)}) and the reference {reference} "
        f"({describe_grid(expected.grid)}) lie on different grids.",
        "Compare label maps of one image; resample one on the other's grid with nearest-neighbour interpolation.",
        "grid-mismatch",
    )
