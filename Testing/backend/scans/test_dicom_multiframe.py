"""Enhanced multi-frame files and Siemens mosaics: read as the series of slices that they stand for, or refused."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RecordingReporter
from dicom_files import refusal, write_series

from mimseg.data.volumes import read_volume

pydicom = pytest.importorskip("pydicom")

TURNED = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
NORMAL = np.cross(*TURNED[:2])
POSITIONS = np.array([[-10.0, 20.0, 30.0] + 2.5 * k * NORMAL for k in range(8)])
ENHANCED_CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.4.1"


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(1).integers(-1000, 2000, (9, 7, 8)).astype(np.int16)


def group(**elements: Any) -> Any:
    dataset = pydicom.Dataset()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def start(sop_class: str, pixels: np.ndarray, **elements: Any) -> Any:
    """A file of these int16 pixels (frame, row, column) or (row, column)."""
    data = group(
        SOPClassUID=sop_class, SOPInstanceUID="1.2.3.4", SeriesInstanceUID="1.2.3", StudyInstanceUID="1.2.9",
        PatientName="Secret^Patient", PatientID="4711", Modality="CT" if sop_class == ENHANCED_CT else "MR",
        Rows=pixels.shape[-2], Columns=pixels.shape[-1], SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2",
        BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=1, FrameOfReferenceUID="1.2.7",
    )  # fmt: skip
    for name, value in elements.items():
        setattr(data, name, value)
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.PixelData = np.ascontiguousarray(pixels).astype("<i2").tobytes()
    return data


def enhanced(
    path: Path,
    frames: np.ndarray,
    positions: np.ndarray,
    content: Callable[[int], dict[str, Any]] = lambda n: {},
    rescale: Callable[[int], tuple[float, float]] = lambda n: (1, 0),
    edit: Callable[[Any], None] = lambda data: None,
    sop_class: str = ENHANCED_CT,
) -> Path:
    """Frames `(i, j, n)` at `positions[n]`, pixels of 0.5 x 0.75 mm."""
    data = start(sop_class, frames.transpose(2, 1, 0), NumberOfFrames=frames.shape[2])
    data.SharedFunctionalGroupsSequence = [
        group(
            PixelMeasuresSequence=[group(PixelSpacing=[0.75, 0.5], SliceThickness=9)],
            PlaneOrientationSequence=[group(ImageOrientationPatient=[float(v) for v in TURNED[:2].ravel()])],
        )
    ]
    data.PerFrameFunctionalGroupsSequence = [
        group(
            FrameContentSequence=[group(**content(n))],
            PlanePositionSequence=[group(ImagePositionPatient=[float(v) for v in positions[n]])],
            PixelValueTransformationSequence=[group(RescaleSlope=rescale(n)[0], RescaleIntercept=rescale(n)[1])],
        )
        for n in range(frames.shape[2])
    ]
    edit(data)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def as_series(folder: Path, voxels: np.ndarray) -> Any:
    """The same voxels as single slices, which the reader is known to place right."""
    write_series(folder, voxels, POSITIONS, axes=TURNED[:2].ravel())
    return read_volume(folder)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("given", ["file", "folder"])
def test_frames_in_any_order_are_the_series_of_their_slices(
    tmp_path: Path, voxels: np.ndarray, compressed: bool, given: str
) -> None:
    order = np.random.default_rng(2).permutation(8)

    def edit(data: Any) -> None:
        if compressed:
            data.compress(pydicom.uid.RLELossless, generate_instance_uid=False)

    path = enhanced(tmp_path / "one" / "all.dcm", voxels[:, :, order], POSITIONS[order], edit=edit)
    volume, expected = read_volume(path if given == "file" else path.parent), as_series(tmp_path / "many", voxels)
    assert volume.grid.same_as(expected.grid, 1e-6)
    assert np.array_equal(volume.array, expected.array)


def test_each_frame_has_its_own_rescale_and_low_numbers_shown_bright_stay_low(
    tmp_path: Path, voxels: np.ndarray
) -> None:
    def edit(data: Any) -> None:
        data.PhotometricInterpretation = "MONOCHROME1"
        data.compress(pydicom.uid.RLELossless, generate_instance_uid=False)

    path = enhanced(tmp_path / "a.dcm", voxels, POSITIONS, rescale=lambda n: (1 + n, -1024 + n), edit=edit)
    expected = voxels.astype(int) * (1 + np.arange(8)) - 1024 + np.arange(8)
    assert np.array_equal(read_volume(path).array, expected)
    halves = enhanced(tmp_path / "b.dcm", voxels, POSITIONS, rescale=lambda n: (0.5, 0))
    assert np.allclose(read_volume(halves).array, voxels * 0.5)


def test_a_rescale_slope_of_zero_is_taken_for_one_and_told(tmp_path: Path, voxels: np.ndarray) -> None:
    path = enhanced(tmp_path / "a.dcm", voxels, POSITIONS, rescale=lambda n: (0 if n == 3 else 1, -1024))
    reporter = RecordingReporter()
    assert np.array_equal(read_volume(path, reporter=reporter).array, voxels.astype(int) - 1024)
    assert reporter.codes == ["scale-ignored"]


def test_time_points_are_asked_for_and_chosen(tmp_path: Path, voxels: np.ndarray) -> None:
    both = np.concatenate([voxels, voxels + 5], axis=2)[:, :, ::-1]
    path = enhanced(
        tmp_path / "a.dcm",
        both,
        np.concatenate([POSITIONS, POSITIONS])[::-1],
        lambda n: {"TemporalPositionIndex": 2 if n < 8 else 1},
        sop_class=ENHANCED_MR,
    )
    refusal(path, "needs-frame", "2 volumes of 8 slices", "TemporalPositionIndex")
    assert np.array_equal(read_volume(path, 0).array, voxels)
    assert np.array_equal(read_volume(path, 1).array, voxels + 5)


def test_what_makes_no_volume_is_refused_by_name(tmp_path: Path, voxels: np.ndarray) -> None:
    kept = [0, 1, 2, 5, 6, 7]
    missing = enhanced(tmp_path / "gap.dcm", voxels[:, :, kept], POSITIONS[kept])
    refusal(missing, "dicom-missing-slices", "2 after slice 3")
    bent = POSITIONS + np.array([0, 0, 0, 0, 1.1, 0, 0, 0])[:, np.newaxis] * NORMAL
    refusal(enhanced(tmp_path / "bent.dcm", voxels, bent), "dicom-irregular-spacing")
    stacks = enhanced(tmp_path / "stacks.dcm", voxels, POSITIONS, lambda n: {"StackID": "1" if n < 4 else "2"})
    refusal(stacks, "dicom-several-stacks", "2 stacks", "4, 4")

    def turn(data: Any) -> None:
        first = data.PerFrameFunctionalGroupsSequence[0]
        first.PlaneOrientationSequence = [group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]
        del data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        for other in data.PerFrameFunctionalGroupsSequence[1:]:
            other.PlaneOrientationSequence = [group(ImageOrientationPatient=[0, 1, 0, 0, 0, -1])]

    refusal(enhanced(tmp_path / "turn.dcm", voxels, POSITIONS, edit=turn), "dicom-several-orientations")

    def lose(data: Any) -> None:
        del data.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence

    refusal(enhanced(tmp_path / "lost.dcm", voxels, POSITIONS, edit=lose), "dicom-no-geometry", "frame (4)")

    def forget(data: Any) -> None:
        del data.PerFrameFunctionalGroupsSequence[7]

    refusal(enhanced(tmp_path / "short.dcm", voxels, POSITIONS, edit=forget), "dicom-multiframe", "describes 7")

    def color(data: Any) -> None:
        data.PhotometricInterpretation = "PALETTE COLOR"

    refusal(enhanced(tmp_path / "color.dcm", voxels, POSITIONS, edit=color), "not-scalar", "colour picture")


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, voxels: np.ndarray, share: float) -> None:
    path = enhanced(tmp_path / "a.dcm", voxels, POSITIONS)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    error = refusal(path, "unreadable" if share > 0.5 else "dicom-multiframe")
    assert "Secret" not in str(error)


def csa(elements: dict[str, list[str]]) -> bytes:
    """A Siemens CSA header."""
    content = b"SV10\4\3\2\1" + struct.pack("<II", len(elements), 77)
    for name, values in elements.items():
        content += name.encode().ljust(64, b"\0") + struct.pack("<i4siii", len(values), b"FD\0\0", 0, len(values), 77)
        for value in values:
            text = value.encode() + b"\0"
            content += struct.pack("<iiii", len(text), len(text), 77, len(text)) + text + b"\0" * (-len(text) % 4)
    return content


def mosaic(
    path: Path, voxels: np.ndarray, sign: int = 1, header: bool = True, number: bool = True, time: int = 1
) -> Path:
    """The slices `(i, j, k)` as tiles; `sign` tells in which direction they follow each other."""
    width, height, count = voxels.shape
    across = int(np.ceil(np.sqrt(count)))
    tiles = voxels if sign > 0 else voxels[:, :, ::-1]
    picture = np.zeros((across * width, across * height), np.int16)
    for n in range(count):
        row, column = divmod(n, across)
        picture[column * width : (column + 1) * width, row * height : (row + 1) * height] = tiles[:, :, n]
    first = POSITIONS[0] if sign > 0 else POSITIONS[-1]
    corner = first - TURNED[0] * 0.5 * width * (across - 1) / 2 - TURNED[1] * 0.75 * height * (across - 1) / 2
    data = start(
        "1.2.840.10008.5.1.4.1.1.4", picture.T, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
        PixelSpacing=[0.75, 0.5], SpacingBetweenSlices=2.5, SliceThickness=2, InstanceNumber=time,
        AcquisitionNumber=time, ImagePositionPatient=[float(f"{v:.9g}") for v in corner],
        ImageOrientationPatient=[float(f"{v:.9g}") for v in TURNED[:2].ravel()],
    )  # fmt: skip
    data.SOPInstanceUID = f"1.2.3.{time}"
    if number:
        data.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
    if header:
        elements = {
            "NumberOfImagesInMosaic": [str(count)],
            "EchoLinePosition": [],
            "SliceNormalVector": [f"{v:.8f}" for v in sign * NORMAL],
        }
        data.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa(elements))
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(("sign", "number"), [(1, True), (-1, True), (1, False)])
def test_a_mosaic_is_the_series_of_its_tiles(tmp_path: Path, voxels: np.ndarray, sign: int, number: bool) -> None:
    reporter = RecordingReporter()
    path = mosaic(tmp_path / "one" / "a.dcm", voxels, sign, number=number)
    expected = as_series(tmp_path / "many", voxels)
    for given in (path, path.parent):
        volume = read_volume(given, reporter=reporter)
        assert volume.grid.same_as(expected.grid, 1e-5)
        assert np.array_equal(volume.array, expected.array)
    assert reporter.codes == []


def test_several_mosaics_are_time_points(tmp_path: Path, voxels: np.ndarray) -> None:
    for time in (1, 2, 3):
        mosaic(tmp_path / f"{4 - time}.dcm", voxels + time, time=time)
    refusal(tmp_path, "needs-frame", "3 volumes of 8 slices")
    assert np.array_equal(read_volume(tmp_path, 2).array, voxels + 3)


def test_a_mosaic_without_its_private_elements_is_refused_or_doubted(tmp_path: Path, voxels: np.ndarray) -> None:
    refusal(mosaic(tmp_path / "a.dcm", voxels, header=False, number=False), "dicom-mosaic", "how many slices")
    reporter = RecordingReporter()
    volume = read_volume(mosaic(tmp_path / "b.dcm", voxels, header=False), reporter=reporter)
    assert np.array_equal(volume.array, voxels)
    assert reporter.codes == ["mosaic-direction"]


def test_a_result_of_an_enhanced_image_is_a_dicom_segmentation_of_it(tmp_path: Path, voxels: np.ndarray) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    from mimseg.data.labels.drawn import Algorithm
    from mimseg.data.labels.labelmaps import read_labelmap, write_labelmap
    from mimseg.data.labels.structures import Label

    for path in (
        enhanced(tmp_path / "a.dcm", voxels[:, :, ::-1], POSITIONS[::-1]),
        mosaic(tmp_path / "b.dcm", voxels),
    ):
        grid = read_volume(path).grid
        labels = np.zeros(grid.size, np.uint8)
        labels[2:5, 3:6, 1:5] = 4
        output = tmp_path / f"{path.stem}-seg.dcm"
        write_labelmap(output, labels, grid, [Label(4, "a", (1, 2, 3))], Algorithm("tiny", "1"))
        assert np.array_equal(read_labelmap(output, like=grid).array, labels > 0)
        data = pydicom.dcmread(output)
        assert (
            data.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID.startswith("1.2.3")
        )


def test_slices_of_one_file_each_with_groups_are_a_series(tmp_path: Path, voxels: np.ndarray) -> None:
    for k in range(8):

        def name(data: Any, k: int = k) -> None:
            data.SOPInstanceUID = f"1.2.3.4.{k}"

        enhanced(tmp_path / f"{k}.dcm", voxels[:, :, k : k + 1], POSITIONS[k : k + 1], edit=name)
    assert np.array_equal(read_volume(tmp_path).array, voxels)
