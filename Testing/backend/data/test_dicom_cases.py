"""DICOM series with segmentations (SEG) or contours (RTSTRUCT) as training data: found, matched by name, read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RecordingReporter
from dicom_files import write_series
from synthetic import ball_scan

from mimseg.cli.main import main
from mimseg.data.cases import load_dataset
from mimseg.data.dicom.contours import fill
from mimseg.data.labels.drawn import Algorithm
from mimseg.data.labels.labelmaps import read_labelmap, write_labelmap
from mimseg.data.labels.scheme import choose_scheme
from mimseg.data.labels.structures import Code, Label
from mimseg.data.labels.truth import read_truth, with_overlaps
from mimseg.data.volume import Volume
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError

pydicom = pytest.importorskip("pydicom")

TURNED = np.linalg.qr(np.random.default_rng(8).normal(size=(3, 3)))[0]
NORMAL = np.cross(*TURNED[:2])
BALL = Label(1, "ball", (200, 10, 10), type=Code("SCT", "10200004", "Liver"))
BLOCK = Label(2, "block", (10, 200, 10))


def write_case(folder: Path, number: int) -> tuple[Volume, np.ndarray]:
    """A series of a ball (1) and a block (2); returns the volume and its labels."""
    image, label = ball_scan(number)
    positions = np.array([[-10.0, 20.0, 30.0] + 0.9 * k * NORMAL for k in range(image.shape[2])])
    write_series(
        folder,
        image.astype(np.int16),
        positions,
        axes=TURNED[:2].ravel(),
        series=f"1.2.3.{number + 1}",
        spacing=(1.0, 1.1),
        tags={"0010|0010": "Secret^Patient"},
    )
    return read_volume(folder), label


def write_seg(path: Path, volume: Volume, label: np.ndarray, table: list[Label], renumber: dict[int, int]) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    labels = np.zeros_like(label)
    for old, new in renumber.items():
        labels[label == old] = new
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labelmap(path, labels, volume.grid, table, Algorithm("somebody", "1"))


def box_contours(volume: Volume, low: tuple[int, int, int], high: tuple[int, int, int]) -> list[np.ndarray]:
    """Rectangles around voxels low..high (both inclusive), one for each slice; corners `(4, 3)` in mm."""
    (i0, j0, k0), (i1, j1, k1) = low, high
    corners = [(i0 - 0.5, j0 - 0.5), (i1 + 0.5, j0 - 0.5), (i1 + 0.5, j1 + 0.5), (i0 - 0.5, j1 + 0.5)]
    return [volume.grid.to_point(np.array([[i, j, float(k)] for i, j in corners])) for k in range(k0, k1 + 1)]


def write_contours(path: Path, structures: dict[str, list[np.ndarray]], series: str = "") -> None:
    """A structure set; the series is named if it is given."""

    def item(**elements: Any) -> Any:
        dataset = pydicom.Dataset()
        for name, value in elements.items():
            setattr(dataset, name, value)
        return dataset

    data = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.481.3", SOPInstanceUID="1.2.8.1", SeriesInstanceUID="1.2.8",
        StudyInstanceUID="1.2.9", Modality="RTSTRUCT", PatientName="Secret^Patient",
        StructureSetROISequence=[item(ROINumber=10 + n, ROIName=name) for n, name in enumerate(structures)],
        ROIContourSequence=[
            item(
                ReferencedROINumber=10 + n,
                ROIDisplayColor=[200, n, 10],
                ContourSequence=[
                    item(
                        ContourGeometricType="CLOSED_PLANAR",
                        NumberOfContourPoints=len(points),
                        ContourData=[float(f"{v:.8g}") for v in points.ravel()],
                    )
                    for points in contours
                ],
            )
            for n, contours in enumerate(structures.values())
        ],
    )  # fmt: skip
    if series:
        named = item(RTReferencedSeriesSequence=[item(SeriesInstanceUID=series)])
        data.ReferencedFrameOfReferenceSequence = [item(RTReferencedStudySequence=[named])]
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def test_series_and_segmentations_are_paired_by_reference_and_segments_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    truths = {}
    for number in range(3):
        case = tmp_path / f"pat{number}"
        volume, label = write_case(case / "CT" if number else case, number)
        table, renumber = ([BALL, BLOCK], {1: 1, 2: 2})
        if number == 1:  # The other order, other numbers.
            table, renumber = [Label(4, "Block", (1, 2, 3)), Label(9, "ball ", (1, 2, 3))], {1: 9, 2: 4}
        if number == 2:  # Another name, the same code.
            table, renumber = [BLOCK, Label(3, "Leber", (1, 2, 3), type=BALL.type)], {1: 3, 2: 2}
        write_seg(case / "SEG" / "seg.dcm" if number else case / "seg.dcm", volume, label, table, renumber)
        truths[f"pat{number}"] = label
    dataset = load_dataset(tmp_path)
    assert [case.identifier for case in dataset.cases] == ["pat0", "pat1", "pat2"]
    assert dataset.flaws == ()
    (tmp_path / "labels.json").write_text(
        '[{"value": 5, "name": "block"}, {"value": 6, "name": "ball", '
        '"type": {"scheme": "SCT", "value": "10200004", "meaning": "Liver"}}]'
    )
    scheme = with_overlaps(
        choose_scheme(dataset, tmp_path / "labels.json", tmp_path), [case.label for case in dataset.cases if case.label]
    )
    for case in dataset.cases:
        assert case.label is not None
        volume = read_volume(case.images[0])
        read = read_truth(case.label, scheme, volume.grid).array
        expected = truths[case.identifier]
        assert np.array_equal(read, np.select([expected == 1, expected == 2], [6, 5]))
    assert main(["check", str(tmp_path), "--labels", str(tmp_path / "labels.json")]) == 0
    assert "Secret" not in "".join(capsys.readouterr())


def test_a_case_in_a_linked_folder_is_found(tmp_path: Path) -> None:
    volume, _ = write_case(tmp_path / "archive" / "p1" / "ct", 0)
    square = box_contours(volume, (3, 4, 5), (8, 9, 7))
    write_contours(tmp_path / "archive" / "p1" / "rt" / "rt.dcm", {"ball": square}, "1.2.3.1")
    (tmp_path / "cohort").mkdir()
    (tmp_path / "cohort" / "p1").symlink_to(tmp_path / "archive" / "p1")
    (case,) = load_dataset(tmp_path / "cohort").cases
    assert (case.identifier, case.images) == ("p1", (tmp_path / "cohort" / "p1" / "ct",))


def test_contours_are_filled_on_the_image_with_holes_and_overlaps(tmp_path: Path) -> None:
    volume, _ = write_case(tmp_path / "a" / "CT", 0)
    outer, hole = box_contours(volume, (2, 3, 4), (9, 10, 8)), box_contours(volume, (4, 5, 5), (6, 7, 6))
    structures = {"shell": outer + hole, "core": box_contours(volume, (3, 3, 4), (5, 12, 5)), "empty": []}
    write_contours(tmp_path / "a" / "RT" / "rs.dcm", structures, "1.2.3.1")
    shell, core = np.zeros((2, *volume.grid.size), bool)
    shell[2:10, 3:11, 4:9], shell[4:7, 5:8, 5:7] = True, False
    core[3:6, 3:13, 4:6] = True
    (case,) = load_dataset(tmp_path).cases
    assert case.label is not None
    reporter = RecordingReporter()
    scheme = with_overlaps(choose_scheme(load_dataset(tmp_path), None, tmp_path), [case.label], reporter)
    assert [label.name for label in scheme.labels] == ["shell", "core"]
    assert reporter.codes == ["overlap-trained"]
    values = read_truth(case.label, scheme, volume.grid).array
    for label, mask in zip(scheme.labels, (shell, core), strict=True):
        assert np.array_equal(np.isin(values, scheme.structures[label.name]), mask), label.name


def test_contours_of_other_planes_are_refused_and_gaps_told(tmp_path: Path) -> None:
    volume, _ = write_case(tmp_path / "CT", 0)
    box = box_contours(volume, (2, 3, 4), (9, 10, 8))
    reporter = RecordingReporter()
    write_contours(tmp_path / "gap.dcm", {"a": [box[0], box[3]]})
    assert read_labelmap(tmp_path / "gap.dcm", volume.grid, reporter).array.any(axis=(0, 1)).sum() == 2
    assert reporter.codes == ["missing-contours"]
    across = volume.grid.to_point(np.array([[2.0, 2, 2], [2, 6, 2], [2, 6, 6], [2, 2, 6]]))
    write_contours(tmp_path / "across.dcm", {"a": [across]})
    with pytest.raises(UserError, match="do not lie on the slices"):
        read_labelmap(tmp_path / "across.dcm", volume.grid)
    for step in ((0, 0, 1000), (1000, 0, 0)):
        write_contours(tmp_path / "far.dcm", {"a": [points + np.array(step) for points in box]})
        with pytest.raises(UserError, match=r"far\.dcm holds a voxel"):
            read_labelmap(tmp_path / "far.dcm", volume.grid)
    write_contours(tmp_path / "none.dcm", {"a": []})
    with pytest.raises(UserError, match="no closed contour"):
        read_labelmap(tmp_path / "none.dcm", volume.grid)


def test_polygons_take_the_pixels_whose_centres_they_hold() -> None:
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = np.stack([7.3 + 5.2 * np.cos(angles), 9.1 + 4.1 * np.sin(angles)], axis=1)
    i, j = np.indices((16, 20))
    inside = ((i - 7.3) / 5.2) ** 2 + ((j - 9.1) / 4.1) ** 2
    found = fill([circle, circle], (16, 20))
    assert found[inside < 0.99].all()
    assert not found[inside > 1.01].any()
    assert fill([circle * [2, 1] - [10, 0]], (16, 20))[0, 9]  # Reaches beyond the picture.


def test_what_belongs_to_no_series_or_doubly_is_told(tmp_path: Path) -> None:
    for number in range(3):
        volume, _ = write_case(tmp_path / f"p{number}" / "CT", number)
        write_contours(
            tmp_path / f"p{number}" / "rs.dcm",
            {"a": box_contours(volume, (2, 3, 4), (9, 10, 8))},
            f"1.2.3.{number + 1}" if number < 2 else "9.9.9",
        )
    (tmp_path / "p0" / "second.dcm").write_bytes((tmp_path / "p0" / "rs.dcm").read_bytes())
    dataset = load_dataset(tmp_path)
    assert [case.identifier for case in dataset.cases] == ["p1"]
    told = {(flaw.code, flaw.case) for flaw in dataset.flaws}
    assert told == {("several-labels", "p0"), ("left-out", "")}
    assert {file for flaw in dataset.flaws for file in flaw.files} == {"rs.dcm", "p2"}


@pytest.mark.train
@pytest.mark.slow
def test_a_model_learns_from_dicom_segmentations_and_writes_one(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    highdicom = pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    from mimseg.commands.finetune.run import finetune
    from mimseg.commands.finetune.settings import FinetuneSettings
    from mimseg.events import Reporter
    from mimseg.networks.unetr_settings import UnetrSettings
    from mimseg.training.loop import Budget

    for number in range(3):
        volume, label = write_case(tmp_path / "data" / f"pat{number}" / "CT", number)
        write_seg(tmp_path / "data" / f"pat{number}" / "seg.dcm", volume, label, [BALL, BLOCK], {1: 1, 2: 2})
    shape = UnetrSettings(
        window=(16, 16, 16), patch_size=8, layers=3, hidden_size=48, mlp_size=48, heads=3, feature_size=8
    )
    model = finetune(
        FinetuneSettings(
            tmp_path / "data", tmp_path / "model", Budget(2), None, shape, validation="pat2", window=(16, 16, 16),
            device="cpu", precision="32-true", validations=1,
        ),
        Reporter(),
    )  # fmt: skip
    scan, output = tmp_path / "data" / "pat0" / "CT", tmp_path / "out.dcm"
    command = [sys.executable, "-m", "mimseg", "segment", str(scan), "-m", str(model), "-o", str(output)]
    assert subprocess.run(command, check=False, timeout=300).returncode == 0
    first = highdicom.seg.segread(output).get_segment_description(1)
    assert first.SegmentLabel in ("ball", "block")
