"""Reading images: geometry kept, everything that is not one scalar volume refused, nothing silently zero."""

from __future__ import annotations

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import RecordingReporter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimseg.data.images import IMAGE_SUFFIXES, image_of
from mimseg.data.nifti import read_nifti_header
from mimseg.data.volume import Grid
from mimseg.data.volumes import find_volumes, read_channels, read_volume
from mimseg.errors import UserError

SIZE = (7, 6, 5)
GRID = Grid(SIZE, (0.7, 1.1, 3.0), (-11.5, 20.25, 30.0))


def write(path: Path, array: np.ndarray, grid: Grid = GRID, compress: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(array, grid), str(path), compress)
    return path


def ramp(dtype: type = np.int16) -> np.ndarray:
    return np.arange(np.prod(SIZE), dtype=dtype).reshape(SIZE)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Oblique, anisotropic, flipped, permuted, far from the origin."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    direction = np.linalg.qr(rng.normal(size=(3, 3)))[0] if draw(st.booleans()) else np.eye(3)
    direction = direction[:, draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    spacing = draw(st.tuples(*[st.floats(0.05, 12.0)] * 3))
    origin = draw(st.tuples(*[st.floats(-1500.0, 1500.0)] * 3))
    size = draw(st.tuples(*[st.integers(2, 9)] * 3))
    return Grid(size, spacing, origin, direction)


def apart_mm(first: Grid, second: Grid) -> float:
    """Largest distance between the same corner of two grids."""
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(first.size) - 1)
    return float(np.abs(first.to_point(corners) - second.to_point(corners)).max())


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=grids(), seed=st.integers(0, 1000))
def test_any_grid_and_its_voxels_are_read_as_written(tmp_path: Path, suffix: str, grid: Grid, seed: int) -> None:
    array = np.random.default_rng(seed).integers(-1000, 3000, grid.size).astype(np.int16)
    volume = read_volume(write(tmp_path / f"volume{suffix}", array, grid))
    assert np.array_equal(volume.array, array)
    assert volume.array.dtype == np.int16
    assert volume.grid.size == grid.size
    # NIfTI stores 32-bit numbers; the others all 64 bits.
    tolerance = 2e-3 if suffix.startswith(".nii") else 1e-9
    assert apart_mm(volume.grid, grid) < tolerance


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


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_the_type_of_the_voxels_is_kept(tmp_path: Path, dtype: type) -> None:
    volume = read_volume(write(tmp_path / "v.nrrd", ramp(dtype)))
    assert volume.array.dtype == dtype


def test_double_precision_becomes_single(tmp_path: Path) -> None:
    volume = read_volume(write(tmp_path / "v.nrrd", ramp(np.float64) / 3))
    assert volume.array.dtype == np.float32
    assert np.allclose(volume.array, ramp() / 3)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_non_finite_voxels_take_the_lowest_value_and_are_reported(tmp_path: Path, suffix: str) -> None:
    array = ramp(np.float32) + 5
    array[1, 1, 1], array[2, 2, 2], array[3, 3, 3] = np.nan, np.inf, -np.inf
    reporter = RecordingReporter()
    volume = read_volume(write(tmp_path / f"v{suffix}", array), reporter=reporter)
    assert volume.array[1, 1, 1] == volume.array[2, 2, 2] == volume.array[3, 3, 3] == 5
    assert reporter.codes == ["non-finite"]
    assert "3 voxels" in reporter.warnings[0][1]


def test_non_finite_voxels_of_one_frame_are_found_in_it(tmp_path: Path) -> None:
    frames = [ramp(np.float32) + 5 for _ in range(3)]
    frames[1][4, 3, 2] = np.nan
    sitk.WriteImage(sitk.JoinSeries([image_of(frame, GRID) for frame in frames]), str(tmp_path / "m.nii.gz"))
    for number, count in ((0, 0), (1, 1), (2, 0)):
        reporter = RecordingReporter()
        volume = read_volume(tmp_path / "m.nii.gz", number, reporter)
        assert len(reporter.warnings) == count
        assert volume.array[4, 3, 2] == (5 if count else frames[0][4, 3, 2])


def test_a_constant_image_is_reported(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    read_volume(write(tmp_path / "v.nii.gz", np.full(SIZE, 7, np.int16)), reporter=reporter)
    assert reporter.codes == ["constant"]


def refusal(path: Path, code: str, *words: str, frame: int | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        read_volume(path, frame)
    assert caught.value.code == code, caught.value
    assert path.name in caught.value.message
    assert caught.value.hint
    for word in words:
        assert word in str(caught.value)
    return caught.value


def test_only_nan_is_refused(tmp_path: Path) -> None:
    refusal(write(tmp_path / "v.nii", np.full(SIZE, np.nan, np.float32)), "empty")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "nothing.nii.gz", "file-missing")


def test_an_unknown_ending_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    refusal(tmp_path / "picture.png", "unsupported-format", ".nii.gz", ".nrrd")


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_text_with_the_ending_of_an_image_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"text{suffix}").write_text("this is not an image\n" * 40)
    refusal(tmp_path / f"text{suffix}", "unreadable")


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".nii", False), (".nii.gz", True), (".nrrd", False), (".nrrd", True), (".mha", False), (".mha", True)],
)
@pytest.mark.parametrize("share", [0.97, 0.6])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, suffix: str, compress: bool, share: float) -> None:
    noise = np.random.default_rng(0).integers(-9999, 9999, (12, 12, 12)).astype(np.int16)
    path = write(tmp_path / f"v{suffix}", noise, Grid((12, 12, 12)), compress)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refusal(path, "unreadable")


def test_a_flipped_bit_in_compressed_nifti_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii.gz", ramp(), compress=True)
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF  # in the checksum
    path.write_bytes(content)
    refusal(path, "unreadable", "damaged")


def test_a_header_without_its_raw_file_is_refused(tmp_path: Path) -> None:
    for suffix in (".mhd", ".nhdr"):
        path = write(tmp_path / f"v{suffix}", ramp())
        (tmp_path / "v.raw").unlink()
        refusal(path, "unreadable")


def test_a_flat_picture_is_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image(8, 9, sitk.sitkInt16), str(tmp_path / "flat.nrrd"))
    refusal(tmp_path / "flat.nrrd", "not-3d", "8x9")
    sitk.WriteImage(sitk.Image([8, 9, 1], sitk.sitkInt16), str(tmp_path / "one slice.nii"))
    refusal(tmp_path / "one slice.nii", "not-3d", "8x9")


def test_colour_and_vectors_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image([4, 5, 6], sitk.sitkVectorUInt8, 3), str(tmp_path / "colour.nrrd"))
    refusal(tmp_path / "colour.nrrd", "not-scalar", "3 numbers")
    sitk.WriteImage(sitk.Image([4, 5, 6], sitk.sitkComplexFloat32), str(tmp_path / "complex.nii"))
    refusal(tmp_path / "complex.nii", "not-scalar", "complex")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_one_frame_of_four_dimensions_is_read_by_number(tmp_path: Path, suffix: str) -> None:
    frames = [image_of(ramp() + 1000 * number, GRID) for number in range(3)]
    path = tmp_path / f"movie{suffix}"
    sitk.WriteImage(sitk.JoinSeries(frames), str(path))
    refusal(path, "needs-frame", "3 volumes", "--frame 2")
    refusal(path, "no-such-frame", frame=3)
    volume = read_volume(path, 2)
    assert np.array_equal(volume.array, ramp() + 2000)
    assert apart_mm(volume.grid, GRID) < 1e-4


def test_a_frame_of_a_plain_volume_is_its_first(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", ramp())
    assert np.array_equal(read_volume(path, 0).array, ramp())
    refusal(path, "no-such-frame", frame=1)


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


def test_sheared_or_zero_axes_of_other_formats_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mha", ramp(np.uint8))
    header = path.read_bytes()
    assert b"TransformMatrix = 1 0 0 0 1 0" in header
    path.write_bytes(header.replace(b"TransformMatrix = 1 0 0 0 1 0", b"TransformMatrix = 1 .5 0 0 1 0"))
    refusal(path, "bad-geometry", "right angles")
    path.write_bytes(re.sub(rb"ElementSpacing = [0-9.]+", b"ElementSpacing = 0.0", header))
    refusal(path, "bad-geometry")


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
    header = read_nifti_header(path)
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


def test_names_with_spaces_and_other_alphabets_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "Aufnahme für Ωmega 脳" / "T1 größer.nii.gz", ramp())
    assert np.array_equal(read_volume(path).array, ramp())


def test_channels_on_one_grid_are_stacked_and_on_another_refused(tmp_path: Path) -> None:
    first, second = write(tmp_path / "t1.nii.gz", ramp()), write(tmp_path / "t2.nrrd", ramp() + 1)
    volume = read_channels([first, second])
    assert volume.array.shape == (2, *SIZE)
    assert np.array_equal(volume.array[1], ramp() + 1)
    other = write(tmp_path / "t3.nrrd", ramp(), Grid(SIZE, (0.7, 1.1, 3.0), (-11.5, 20.25, 31.0)))
    with pytest.raises(UserError) as caught:
        read_channels([first, other])
    assert caught.value.code == "grid-mismatch"
    assert "t3.nrrd" in caught.value.message


def test_volumes_are_found_below_a_folder_without_labels_and_hidden_files(tmp_path: Path) -> None:
    wanted = [write(tmp_path / name, ramp()) for name in ("a/x.nii.gz", "b.nrrd", "c d/e.mha")]
    for name in ("labelsTr/x.nii.gz", "label.nrrd", ".hidden.nii", "b.seg.nrrd"):
        write(tmp_path / name, ramp(np.uint8))
    (tmp_path / "readme.txt").write_text("no")
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    assert find_volumes(tmp_path) == sorted([*wanted, tmp_path / "series"])
    assert find_volumes(wanted[0]) == [wanted[0]]


def test_a_folder_without_volumes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_volumes(tmp_path)
    assert caught.value.code == "no-images"


def test_gzip_in_several_members_is_read(tmp_path: Path) -> None:
    content = write(tmp_path / "v.nii", ramp()).read_bytes()
    (tmp_path / "m.nii.gz").write_bytes(gzip.compress(content[:500]) + gzip.compress(content[500:]))
    assert np.array_equal(read_volume(tmp_path / "m.nii.gz").array, ramp())
