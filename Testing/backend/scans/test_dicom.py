"""DICOM series: what ITK's series reader gets silently wrong is handled or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import RecordingReporter
from dicom_files import SERIES, refusal, set_rescale, straight, write_series, write_slice

from mimseg.data.dicom.geometry import shift_slices
from mimseg.data.dicom.headers import read_slice_header
from mimseg.data.volumes import read_volume


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (6, 5, 8)).astype(np.int16)


def test_a_plain_series_has_the_geometry_and_the_voxels_of_its_slices(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8))
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.array, voxels)
    assert volume.array.dtype == np.int16
    assert volume.grid.spacing == pytest.approx((0.5, 0.75, 2.0))
    assert volume.grid.origin == pytest.approx((-10, 20, 30))
    assert np.allclose(volume.grid.direction, np.eye(3))


def test_slice_distance_counts_and_slice_thickness_does_not(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8, distance=1.25), tags={"0018|0050": "3"})
    assert read_volume(tmp_path).grid.spacing[2] == pytest.approx(1.25)


def test_an_oblique_series_in_reverse_order_equals_itk(tmp_path: Path, voxels: np.ndarray) -> None:
    axes = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0].T
    normal = np.cross(axes[0], axes[1])
    positions = np.array([[1.0, 2.0, 3.0] - 2.5 * k * normal for k in range(8)])
    write_series(tmp_path, voxels, positions, axes=axes[:2].ravel().tolist())
    volume = read_volume(tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    expected = reader.Execute()
    assert np.array_equal(volume.array, sitk.GetArrayFromImage(expected).transpose(2, 1, 0))
    assert volume.grid.spacing == pytest.approx(expected.GetSpacing(), abs=1e-5)
    assert volume.grid.origin == pytest.approx(expected.GetOrigin(), abs=1e-5)
    assert np.allclose(volume.grid.direction.ravel(), expected.GetDirection(), atol=1e-5)


def test_slope_and_intercept_are_those_of_each_slice(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8))
    files = sorted(tmp_path.iterdir(), key=lambda path: int(path.stem.split("-")[1]))
    set_rescale(files[2], "2", "-8")
    set_rescale(files[3], ".5", "7")
    volume = read_volume(tmp_path)
    expected = voxels.astype(np.float32)
    expected[:, :, 2] = expected[:, :, 2] * 2 - 8
    expected[:, :, 3] = expected[:, :, 3] * 0.5 + 7
    assert np.array_equal(volume.array, expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_gantry_tilt_puts_a_ball_where_it_was(tmp_path: Path, sign: int) -> None:
    count, size, spacing, tilt = 16, 24, 1.5, np.deg2rad(20 * sign)
    axes = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)]])
    positions = np.array([[-18.0, -18.0, 2.0 * k] for k in range(count)])
    centre, radius = np.array([1.0, 0.5, 14.0]), 9.0
    ball = np.empty((size, size, count), np.int16)
    for k in range(count):
        i, j = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
        points = positions[k] + spacing * (i[..., None] * axes[0] + j[..., None] * axes[1])
        ball[:, :, k] = 1000 * (np.linalg.norm(points - centre, axis=-1) <= radius)
    write_series(tmp_path, ball, positions, axes=axes.ravel().tolist(), spacing=(spacing, spacing))

    reporter = RecordingReporter()
    volume = read_volume(tmp_path, reporter=reporter)

    assert reporter.codes == ["gantry-tilt"]
    assert "20 degrees" in reporter.warnings[0][1]
    assert volume.grid.spacing[2] == pytest.approx(2 * np.cos(tilt), abs=1e-4)
    assert np.allclose(volume.grid.direction.T @ volume.grid.direction, np.eye(3), atol=1e-6)
    inside = np.argwhere(volume.array > 500)
    assert np.abs(volume.grid.to_point(inside).mean(axis=0) - centre).max() < 0.15
    millilitres = len(inside) * np.prod(volume.grid.spacing) / 1000
    assert millilitres == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.03)


def test_shifting_by_whole_pixels_moves_voxels_and_loses_none() -> None:
    voxels = np.arange(1, 25, dtype=np.int16).reshape(3, 4, 2)
    shifted = shift_slices(voxels, np.array([[0.0, 0.0], [2.0, 1.0]]))
    assert shifted.shape == (5, 5, 2)
    assert np.array_equal(shifted[:3, :4, 0], voxels[:, :, 0])
    assert np.array_equal(shifted[2:, 1:, 1], voxels[:, :, 1])
    assert (shifted[:2, :, 1] == 1).all()


def test_shifting_by_half_a_pixel_averages_neighbours() -> None:
    voxels = np.array([0, 10, 20, 40], np.int16).reshape(4, 1, 1)
    shifted = shift_slices(voxels, np.array([[0.5, 0.0]]))
    assert shifted[:, 0, 0].tolist() == [0, 5, 15, 30, 20]


def test_missing_slices_are_refused_and_located(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels[:, :, :5], straight(8)[[0, 1, 2, 5, 6]])
    refusal(tmp_path, "dicom-missing-slices", "lacks slices", "2 after slice 3")


def test_irregular_distances_are_refused_with_numbers(tmp_path: Path, voxels: np.ndarray) -> None:
    positions = straight(8)
    positions[:, 2] = np.cumsum([0, 1.08, 2.3, 7.0, 1.9, 3.3, 2.7, 4.4])
    write_series(tmp_path, voxels, positions)
    refusal(tmp_path, "dicom-irregular-spacing", "1.08 to 7 mm")


def test_mildly_irregular_distances_are_interpolated_and_reported(tmp_path: Path) -> None:
    positions = straight(8)
    positions[:, 2] += [0, 0.1, -0.1, 0.15, 0, -0.1, 0.1, 0]
    ramp = np.broadcast_to(np.round(100 * positions[:, 2]), (6, 5, 8)).astype(np.int16)
    write_series(tmp_path, ramp, positions)
    reporter = RecordingReporter()
    volume = read_volume(tmp_path, reporter=reporter)
    assert reporter.codes == ["irregular-spacing"]
    assert volume.grid.spacing[2] == pytest.approx(2.0)
    assert np.allclose(volume.array[0, 0], 100 * straight(8)[:, 2], atol=1)


def test_several_series_are_refused_and_counted(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8))
    write_series(tmp_path, voxels[:, :, :3], straight(3), series=SERIES + ".7", prefix="other")
    refusal(tmp_path, "dicom-several-series", "2 DICOM series", "8 CT, 3 CT")


def test_three_localizer_planes_are_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    for index, axes in enumerate(([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1])):
        write_slice(tmp_path / f"{index}.dcm", voxels[:, :, index], (0, 0, 0), index, axes=axes)
    refusal(tmp_path, "dicom-several-orientations", "3 orientations")


def test_slices_of_different_sizes_are_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8))
    write_slice(tmp_path / "odd.dcm", voxels[:4, :, 0], (-10, 20, 46), 99)
    refusal(tmp_path, "dicom-several-sizes", "8 of 6x5", "1 of 4x5")


@pytest.mark.parametrize("by_tag", ["0020|0100", "0018|9087", None])
def test_frames_are_chosen_consistently(tmp_path: Path, voxels: np.ndarray, by_tag: str | None) -> None:
    if by_tag == "0018|9087":
        pytest.importorskip("pydicom", reason="ITK cannot write this tag")
    frames = [voxels, (voxels // 2).astype(np.int16), (voxels // 3).astype(np.int16)]
    for index, frame in enumerate(frames):
        # By tag the numbering runs against the frames: position-first as some scanners do.
        first = 100 * (len(frames) - index) if by_tag else 100 * index
        tags = {by_tag: str(10 * index)} if by_tag == "0020|0100" else {}
        write_series(tmp_path, frame, straight(8), first=first, prefix=f"{'bca'[index]}-", tags=tags)
    if by_tag == "0018|9087":
        set_b_values(tmp_path)
    names = {"0020|0100": "TemporalPositionIdentifier", "0018|9087": "DiffusionBValue", None: "InstanceNumber"}
    refusal(tmp_path, "needs-frame", "3 volumes of 8 slices", names[by_tag])
    refusal(tmp_path, "no-such-frame", frame=3)
    for index, frame in enumerate(frames):
        assert np.array_equal(read_volume(tmp_path, index).array, frame)


def set_b_values(folder: Path) -> None:
    import pydicom

    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.DiffusionBValue = {"b": 0.0, "c": 500.0, "a": 1000.0}[path.name[0]]
        dataset.save_as(path)


def test_series_on_one_grid_are_frames(tmp_path: Path, voxels: np.ndarray) -> None:
    for index in range(3):
        tags = {"0008|0032": f"1200{9 - index:02d}"}
        frame = (voxels + index).astype(np.int16)
        write_series(tmp_path, frame, straight(8), series=f"{SERIES}.{index}", prefix=f"{index}-", tags=tags)
    refusal(tmp_path, "needs-frame", "3 volumes of 8 slices", "series")
    assert np.array_equal(read_volume(tmp_path, 0).array, voxels + 2)  # acquired first


def test_a_frame_with_a_slice_missing_is_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8))
    write_series(tmp_path, voxels[:, :, :7], straight(7), first=100, prefix="b-")
    refusal(tmp_path, "dicom-uneven-frames", "1 positions with 1, 7 positions with 2")


@pytest.mark.shared_data
def test_real_series_with_a_lost_class_uid_hold_19_frames_once_it_is_put_back(
    shared_data: Path, tmp_path: Path
) -> None:
    for source in (shared_data / "dicom" / "ct_gc_4d_tiny").iterdir():
        repaired = source.read_bytes().replace(b"1.2.111.10008.2.1.4.1.1.2", b"1.2.840.10008.5.1.4.1.1.2")
        (tmp_path / source.name).write_bytes(repaired)
    refusal(tmp_path, "needs-frame", "19 volumes of 4 slices")
    volume = read_volume(tmp_path, 18)
    assert volume.grid.size == (3, 2, 4)
    assert volume.grid.spacing == pytest.approx((0.43, 0.43, 0.5))
    assert volume.grid.origin == pytest.approx((-103.378, -112.7536, -729.25))


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("folder", "intercepts", "slopes"),
    [("dicom_intercept", (0.0, 0.01), (1.0, 1.0)), ("dicom_slope", (0.0, 0.0), (1.0, 1.001))],
)
def test_real_slices_with_different_rescaling_are_each_rescaled(
    shared_data: Path, tmp_path: Path, folder: str, intercepts: tuple, slopes: tuple
) -> None:
    pydicom = pytest.importorskip("pydicom")
    expected = []
    for index, source in enumerate(sorted((shared_data / "dicom" / "ct_gc_rescale_varies" / folder).iterdir())):
        repaired = source.read_bytes().replace(b"1.2.111.10008.2.1.4.1.1.2", b"1.2.840.10008.5.1.4.1.1.2")
        (tmp_path / source.name).write_bytes(repaired)
        expected.append(pydicom.dcmread(tmp_path / source.name).pixel_array.T * slopes[index] + intercepts[index])
    assert np.allclose(read_volume(tmp_path).array, np.stack(expected, axis=-1), atol=1e-4)


def edited(folder: Path, voxels: np.ndarray, edit: Callable[[Any, int], None], **options: object) -> Path:
    """A series whose files pydicom has changed, in the order along z."""
    pydicom = pytest.importorskip("pydicom")
    write_series(folder, voxels, straight(8), **options)  # type: ignore[arg-type]
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path)
        edit(dataset, int(dataset.InstanceNumber) - 1)
        dataset.save_as(path)
    return folder


@pytest.mark.parametrize(("modality", "codes"), [("CT", []), ("MR", ["monochrome1"])])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_reversed_display_reverses_no_numbers(
    tmp_path: Path, modality: str, codes: list[str], compressed: bool
) -> None:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (16, 16, 8)).astype(np.int16)

    def edit(dataset: Any, number: int) -> None:
        dataset.PhotometricInterpretation, dataset.Modality = "MONOCHROME1", modality
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1024
        if compressed:
            dataset.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)

    reporter = RecordingReporter()
    volume = read_volume(edited(tmp_path, voxels, edit), reporter=reporter)
    assert np.array_equal(volume.array, 2.0 * voxels - 1024)
    assert reporter.codes == codes


@pytest.mark.parametrize(("slope", "codes"), [("0", ["scale-ignored"]), ("1", [])])
def test_a_rescale_slope_of_zero_is_taken_for_one_and_told(tmp_path: Path, slope: str, codes: list[str]) -> None:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (16, 16, 8)).astype(np.int16)

    def edit(dataset: Any, number: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope if number == 3 else "1", -1024

    reporter = RecordingReporter()
    volume = read_volume(edited(tmp_path, voxels, edit), reporter=reporter)
    assert np.array_equal(volume.array, voxels.astype(int) - 1024)
    assert reporter.codes == codes


def in_palette(dataset: Any, number: int) -> None:
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for element in (0x1101, 0x1102, 0x1103):
        dataset.add_new((0x0028, element), "US", [256, 0, 16])
        dataset.add_new((0x0028, element + 0x100), "OW", bytes(512))


def test_pictures_whose_pixels_are_numbers_of_colours_are_refused(tmp_path: Path, voxels: np.ndarray) -> None:
    refusal(edited(tmp_path, voxels, in_palette), "not-scalar", "a colour picture")


def test_intensities_by_a_table_are_refused_where_one_slice_has_it(tmp_path: Path, voxels: np.ndarray) -> None:
    def edit(dataset: Any, number: int) -> None:
        if number == 7:
            import pydicom

            table = pydicom.Dataset()
            table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [256, 0, 16], "HU", bytes(512)
            table["LUTData"].VR = "OW"
            dataset.ModalityLUTSequence = [table]

    refusal(edited(tmp_path, voxels, edit), "dicom-modality-lut", "-7.dcm gives its intensities by a table")


@pytest.mark.parametrize("shared_by", [8, 2])
def test_slices_that_share_one_instance_uid_all_count(tmp_path: Path, voxels: np.ndarray, shared_by: int) -> None:
    def edit(dataset: Any, number: int) -> None:
        dataset.SOPInstanceUID = f"1.2.3.{number // shared_by}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

    folder = edited(tmp_path, voxels, edit)
    assert np.array_equal(read_volume(folder).array, voxels)
    for path in list(folder.iterdir()):
        (folder / f"copy of {path.name}").write_bytes(path.read_bytes())
    assert np.array_equal(read_volume(folder).array, voxels)


def test_the_grid_remembers_its_slices_in_order(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8))
    source = read_volume(tmp_path).grid.source
    assert source is not None
    assert [path.name.rpartition("-")[2] for path in source.dicom] == [f"{k}.dcm" for k in range(8)]


def test_no_name_of_a_patient_is_read(tmp_path: Path, voxels: np.ndarray) -> None:
    def edit(dataset: Any, number: int) -> None:
        dataset.PatientName, dataset.PatientID = "Doe^Jane", "12345"

    for path in edited(tmp_path, voxels, edit).iterdir():
        assert "Doe" not in repr(read_slice_header(path))
        assert "12345" not in repr(read_slice_header(path))
