"""Reading images: geometry kept, everything that is not one scalar volume refused, nothing silently zero."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import RecordingReporter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volume_files import GRID, SIZE, apart_mm, grid_of_itk, grids, ramp, refusal, write

from mimseg.data.images import image_of
from mimseg.data.intensity import Intensity
from mimseg.data.volume import Grid
from mimseg.data.volumes import check_grid, read_channels, read_volume
from mimseg.errors import UserError
from mimseg.formats import IMAGES


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


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_the_type_of_the_voxels_is_kept(tmp_path: Path, dtype: type) -> None:
    volume = read_volume(write(tmp_path / "v.nrrd", ramp(dtype)))
    assert volume.array.dtype == dtype


def test_double_precision_becomes_single(tmp_path: Path) -> None:
    volume = read_volume(write(tmp_path / "v.nrrd", ramp(np.float64) / 3))
    assert volume.array.dtype == np.float32
    assert np.allclose(volume.array, ramp() / 3)


@pytest.mark.parametrize("suffix", IMAGES)
@pytest.mark.parametrize(("shift", "dark"), [(5, 0), (0, 0), (-7, -7), (-1024, -1024)])
def test_non_finite_voxels_are_background_or_the_highest_and_are_reported(
    tmp_path: Path, suffix: str, shift: float, dark: float
) -> None:
    array = ramp(np.float32) - ramp(np.float32).min() + shift
    highest = array.max()
    array[1, 1, 1], array[2, 2, 2], array[3, 3, 3] = np.nan, np.inf, -np.inf
    reporter = RecordingReporter()
    volume = read_volume(write(tmp_path / f"v{suffix}", array), reporter=reporter)
    assert volume.array[1, 1, 1] == volume.array[3, 3, 3] == dark
    assert volume.array[2, 2, 2] == highest
    assert volume.array.dtype == np.float32
    assert reporter.codes == ["non-finite"]
    assert f"3 voxels were NaN or infinite and became {dark} or {highest:g}." in reporter.warnings[0][1]


def test_the_outside_of_a_skull_stripped_brain_is_background(tmp_path: Path) -> None:
    array = ramp(np.float32) + 100
    outside = np.zeros(SIZE, bool)
    outside[:3] = True
    array[outside] = np.nan
    volume = read_volume(write(tmp_path / "brain.nii.gz", array), reporter=RecordingReporter())
    assert (Intensity("zscore").foreground(volume.array[None]) == ~outside).all()


def test_a_scan_larger_than_a_body_is_refused(tmp_path: Path) -> None:
    for spacing in ((300.0, 1.0, 1.0), (1.0, 1.0, 700.0), (250.0, 250.0, 250.0)):
        refusal(write(tmp_path / "v.nii.gz", np.zeros((12, 12, 12), np.int16), Grid((12, 12, 12), spacing)),
                "bad-geometry", "in mm")  # fmt: skip
    whole_body = Grid((12, 12, 12), (50.0, 50.0, 170.0))
    check_grid(whole_body, Path("v"))


def test_non_finite_voxels_of_one_frame_are_found_in_it(tmp_path: Path) -> None:
    frames = [ramp(np.float32) + 5 for _ in range(3)]
    frames[1][4, 3, 2] = np.nan
    sitk.WriteImage(sitk.JoinSeries([image_of(frame, GRID) for frame in frames]), str(tmp_path / "m.nii.gz"))
    for number, count in ((0, 0), (1, 1), (2, 0)):
        reporter = RecordingReporter()
        volume = read_volume(tmp_path / "m.nii.gz", number, reporter)
        assert len(reporter.warnings) == count
        assert volume.array[4, 3, 2] == (0 if count else frames[0][4, 3, 2])


def test_a_constant_image_is_reported(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    read_volume(write(tmp_path / "v.nii.gz", np.full(SIZE, 7, np.int16)), reporter=reporter)
    assert reporter.codes == ["constant"]


def test_only_nan_is_refused(tmp_path: Path) -> None:
    refusal(write(tmp_path / "v.nii", np.full(SIZE, np.nan, np.float32)), "empty")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "nothing.nii.gz", "file-missing")


def test_an_unknown_ending_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    refusal(tmp_path / "picture.png", "unsupported-format", ".nii.gz", ".nrrd")


@pytest.mark.parametrize("suffix", IMAGES)
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


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("first", [True, False])
def test_a_sequence_of_3d_slicer_holds_volumes(tmp_path: Path, encoding: str, first: bool) -> None:
    frames = np.random.default_rng(0).integers(0, 999, (5, 6, 7, 8)).astype("<i2")
    stored, path = frames if first else np.moveaxis(frames, 0, -1), tmp_path / "s.seq.nrrd"

    def axes(one: str, others: str) -> str:
        return f"{one} {others}" if first else f"{others} {one}"

    def save(kind: str) -> None:
        content = stored.tobytes(order="F")
        header = (
            "NRRD0005\ntype: short\ndimension: 4\nspace: left-posterior-superior\nendian: little\n"
            f"sizes: {' '.join(map(str, stored.shape))}\nspace origin: (1,2,3)\nencoding: {encoding}\n"
            f"space directions: {axes('none', '(1,0,0) (0,2,0) (0,0,3)')}\n"
            f"kinds: {axes(kind, 'domain domain domain')}\n\n"
        )
        path.write_bytes(header.encode() + (gzip.compress(content) if encoding == "gzip" else content))

    save("list")
    refusal(path, "needs-frame", "5 volumes", "--frame 4")
    volume = read_volume(path, 3)
    assert np.array_equal(volume.array, frames[3])
    assert (volume.grid.spacing, volume.grid.origin) == ((1.0, 2.0, 3.0), (1.0, 2.0, 3.0))
    save("time")
    assert "to list" in refusal(path, "not-3d", "series over time").hint


def test_a_frame_of_a_plain_volume_is_its_first(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", ramp())
    assert np.array_equal(read_volume(path, 0).array, ramp())
    refusal(path, "no-such-frame", frame=1)


def test_sheared_or_zero_axes_of_other_formats_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mha", ramp(np.uint8))
    header = path.read_bytes()
    assert b"TransformMatrix = 1 0 0 0 1 0" in header
    path.write_bytes(header.replace(b"TransformMatrix = 1 0 0 0 1 0", b"TransformMatrix = 1 .5 0 0 1 0"))
    refusal(path, "bad-geometry", "right angles")
    path.write_bytes(re.sub(rb"ElementSpacing = [0-9.]+", b"ElementSpacing = 0.0", header))
    refusal(path, "bad-geometry")


@pytest.mark.parametrize("key", ["ElementSpacing", "ElementSize"])
@pytest.mark.parametrize("compress", [False, True])
def test_a_negative_voxel_size_is_told_and_read_as_itk_does(tmp_path: Path, compress: bool, key: str) -> None:
    path = write(tmp_path / "v.mha", ramp(), compress=compress)
    before, spacing, after = re.split(rb"ElementSpacing = ([^\n]*)", path.read_bytes(), maxsplit=1)
    x, y, z = spacing.decode().split()
    path.write_bytes(before + f"{key} = -{x} {y} -{z}".encode() + after)
    reporter = RecordingReporter()
    volume = read_volume(path, reporter=reporter)
    assert reporter.codes == ["negative-spacing"]
    assert "its first and third axis" in reporter.warnings[0][1]
    assert apart_mm(volume.grid, grid_of_itk(path)) < 1e-6
    assert np.array_equal(volume.array, ramp())


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
