"""`mimseg convert`: segmentations become DICOM and back, with names, codes, overlaps, and who drew them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import by_highdicom, oblique_series
from file_limits import files_no_larger_than
from segment_tools import Recorder, settings_for
from tiny_model import write_tiny_bundle

from mimseg.cli.main import main
from mimseg.commands.segment.run import segment
from mimseg.data.images import image_of
from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names
from mimseg.data.labels.redrawing import read_drawn
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume

CODES = "list~SCT^49755003^Morphologically Altered Structure~SCT^108369006^Neoplasm~^^~list~^^~^^"
BY_MODEL = "DICOM.SegmentAlgorithmType:AUTOMATIC|DICOM.SegmentAlgorithmName:lesions ä|MIMSegment.ModelVersion:2.1|"


def run(capsys: pytest.CaptureFixture[str], *arguments: Any, code: int = 0) -> dict[str, Any]:
    assert main(["convert", *map(str, arguments), "--json-lines"]) == code
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def grid(tmp_path: Path) -> Grid:
    oblique_series(tmp_path / "scan")
    return read_volume(tmp_path / "scan").grid


def write_layers(path: Path, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """As 3D Slicer saves two segments that overlap: one of a model's, one drawn by hand."""
    import SimpleITK as sitk

    organ, lesion = np.zeros((2, *grid.size), np.uint8)
    organ[2:12, 2:12, 1:8], lesion[8:14, 4:8, 3:6] = 1, 1
    image = sitk.Compose([image_of(layer, grid) for layer in (organ, lesion)])
    for number, (name, tags) in enumerate((("Organ", ""), ("Lesion", BY_MODEL))):
        entries = {"Name": name, "ID": name, "Layer": str(number), "LabelValue": "1", "Color": "0.8 0.2 0"}
        for key, value in {**entries, "Tags": f"TerminologyEntry:{CODES}|{tags}"}.items():
            image.SetMetaData(f"Segment{number}_{key}", value)
    sitk.WriteImage(image, str(path), True)
    return organ > 0, lesion > 0


def test_a_segmentation_of_slicer_becomes_dicom_with_its_overlaps_codes_and_drawers(
    tmp_path: Path, grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    highdicom = pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    masks = write_layers(tmp_path / "ä b.seg.nrrd", grid)
    output = tmp_path / "ö.dcm"
    assert run(capsys, tmp_path / "ä b.seg.nrrd", "--scan", tmp_path / "scan", "-o", output)["output"] == str(output)
    for number, mask in enumerate(masks, start=1):
        assert np.array_equal(by_highdicom(output, grid, [number]) > 0, mask)
    organ, lesion = highdicom.seg.segread(output).SegmentSequence
    assert (organ.SegmentLabel, lesion.SegmentLabel) == ("Organ", "Lesion")
    assert lesion.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert lesion.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    assert organ.SegmentAlgorithmType == "MANUAL"
    assert "SegmentationAlgorithmIdentificationSequence" not in organ
    assert (lesion.SegmentAlgorithmType, lesion.SegmentAlgorithmName) == ("AUTOMATIC", "lesions ä")
    assert lesion.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "2.1"

    run(capsys, output, "--scan", tmp_path / "scan", "-o", tmp_path / "back.seg.nrrd")
    assert read_segment_names(tmp_path / "back.seg.nrrd") == {1: "Organ", 2: "Lesion"}
    back = read_labelmap(tmp_path / "back.seg.nrrd", like=grid).array
    assert np.array_equal(back, np.select([masks[1], masks[0]], [2, 1]))


def test_a_result_in_slicers_format_becomes_the_same_dicom_as_one_written_at_once(
    tmp_path: Path, grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    highdicom = pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    model = write_tiny_bundle(tmp_path / "tiny")
    for name in ("once.dcm", "later.seg.nrrd"):
        segment(settings_for(model, tmp_path / "scan", tmp_path / name), Recorder())
    run(capsys, tmp_path / "later.seg.nrrd", "--scan", tmp_path / "scan", "-o", tmp_path / "later.dcm")
    once, later = (highdicom.seg.segread(tmp_path / name) for name in ("once.dcm", "later.dcm"))
    for item in once.SegmentSequence:  # The mark of a run, which labels that may have been edited do not get.
        del item.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters
    assert later.SegmentSequence == once.SegmentSequence
    assert later.PixelData == once.PixelData
    assert later.ContentDescription == once.ContentDescription


def test_in_slicers_format_overlapping_segments_keep_all_their_voxels(
    tmp_path: Path, grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = write_layers(tmp_path / "a.seg.nrrd", grid)
    assert main(["convert", str(tmp_path / "a.seg.nrrd"), "-o", str(tmp_path / "b.seg.nrrd")]) == 0
    assert "segments overlap" not in capsys.readouterr().err
    drawn = read_drawn(tmp_path / "b.seg.nrrd", grid)
    assert [label.name for label in drawn.table] == ["Organ", "Lesion"]
    assert drawn.overlapping is not None
    for value, mask in zip((1, 2), masks, strict=True):
        assert np.array_equal(drawn.overlapping.of(value), mask)
    # As 3D Slicer writes it.
    head = (tmp_path / "b.seg.nrrd").read_bytes().split(b"\n\n")[0].decode().splitlines()
    assert "kinds: list domain domain domain" in head
    assert {"Segment0_Layer:=0", "Segment1_Layer:=1", "Segment1_LabelValue:=2"} <= set(head)
    assert "Segment1_Extent:=8 13 4 7 3 5" in head


def test_overlaps_are_told_where_the_format_cannot_hold_them(
    tmp_path: Path, grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    organ, lesion = write_layers(tmp_path / "a.seg.nrrd", grid)
    assert main(["convert", str(tmp_path / "a.seg.nrrd"), "-o", str(tmp_path / "a.nii.gz")]) == 0
    assert "segments overlap" in capsys.readouterr().err
    found = read_labelmap(tmp_path / "a.nii.gz", like=grid).array
    assert np.array_equal(found, np.select([lesion, organ], [2, 1]))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["a.seg.nrrd", "-o", "o.dcm"], "not-dicom"),
        (["a.seg.nrrd", "--scan", "a.seg.nrrd", "-o", "o.dcm"], "not-dicom"),
        (["a.seg.nrrd", "--scan", "other", "-o", "o.dcm"], "grid-mismatch"),
        (["a.seg.nrrd", "--scan", "scan", "-o", "a.seg.nrrd"], "bad-output"),
        (["a.seg.nrrd", "-o", "o.txt"], "bad-output"),
        (["none.seg.nrrd", "--scan", "scan", "-o", "o.dcm"], "file-missing"),
        (["scan", "-o", "o.nii.gz"], "unsupported-format"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    tmp_path: Path,
    grid: Grid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: str,
) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    from dicom_files import straight, write_series

    write_layers(tmp_path / "a.seg.nrrd", grid)
    write_series(tmp_path / "other", np.zeros((20, 14, 9), np.int16), straight(9))
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    told = run(capsys, *arguments, code=2)
    assert told["code"] == code
    assert told["hint"]
    assert sorted(tmp_path.rglob("*")) == before


def test_on_a_full_disk_nothing_is_left(tmp_path: Path, grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    write_layers(tmp_path / "a.seg.nrrd", grid)
    output = tmp_path / "out" / "o.dcm"
    with files_no_larger_than(1500):
        told = run(capsys, tmp_path / "a.seg.nrrd", "--scan", tmp_path / "scan", "-o", output, code=2)
    assert told["code"] == "cannot-write"
    assert not list(output.parent.glob("*"))
