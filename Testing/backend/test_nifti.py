"""NIfTI as it is found: placed as nibabel places it, damaged, big-endian, of version 2, without orientation."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import RecordingReporter
from hypothesis import HealthCheck, given, settings
from volume_files import SIZE, apart_mm, grids, ramp, refusal, write

from mimseg.data.nifti.header import parse_header
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=grids())
def test_nifti_lies_where_nibabel_says(tmp_path: Path, grid: Grid) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([-1, -1, 1, 1]) @ grid.affine
    array = np.random.default_rng(1).integers(-100, 100, grid.size).astype(np.int16)
    path = tmp_path / "by nibabel.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    volume = read_volume(path)
    assert np.array_equal(volume.array, array)
    assert apart_mm(volume.grid, grid) < 2e-3


def test_a_flipped_bit_in_compressed_nifti_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii.gz", ramp(), compress=True)
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF  # in the checksum
    path.write_bytes(content)
    refusal(path, "unreadable", "damaged")


def patch(path: Path, offset: int, layout: str, *values: float) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(layout, content, offset, *values)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("sizes", [(0.0, 1.0, 1.0), (1.0, -2.0, 1.0), (1.0, 1.0, float("nan"))])
def test_voxel_sizes_that_are_not_positive_are_refused(tmp_path: Path, sizes: tuple) -> None:
    path = patch(write(tmp_path / "v.nii", ramp()), 80, "<3f", *sizes)
    refusal(path, "bad-geometry", "not positive")


def test_a_nifti_file_without_orientation_is_read_with_a_warning(tmp_path: Path) -> None:
    path = patch(write(tmp_path / "v.nii", ramp()), 252, "<2h", 0, 0)
    reporter = RecordingReporter()
    read_volume(path, reporter=reporter)
    assert reporter.codes == ["no-orientation"]


def test_a_sheared_sform_without_qform_is_refused_and_with_qform_reported(tmp_path: Path) -> None:
    path = patch(write(tmp_path / "v.nii", ramp(), Grid(SIZE)), 280, "<4f", -1.0, 0.5, 0.0, 0.0)
    reporter = RecordingReporter()
    assert apart_mm(read_volume(path, reporter=reporter).grid, Grid(SIZE)) < 1e-5
    assert reporter.codes == ["sform-ignored"]
    refusal(patch(path, 252, "<h", 0), "bad-geometry", "right angles")


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_2_is_read_like_nifti_1(tmp_path: Path, compressed: bool, order: str) -> None:
    nibabel = pytest.importorskip("nibabel")
    direction = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    grid = Grid(SIZE, (0.7, 1.1, 3.0), (-11.5, 20.25, 30.0), direction)
    image = nibabel.Nifti2Image(ramp(), np.diag([-1, -1, 1, 1]) @ grid.affine)
    image = nibabel.Nifti2Image(ramp().astype(f"{order}i2"), image.affine, image.header.as_byteswapped(order))
    path = tmp_path / ("v.nii.gz" if compressed else "v.nii")
    nibabel.save(image, path)
    header = parse_header(gzip.decompress(path.read_bytes()) if compressed else path.read_bytes())
    assert header is not None
    assert (header.version, header.order) == (2, order)
    volume = read_volume(path)
    assert np.array_equal(volume.array, ramp())
    assert apart_mm(volume.grid, grid) < 1e-4


def test_a_big_endian_nifti_file_is_read(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(ramp().astype(">i2"), np.diag([-0.7, -1.1, 3, 1]))
    nibabel.save(
        nibabel.Nifti1Image(ramp().astype(">i2"), image.affine, image.header.as_byteswapped(">")), tmp_path / "b.nii"
    )
    volume = read_volume(tmp_path / "b.nii")
    assert np.array_equal(volume.array, ramp())
    assert volume.grid.spacing == pytest.approx((0.7, 1.1, 3.0))


def test_an_uncompressed_file_named_gz_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", ramp())
    path.rename(tmp_path / "v.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "v.nii.gz").array, ramp())


def test_gzip_in_several_members_is_read(tmp_path: Path) -> None:
    content = write(tmp_path / "v.nii", ramp()).read_bytes()
    (tmp_path / "m.nii.gz").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    assert np.array_equal(read_volume(tmp_path / "m.nii.gz").array, ramp())
