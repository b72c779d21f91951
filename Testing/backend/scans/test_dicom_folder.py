"""What else lies in a DICOM folder: copies, damaged and multi-frame files, mosaics, other objects, or no image."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import RecordingReporter
from dicom_files import SERIES, refusal, straight, write_series, write_slice

from mimseg.data.dicom.pixels import is_cut_off
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (6, 5, 8)).astype(np.int16)


def test_copies_of_a_file_count_once(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8))
    for path in list(tmp_path.iterdir())[:3]:
        (tmp_path / f"copy of {path.name}").write_bytes(path.read_bytes())
    assert np.array_equal(read_volume(tmp_path).array, voxels)


def test_one_slice_is_no_volume(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels[:, :, :1], straight(1))
    refusal(tmp_path, "not-3d", "one slice")


def test_a_damaged_file_does_not_spoil_the_folder_but_its_gap_is_found(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8))
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"rubbish" * 9)
    reporter = RecordingReporter()
    assert np.array_equal(read_volume(tmp_path, reporter=reporter).array, voxels)
    assert reporter.codes == ["dicom-skipped"]
    assert "broken.dcm" in reporter.warnings[0][1]
    middle = next(path for path in tmp_path.iterdir() if path.name.endswith("-4.dcm"))
    middle.write_bytes(middle.read_bytes()[:200])
    refusal(tmp_path, "dicom-missing-slices", "1 after slice 4")


def test_a_slice_that_is_cut_off_is_not_read_as_whole(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8))
    victim = next(path for path in tmp_path.iterdir() if path.name.endswith("-4.dcm"))
    victim.write_bytes(victim.read_bytes()[:-24])
    assert victim.name in refusal(tmp_path, "unreadable", "cut off").message


SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
}


@pytest.mark.parametrize("kept", [None, 0.5])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_element_with_too_few_pixels_is_not_filled_up(
    tmp_path: Path, voxels: np.ndarray, syntax: str, kept: float | None
) -> None:
    """The element ends where it says, so that the file looks whole; a small preview before it is none of the pixels."""
    pydicom = pytest.importorskip("pydicom")
    write_series(tmp_path, voxels, straight(8))
    for path in tmp_path.iterdir():
        data = pydicom.dcmread(path)
        pixels = data.pixel_array.astype(">i2" if syntax == "big endian" else "<i2").tobytes()
        if kept and path.name.endswith("-4.dcm"):
            pixels = pixels[: int(kept * len(pixels)) // 2 * 2]
        icon = pydicom.Dataset()
        icon.Rows = icon.Columns = 2
        icon.BitsAllocated, icon.PixelData = 16, b"12345678"
        icon["PixelData"].VR = "OW"
        data.IconImageSequence, data.PixelData = [icon], pixels
        data.file_meta.TransferSyntaxUID = SYNTAXES[syntax]
        big = {"little_endian": syntax != "big endian", "implicit_vr": syntax == "implicit"}
        pydicom.dcmwrite(path, data, **({} if syntax == "deflated" else big))
    if kept is None:
        assert np.array_equal(read_volume(tmp_path).array, voxels)
    else:
        assert "-4.dcm" in refusal(tmp_path, "unreadable", "cut off").message


def test_pixels_that_are_compressed_and_end_too_early_are_noticed(tmp_path: Path, voxels: np.ndarray) -> None:
    pydicom = pytest.importorskip("pydicom")
    write_series(tmp_path, voxels[:, :, :1], straight(1))
    (path,) = tmp_path.iterdir()
    data = pydicom.dcmread(path)
    data.compress(pydicom.uid.RLELossless)
    data.save_as(path)
    assert not is_cut_off(path.read_bytes())
    assert is_cut_off(path.read_bytes()[:-8])


@pytest.mark.shared_data
def test_a_real_compressed_slice_that_is_cut_off_is_not_read_as_whole(shared_data: Path, tmp_path: Path) -> None:
    for source in (shared_data / "dicom" / "ct_totalseg_j2k").iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    victim = sorted(tmp_path.iterdir())[10]
    victim.write_bytes(victim.read_bytes()[:-50_000])
    with pytest.raises(UserError) as caught:
        read_volume(tmp_path)
    assert caught.value.code in ("unreadable", "dicom-missing-slices")


def test_a_multi_frame_file_is_read_if_its_frames_say_where_they_lie(tmp_path: Path, voxels: np.ndarray) -> None:
    pydicom = pytest.importorskip("pydicom")
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T).astype(np.uint8))
    image.SetSpacing((0.5, 0.75, 2.0))
    sitk.WriteImage(image, str(tmp_path / "all.dcm"))
    data = pydicom.dcmread(tmp_path / "all.dcm")
    data.RescaleIntercept = -3
    data.save_as(tmp_path / "all.dcm")
    volume = read_volume(tmp_path / "all.dcm")
    assert volume.grid.spacing == pytest.approx((0.5, 0.75, 2.0))
    assert np.array_equal(volume.array, voxels.astype(np.uint8).astype(int) - 3)
    del data.PerFrameFunctionalGroupsSequence
    data.save_as(tmp_path / "all.dcm")
    refusal(tmp_path, "dicom-multiframe", "multi-frame")
    refusal(tmp_path / "all.dcm", "dicom-multiframe", "multi-frame")


def test_a_mosaic_is_refused_by_name(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8), tags={"0008|0008": "ORIGINAL\\PRIMARY\\M\\ND\\MOSAIC"})
    refusal(tmp_path, "dicom-mosaic", "mosaic")


def test_other_objects_beside_the_images_are_left_out(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path, voxels, straight(8))
    write_slice(
        tmp_path / "dose.dcm",
        voxels[:, :, 0],
        (0, 0, 0),
        77,
        series=SERIES + ".5",
        tags={"0008|0060": "RTDOSE", "0008|0016": "1.2.840.10008.5.1.4.1.1.481.2"},
    )
    reporter = RecordingReporter()
    assert np.array_equal(read_volume(tmp_path, reporter=reporter).array, voxels)
    assert reporter.codes == []


def test_a_single_file_is_refused_with_the_folder_as_remedy(tmp_path: Path, voxels: np.ndarray) -> None:
    write_series(tmp_path / "série 1", voxels, straight(8))
    fault = refusal(sorted((tmp_path / "série 1").iterdir())[0], "dicom-single-file")
    assert str(tmp_path / "série 1") in fault.hint


def test_a_folder_without_dicom_names_what_could_be_meant(tmp_path: Path, voxels: np.ndarray) -> None:
    refusal(tmp_path, "no-dicom", "no DICOM series")
    write_series(tmp_path / "inner", voxels, straight(8))
    assert re.search(r"\binner\b", refusal(tmp_path, "no-dicom").hint)
