"""DICOM segmentations: what `segment` writes, read back by highdicom; and what is read of those of others."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import RecordingReporter
from dicom_files import SERIES, by_highdicom, oblique_series, straight, write_series
from segment_tools import Recorder, settings_for, write_scan
from tiny_model import LABELS, write_tiny_bundle

from mimseg.cli.main import main
from mimseg.commands.segment.run import segment
from mimseg.data.dicom.codes import rgb_of_cielab
from mimseg.data.labels.drawn import Algorithm, Overlapping
from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names, write_labelmap
from mimseg.data.labels.structures import Code, Label
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError

highdicom = pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
pydicom = pytest.importorskip("pydicom")

MODEL = Algorithm("tiny", "1.0.0")


def test_segment_writes_what_it_writes_to_nifti_with_codes_model_and_references(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    oblique_series(tmp_path / "scan")
    model, output = write_tiny_bundle(tmp_path / "tiny"), tmp_path / "result.dcm"
    told = ["segment", str(tmp_path / "scan"), "-m", str(model), "-o", str(output), "--json-lines"]
    assert main(told) == 0
    text = capsys.readouterr()
    assert "Secret" not in text.out + text.err
    assert "4711" not in text.out + text.err
    assert SERIES not in text.out + text.err
    segment(settings_for(model, tmp_path / "scan", tmp_path / "result.nii.gz"), Recorder())
    expected = read_labelmap(tmp_path / "result.nii.gz")
    assert set(np.unique(expected.array)) == {0, 3, 7}
    found = by_highdicom(output, expected.grid)
    assert np.array_equal(found, np.select([expected.array == 3, expected.array == 7], [1, 2]))

    data = pydicom.dcmread(output)
    source = pydicom.dcmread(next((tmp_path / "scan").iterdir()))
    assert (data.Modality, data.SegmentationType, data.SegmentsOverlap) == ("SEG", "BINARY", "NO")
    assert (data.PatientName, data.PatientID) == (source.PatientName, source.PatientID)
    assert data.StudyInstanceUID == source.StudyInstanceUID
    (referenced,) = data.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == SERIES != data.SeriesInstanceUID
    assert len(referenced.ReferencedInstanceSequence) == 9
    assert data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices == pytest.approx(2.5)
    grey, bright = data.SegmentSequence
    assert [(s.SegmentNumber, s.SegmentLabel) for s in data.SegmentSequence] == [(1, "Grey"), (2, "Bright")]
    assert grey.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert grey.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "SCT"
    assert grey.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
    assert bright.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
    assert grey.SegmentAlgorithmType == "AUTOMATIC"
    identified = grey.SegmentationAlgorithmIdentificationSequence[0]
    assert (identified.AlgorithmName, identified.AlgorithmVersion) == ("tiny", "1.0.0")
    for frame in data.PerFrameFunctionalGroupsSequence:
        assert frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID.startswith(SERIES)


@pytest.mark.parametrize("scan", ["scan.nii.gz", "scan.nrrd"])
def test_a_scan_that_is_no_dicom_is_refused_before_the_model_is_loaded(tmp_path: Path, scan: str) -> None:
    write_scan(tmp_path / scan)
    model, told = write_tiny_bundle(tmp_path / "tiny"), Recorder()
    with pytest.raises(UserError, match=r"DICOM series, or write \.seg\.nrrd") as caught:
        segment(settings_for(model, tmp_path / scan, tmp_path / "result.dcm"), told)
    assert caught.value.code == "not-dicom"
    assert not told.events
    assert not (tmp_path / "result.dcm").exists()


def test_without_highdicom_the_remedy_is_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oblique_series(tmp_path / "scan")
    monkeypatch.setitem(sys.modules, "highdicom", None)
    model = write_tiny_bundle(tmp_path / "tiny")
    with pytest.raises(UserError, match="highdicom") as caught:
        segment(settings_for(model, tmp_path / "scan", tmp_path / "result.dcm"), Recorder())
    assert caught.value.code == "dicom-package-missing"
    assert "[dicom]" in caught.value.hint


def test_a_folder_of_results_holds_dicom_segmentations_and_resume_knows_them(tmp_path: Path) -> None:
    oblique_series(tmp_path / "scan")
    model, told = write_tiny_bundle(tmp_path / "tiny"), Recorder()
    options = settings_for(model, tmp_path / "scan", tmp_path / "out", file_format=".dcm", resume=True)
    (result,) = segment(options, told)
    assert result.output.name == "scan_segmentation.dcm"
    assert segment(options, told) == []
    result.output.write_bytes(result.output.read_bytes()[:-40])
    assert len(segment(options, told)) == 1


def test_structures_that_are_not_found_are_named_with_an_empty_frame(tmp_path: Path) -> None:
    oblique_series(tmp_path / "scan")
    grid = read_volume(tmp_path / "scan").grid
    write_labelmap(tmp_path / "none.dcm", np.zeros(grid.size, np.uint8), grid, LABELS, MODEL)
    read = highdicom.seg.segread(tmp_path / "none.dcm")
    assert [read.get_segment_description(n).SegmentLabel for n in read.segment_numbers] == ["Grey", "Bright"]
    assert not read.pixel_array.any()
    assert not read_labelmap(tmp_path / "none.dcm", like=grid).array.any()


@pytest.mark.parametrize("kind", ["tilted", "irregular"])
def test_on_a_corrected_grid_the_file_says_where_its_own_slices_lie(tmp_path: Path, kind: str) -> None:
    positions = straight(9)
    if kind == "tilted":
        positions[:, 1] += 0.7 * np.arange(9)
    else:
        positions[:, 2] += np.tile([0, 0.2, 0], 3)
    write_series(tmp_path / "scan", np.zeros((20, 14, 9), np.int16), positions)
    grid = read_volume(tmp_path / "scan").grid
    labels = np.zeros(grid.size, np.uint8)
    labels[3:9, 2:11, 1:7] = 3
    labels[10:12, 5:8, 2:4] = 7
    write_labelmap(tmp_path / "o.dcm", labels, grid, LABELS, MODEL)
    assert np.array_equal(by_highdicom(tmp_path / "o.dcm", grid), np.select([labels == 3, labels == 7], [1, 2]))
    assert np.array_equal(read_labelmap(tmp_path / "o.dcm", like=grid).array > 0, labels > 0)


@pytest.mark.parametrize(("stated", "thickness", "told"), [(None, 2.5, True), (1.25, 2.5, False), (None, 9.0, False)])
def test_slices_that_are_drawn_here_and_there_lie_on_the_planes_of_their_scan(
    tmp_path: Path, stated: float | None, thickness: float, told: bool
) -> None:
    oblique_series(tmp_path / "scan")
    grid = read_volume(tmp_path / "scan").grid
    labels = np.zeros(grid.size, np.uint8)
    labels[3:9, 2:11, [1, 3, 7]] = 1
    write_labelmap(tmp_path / "o.dcm", labels, grid, LABELS, MODEL)
    data = pydicom.dcmread(tmp_path / "o.dcm")
    (measures,) = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    measures.SpacingBetweenSlices, measures.SliceThickness = stated, thickness
    data.save_as(tmp_path / "o.dcm")
    reporter = RecordingReporter()
    assert np.array_equal(read_labelmap(tmp_path / "o.dcm", grid, reporter).array, labels)
    assert reporter.codes == []
    alone = read_labelmap(tmp_path / "o.dcm", None, reporter).grid
    assert alone.spacing[2] == pytest.approx(stated or min(thickness, 5.0))
    assert reporter.codes == ["slice-distance"] * told


def test_overlapping_structures_are_all_there(tmp_path: Path) -> None:
    oblique_series(tmp_path / "scan")
    grid = read_volume(tmp_path / "scan").grid
    whole, core = np.zeros((2, *grid.size), bool)
    whole[2:12, 2:12, 1:8], core[4:8, 4:8, 3:6] = True, True
    labels = np.where(core, 7, np.where(whole, 3, 0))
    bits = (whole.astype(np.uint8) | core.astype(np.uint8) << 1)[np.newaxis]
    write_labelmap(tmp_path / "o.dcm", labels, grid, LABELS, MODEL, Overlapping(bits, (3, 7)))
    assert highdicom.seg.segread(tmp_path / "o.dcm").SegmentsOverlap == "YES"
    for number, mask in ((1, whole), (2, core)):
        assert np.array_equal(by_highdicom(tmp_path / "o.dcm", grid, [number]) > 0, mask)
    reporter = RecordingReporter()
    read = read_labelmap(tmp_path / "o.dcm", grid, reporter)
    assert np.array_equal(read.array, np.where(core, 2, np.where(whole, 1, 0)))
    assert reporter.codes == ["overlap"]


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_segmentations_of_other_kinds_are_read(tmp_path: Path, kind: str) -> None:
    oblique_series(tmp_path / "scan")
    volume = read_volume(tmp_path / "scan")
    grid, headers = volume.grid, [pydicom.dcmread(file) for file in volume.grid.source.dicom]  # type: ignore[union-attr]
    for header in headers:
        header.FrameOfReferenceUID, header.AccessionNumber = "1.2.3", ""
        header.StudyID = header.ReferringPhysicianName = ""
        header.PatientBirthDate = header.PatientSex = header.PositionReferenceIndicator = ""
    labels = np.zeros(grid.size, np.uint8)
    labels[3:9, 2:11, 2:7], labels[10:12, 5:8, 3:5] = 1, 2
    shares = np.stack([labels == 1, labels == 2], axis=-1).transpose(2, 1, 0, 3) * 0.8 + 0.1
    code = highdicom.sr.CodedConcept("10200004", "SCT", "Liver")
    described = [
        highdicom.seg.SegmentDescription(n, f"part {n}", code, code, "MANUAL", display_color=None) for n in (1, 2)
    ]
    highdicom.seg.Segmentation(
        headers, labels.T.copy() if kind == "LABELMAP" else shares, kind, described, "1.2.3.4", 1, "1.2.3.5", 1, "m",
        "n", "1", "0",
    ).save_as(tmp_path / "other")  # fmt: skip
    assert np.array_equal(read_labelmap(tmp_path / "other", like=grid).array, labels)
    assert read_segment_names(tmp_path / "other") == {1: "part 1", 2: "part 2"}


def test_damaged_segmentations_are_refused_by_name(tmp_path: Path) -> None:
    oblique_series(tmp_path / "scan")
    grid = read_volume(tmp_path / "scan").grid
    labels = np.zeros(grid.size, np.uint8)
    labels[3:9, 2:11, 2:7] = 3
    path = tmp_path / "o.dcm"
    write_labelmap(path, labels, grid, (Label(3, "a", (1, 2, 3), type=Code("SCT", "1", "x")),), MODEL)
    whole = path.read_bytes()
    for share in (0.3, 0.9, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match=r"o\.dcm"):
            read_labelmap(path)


def test_it_lies_on_real_series(tmp_path: Path, shared_data: Path) -> None:
    for name in ("ct_slicer_head64", "ct_totalseg_j2k", "ct_philips_phantom_tilt"):
        grid = read_volume(shared_data / "dicom" / name).grid
        labels = np.zeros(grid.size, np.uint8)
        third = [edge // 3 for edge in grid.size]
        labels[third[0] : 2 * third[0], third[1] :, third[2] : 2 * third[2]] = 3
        labels[: third[0], : third[1], third[2] + 1 :] = 7
        write_labelmap(tmp_path / f"{name}.dcm", labels, grid, LABELS, MODEL)
        found = by_highdicom(tmp_path / f"{name}.dcm", grid)
        assert np.array_equal(found, np.select([labels == 3, labels == 7], [1, 2])), name


def test_a_model_whose_structures_overlap_keeps_them_in_the_file_and_its_volumes(tmp_path: Path) -> None:
    """The tiny model's three channels read as structures: the first is nowhere, "Bright" lies within "Grey"."""
    oblique_series(tmp_path / "scan")
    labels = (Label(1, "None", (1, 2, 3)), *LABELS)
    model, told = write_tiny_bundle(tmp_path / "tiny", multilabel=True, labels=labels), Recorder()
    (result,) = segment(settings_for(model, tmp_path / "scan", tmp_path / "r.dcm"), told)
    grid = read_volume(tmp_path / "scan").grid
    grey, bright = (by_highdicom(result.output, grid, [number]) > 0 for number in (1, 2))
    assert bright.any()
    assert grey[bright].all()
    assert grey.sum() > bright.sum()
    assert {v.label: v.voxels for v in result.volumes} == {"None": 0, "Grey": grey.sum(), "Bright": bright.sum()}
    options = settings_for(model, tmp_path / "scan", tmp_path / "r.dcm", resume=True, table=tmp_path / "v.csv")
    assert segment(options, told) == []
    assert f"Grey,3,{grey.sum()}," in (tmp_path / "v.csv").read_text(encoding="utf-8")
    assert f"Bright,7,{bright.sum()}," in (tmp_path / "v.csv").read_text(encoding="utf-8")


def test_names_of_any_script_and_colours_come_back(tmp_path: Path) -> None:
    oblique_series(tmp_path / "scan")
    for path in (tmp_path / "scan").iterdir():
        header = pydicom.dcmread(path)
        header.SpecificCharacterSet, header.PatientName = "ISO_IR 100", "Müller^Jürg"
        header.save_as(path)
    grid = read_volume(tmp_path / "scan").grid
    labels = np.zeros(grid.size, np.uint8)
    labels[3:9, 2:11, 2:7] = 3
    write_labelmap(tmp_path / "o.dcm", labels, grid, [Label(3, "Leber – 肝臓", (240, 80, 60))], MODEL)
    data = pydicom.dcmread(tmp_path / "o.dcm")
    assert data.SpecificCharacterSet == "ISO_IR 192"
    assert (data.PatientName, data.SegmentSequence[0].SegmentLabel) == ("Müller^Jürg", "Leber – 肝臓")
    assert rgb_of_cielab(data.SegmentSequence[0].RecommendedDisplayCIELabValue) == pytest.approx((240, 80, 60), abs=1)
    assert read_segment_names(tmp_path / "o.dcm") == {1: "Leber – 肝臓"}
