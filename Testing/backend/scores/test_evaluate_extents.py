"""Files that hold another part of one image are compared on all voxels of both: nothing that was drawn is cut away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dicom_files import oblique_series

from mimseg.commands.evaluate.run import score_case
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError

GRID = Grid((30, 30, 20), (1.0, 1.0, 2.0), (5.0, -3.0, 7.0))
LIVER = [Label(1, "liver", (200, 0, 0))]
REFERENCE, FALSE = (slice(5, 10), slice(5, 10), slice(5, 10)), (slice(20, 26), slice(20, 26), slice(10, 16))


def cropped(*parts: tuple[slice, ...]) -> tuple[np.ndarray, Grid]:
    """A label map with these parts on the smallest grid around them, as 3D Slicer may save it."""
    whole = np.zeros(GRID.size, np.uint8)
    for part in parts:
        whole[part] = 1
    box = tuple(slice(int(ends.min()), int(ends.max()) + 1) for ends in np.nonzero(whole))
    part = whole[box]
    origin = GRID.to_point(np.array([[each.start for each in box]], float))[0]
    return part, Grid(part.shape, GRID.spacing, tuple(origin.tolist()))


def dice(predicted: Path, reference: Path) -> float:
    (score,) = score_case("x", predicted, reference, None, 1.0).classes.values()
    return score.dice


@pytest.mark.parametrize("ending", [".seg.nrrd", ".nii.gz"])
def test_false_voxels_beside_a_cropped_reference_count(tmp_path: Path, ending: str) -> None:
    labels = np.zeros(GRID.size, np.uint8)
    labels[REFERENCE] = labels[FALSE] = 1
    write_labelmap(tmp_path / f"p{ending}", labels, GRID, LIVER)
    write_labelmap(tmp_path / "r.seg.nrrd", *cropped(REFERENCE), LIVER)
    assert dice(tmp_path / f"p{ending}", tmp_path / "r.seg.nrrd") == pytest.approx(2 * 125 / (125 + 125 + 216))


def test_missed_voxels_beside_a_cropped_prediction_count(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "p.seg.nrrd", *cropped(REFERENCE), LIVER)
    write_labelmap(tmp_path / "r.seg.nrrd", *cropped(REFERENCE, FALSE), LIVER)
    assert dice(tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd") == pytest.approx(2 * 125 / (125 + 125 + 216))


def test_two_cropped_files_with_no_common_voxel_have_nothing_in_common(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "p.seg.nrrd", *cropped(FALSE), LIVER)
    write_labelmap(tmp_path / "r.seg.nrrd", *cropped(REFERENCE), LIVER)
    assert dice(tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd") == 0


def test_files_so_far_apart_that_they_cannot_be_of_one_image_are_refused(tmp_path: Path) -> None:
    labels, grid = cropped(REFERENCE)
    write_labelmap(tmp_path / "p.seg.nrrd", labels, grid, LIVER)
    far = Grid(grid.size, grid.spacing, (grid.origin[0] + 1e4, grid.origin[1] + 1e4, grid.origin[2] + 1e4))
    write_labelmap(tmp_path / "r.seg.nrrd", labels, far, LIVER)
    with pytest.raises(UserError, match=r"p\.seg\.nrrd.*r\.seg\.nrrd") as caught:
        score_case("x", tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd", None, 1.0)
    assert caught.value.code == "grid-mismatch"


def test_plain_label_maps_of_another_size_are_refused(tmp_path: Path) -> None:
    labels, grid = cropped(REFERENCE)
    write_labelmap(tmp_path / "p.nii.gz", labels, grid)
    write_labelmap(tmp_path / "r.nii.gz", np.ones(GRID.size, np.uint8), GRID)
    with pytest.raises(UserError) as caught:
        score_case("x", tmp_path / "p.nii.gz", tmp_path / "r.nii.gz", None, 1.0)
    assert caught.value.code == "grid-mismatch"


def test_dicom_segmentations_hold_only_slices_with_segments_but_all_slices_count(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    oblique_series(tmp_path / "scan")
    grid = read_volume(tmp_path / "scan").grid
    reference = np.zeros(grid.size, np.uint8)
    reference[2:6, 2:6, 2:4] = 1
    predicted = reference.copy()
    predicted[2:6, 2:6, 6:8] = 1
    write_labelmap(tmp_path / "p.dcm", predicted, grid, LIVER)
    write_labelmap(tmp_path / "r.dcm", reference, grid, LIVER)
    assert dice(tmp_path / "p.dcm", tmp_path / "r.dcm") == pytest.approx(2 / 3)
