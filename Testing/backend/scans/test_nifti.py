"""NIfTI as it is found: placed as nibabel places it, damaged, big-endian, of version 2, without orientation."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from conftest import RecordingReporter
from hypothesis import HealthCheck, given, settings
from volume_files import SIZE, apart_mm, grid_of_itk, grids, ramp, refusal, write

from mimseg.data.labels.labelmaps import read_labelmap, write_labelmap
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


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_an_offset_of_0_means_right_behind_the_header(tmp_path: Path, dtype: type) -> None:
    path = patch(write(tmp_path / "v.nii", ramp(dtype)), 108, "<f", 0.0)
    assert np.array_equal(read_volume(path).array, ramp(dtype))


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), -float("inf"), -352.0, 4.0, 348.0])
def test_offsets_inside_the_header_or_nowhere_are_refused(tmp_path: Path, offset: float) -> None:
    refusal(patch(write(tmp_path / "v.nii", ramp()), 108, "<f", offset), "unreadable", "vox_offset")


def test_an_offset_behind_the_end_is_refused(tmp_path: Path) -> None:
    refusal(patch(write(tmp_path / "v.nii", ramp()), 108, "<f", 1e9), "unreadable", "cut off")


@pytest.mark.parametrize("compressed", [True, False])
def test_extensions_before_the_voxels_are_passed_over(tmp_path: Path, compressed: bool) -> None:
    content = patch(write(tmp_path / "v.nii", ramp()), 108, "<f", 352.0 + 64).read_bytes()
    content = content[:348] + b"\1\0\0\0" + struct.pack("<2i", 64, 6) + b"x" * 56 + content[352:]
    path = tmp_path / ("e.nii.gz" if compressed else "e.nii")
    path.write_bytes(gzip.compress(content) if compressed else content)
    reporter = RecordingReporter()
    assert np.array_equal(read_volume(path, reporter=reporter).array, ramp())
    assert reporter.codes == []


@pytest.mark.parametrize(
    ("slope", "intercept", "expected", "codes"),
    [
        (0.0, 0.0, lambda a: a, []),
        (0.0, 5.0, lambda a: a, []),
        (1.0, 0.0, lambda a: a, []),
        (2.0, -7.0, lambda a: 2 * a - 7, []),
        (-1.0, 0.0, lambda a: -a, []),
        (1.0, -1024.0, lambda a: a - 1024, []),
        (float("nan"), 3.0, lambda a: a, ["scale-ignored"]),
        (float("inf"), 0.0, lambda a: a, ["scale-ignored"]),
        (2.0, float("nan"), lambda a: 2 * a, ["scale-ignored"]),
    ],
)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_slope_and_intercept_are_applied_as_the_standard_says(
    tmp_path: Path, dtype: type, slope: float, intercept: float, expected: object, codes: list[str]
) -> None:
    path = patch(write(tmp_path / "v.nii", ramp(dtype)), 112, "<2f", slope, intercept)
    reporter = RecordingReporter()
    assert np.allclose(read_volume(path, reporter=reporter).array, expected(ramp(np.float64)))  # type: ignore[operator]
    assert reporter.codes == codes


def test_bytes_behind_the_end_of_the_compressed_data_are_left_out_and_told(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii.gz", ramp(), compress=True)
    path.write_bytes(path.read_bytes() + b"junk after the end")
    reporter = RecordingReporter()
    assert np.array_equal(read_volume(path, reporter=reporter).array, ramp())
    assert reporter.codes == ["trailing-bytes"]


def test_more_voxels_than_the_header_says_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", ramp())
    path.write_bytes(path.read_bytes() + bytes(100))
    reporter = RecordingReporter()
    read_volume(path, reporter=reporter)
    assert reporter.codes == ["more-than-header"]


def test_a_header_that_asks_for_the_world_costs_no_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii.gz", ramp(), compress=True)
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<3h", content, 42, 32000, 32000, 32000)
    path.write_bytes(gzip.compress(bytes(content)))
    refusal(path, "unreadable", "cut off")


def transforms(path: Path) -> tuple:
    """qform and sform with their codes, voxel sizes and unit as nibabel sees them."""
    header = pytest.importorskip("nibabel").load(path).header
    return (
        header.get_qform(), int(header["qform_code"]), header.get_sform(), int(header["sform_code"]),
        header["pixdim"][:4], int(header["xyzt_units"]) & 7,
    )  # fmt: skip


def turned(grid: Grid, degrees: float, shift: float) -> np.ndarray:
    """The RAS affine of `grid`, turned around z and moved along x."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    motion = np.array([[cos, -sin, 0, shift], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return motion @ np.diag([-1, -1, 1, 1]) @ grid.affine


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("codes", "degrees", "shift", "sheared", "warned"),
    [
        ((1, 1), 0, 0, False, []),
        ((4, 4), 0, 0, False, []),
        ((0, 4), 0, 20, False, []),
        ((2, 0), 0, 20, False, []),
        ((1, 2), 0, 20, False, ["sform-ignored"]),
        ((2, 1), 10, 5, False, ["qform-ignored"]),
        ((1, 4), 0, 3, True, ["sform-ignored"]),
        ((0, 0), 0, 0, False, ["no-orientation"]),
        ((-1, 0), 0, 0, False, ["no-orientation"]),
    ],
)
def test_results_keep_both_transforms_and_codes_of_their_scan(
    tmp_path: Path, suffix: str, codes: tuple[int, int], degrees: float, shift: float, sheared: bool, warned: list[str]
) -> None:
    nibabel = pytest.importorskip("nibabel")
    grid = Grid(SIZE, (0.7, 1.1, 3.0), (-11.5, 20.25, 30.0))
    image = nibabel.Nifti1Image(ramp(), None)
    sform = turned(grid, degrees, shift)
    sform[0, 1] += 0.2 if sheared else 0.0
    image.header.set_qform(turned(grid, 0, 0), 1)
    image.header.set_sform(sform, 1)
    image.header["qform_code"], image.header["sform_code"] = codes
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / f"scan{suffix}")
    reporter = RecordingReporter()
    volume = read_volume(tmp_path / f"scan{suffix}", reporter=reporter)
    assert reporter.codes == warned
    labels = (ramp() % 3).astype(np.uint8)
    write_labelmap(tmp_path / "result.nii.gz", labels, volume.grid)
    for before, after in zip(
        transforms(tmp_path / f"scan{suffix}"), transforms(tmp_path / "result.nii.gz"), strict=True
    ):
        assert np.allclose(before, after, atol=1e-6)
    assert np.array_equal(nibabel.load(tmp_path / "result.nii.gz").dataobj, labels)
    assert np.array_equal(read_labelmap(tmp_path / "result.nii.gz", volume.grid).array, labels)


@pytest.mark.parametrize("codes", [(q, s) for q in (-1, 0, 1, 2, 4) for s in (-1, 0, 1, 2, 4) if max(q, s) > 0])
def test_of_two_transforms_the_one_of_itk_and_3d_slicer_is_used(tmp_path: Path, codes: tuple[int, int]) -> None:
    nibabel = pytest.importorskip("nibabel")
    grid = Grid(SIZE, (0.7, 1.1, 3.0), (-11.5, 20.25, 30.0))
    image = nibabel.Nifti1Image(ramp(), None)
    image.header.set_qform(turned(grid, 0, 0), 1)
    image.header.set_sform(turned(grid, 20, 7), 1)
    image.header["qform_code"], image.header["sform_code"] = codes
    nibabel.save(image, tmp_path / "v.nii")
    itk = grid_of_itk(tmp_path / "v.nii")
    assert apart_mm(read_volume(tmp_path / "v.nii").grid, itk) < 1e-3


@pytest.mark.parametrize(
    ("codes", "warned"),
    [
        ((9, 0), True),
        ((0, 300), True),
        ((0, 70000), True),
        ((9, 9), True),
        ((1, 9), False),
        ((9, 1), False),
        ((5, 0), False),
        ((-70000, 5), False),
    ],
)
def test_codes_that_nifti_does_not_know_are_told_and_results_lie_on_their_scan_in_every_program(
    tmp_path: Path, codes: tuple[int, int], warned: bool
) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = turned(Grid(SIZE, (0.7, 1.1, 3.0), (-11.5, 20.25, 30.0)), 20, 7)
    path = tmp_path / "v.nii"
    nibabel.save(nibabel.Nifti2Image(ramp(), affine), path)
    patch(path, 344, "<2i", *codes)
    reporter = RecordingReporter()
    volume = read_volume(path, reporter=reporter)
    assert reporter.codes == (["unknown-transform-code"] if warned else [])
    assert np.allclose(volume.grid.affine, np.diag([-1, -1, 1, 1]) @ affine, atol=1e-5)
    write_labelmap(tmp_path / "result.nii", np.ones(SIZE, np.uint8), volume.grid)
    assert apart_mm(read_volume(tmp_path / "result.nii").grid, volume.grid) < 1e-3
    assert apart_mm(grid_of_itk(tmp_path / "result.nii"), volume.grid) < 1e-3
    assert np.allclose(nibabel.load(tmp_path / "result.nii").affine, nibabel.load(path).affine, atol=1e-5)


def test_numbers_that_only_nifti2_can_hold_are_not_passed_on(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / "v.nii"
    nibabel.save(nibabel.Nifti2Image(ramp(), np.diag([2.0, 2.0, 3.0, 1.0])), path)
    patch(path, 344, "<2i", 1, 0)
    patch(path, 400, "<12d", *[1e300] * 12)
    volume = read_volume(path)
    write_labelmap(tmp_path / "result.nii", np.ones(SIZE, np.uint8), volume.grid)
    assert apart_mm(read_volume(tmp_path / "result.nii").grid, volume.grid) < 1e-3
    patch(path, 104, "<4d", 1, 1e300, 1, 1)
    refusal(path, "bad-geometry", "far too large")


def test_a_broken_transform_is_not_passed_on(tmp_path: Path) -> None:
    path = patch(write(tmp_path / "v.nii", ramp()), 280, "<12f", *[float("nan")] * 12)
    volume = read_volume(path)
    write_labelmap(tmp_path / "result.nii.gz", np.ones(SIZE, np.uint8), volume.grid)
    _, qform_code, sform, sform_code, _, _ = transforms(tmp_path / "result.nii.gz")
    assert (qform_code, sform_code) == (1, 1)
    assert np.allclose(sform, np.diag([-1, -1, 1, 1]) @ volume.grid.affine, atol=1e-5)


@pytest.mark.parametrize(("shear", "codes"), [(1e-5, []), (0.02, ["shear-straightened"]), (0.2, None)])
def test_a_slight_shear_is_straightened_and_a_strong_one_refused(
    tmp_path: Path, shear: float, codes: list[str] | None
) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([1.0, 1, 1, 1])
    affine[0, 1] = shear
    image = nibabel.Nifti1Image(ramp(), None)
    image.header.set_sform(affine, 1)
    nibabel.save(image, tmp_path / "v.nii")
    if codes is None:
        refusal(tmp_path / "v.nii", "bad-geometry", "right angles")
        return
    reporter = RecordingReporter()
    volume = read_volume(tmp_path / "v.nii", reporter=reporter)
    assert reporter.codes == codes
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(SIZE) - 1.0)
    true = (corners @ affine[:3, :3].T) * [-1, -1, 1]
    assert np.abs(volume.grid.to_point(corners) - true).max() < 0.1
    assert np.allclose(volume.grid.direction.T @ volume.grid.direction, np.eye(3), atol=1e-12)
    write_labelmap(tmp_path / "l.nii.gz", np.ones(SIZE, np.uint8), volume.grid)
    assert np.allclose(transforms(tmp_path / "l.nii.gz")[2], affine, atol=1e-6)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=grids())
def test_written_qform_and_sform_both_say_the_grid(tmp_path: Path, grid: Grid) -> None:
    write_labelmap(tmp_path / "l.nii", np.ones(grid.size, np.uint8), grid)
    qform, _, sform, _, _, _ = transforms(tmp_path / "l.nii")
    expected = np.diag([-1, -1, 1, 1]) @ grid.affine
    assert np.allclose(sform, expected, atol=1e-3)
    assert np.allclose(qform, expected, atol=1e-2)
