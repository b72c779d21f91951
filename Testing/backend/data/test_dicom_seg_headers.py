"""DICOM segmentations of series whose headers lack elements, or hold what the standard does not allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import RecordingReporter
from dicom_files import by_highdicom, oblique_series
from segment_tools import Recorder, settings_for
from tiny_model import LABELS, write_tiny_bundle

from mimseg.commands.segment.run import segment
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.volumes import read_volume
from mimseg.data.writers.dicom_seg import refuse_other_sources
from mimseg.errors import UserError

pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
pydicom = pytest.importorskip("pydicom")


def change(folder: Path, name: str, value: bytes | None) -> None:
    """Remove an element from each file, or set it to bytes as some other program wrote them."""
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        tag = pydicom.tag.Tag(name)
        if value is None:
            del data[tag]
        else:
            kind = pydicom.datadict.dictionary_VR(tag)
            data[tag] = pydicom.dataelem.RawDataElement(tag, kind, len(value), value, 0, False, True)
        data.save_as(path)


def written(folder: Path, output: Path, reporter: Any = None) -> Any:
    """The segmentation of two blocks, which has to say where they are."""
    refuse_other_sources(folder, output, reporter)
    grid = read_volume(folder).grid
    labels = np.zeros(grid.size, np.uint8)
    labels[3:9, 2:11, 1:7], labels[10:12, 5:8, 2:4] = 3, 7
    write_labelmap(output, labels, grid, LABELS)
    assert np.array_equal(by_highdicom(output, grid), np.select([labels == 3, labels == 7], [1, 2]))
    return pydicom.dcmread(output)


def test_a_series_without_slice_thickness_can_be_quoted(tmp_path: Path) -> None:
    oblique_series(tmp_path / "scan")
    change(tmp_path / "scan", "SliceThickness", None)
    (measures,) = written(tmp_path / "scan", tmp_path / "o.dcm").SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert measures.SliceThickness == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PatientBirthDate", b"00000000"),
        ("PatientBirthDate", b"1950    "),
        ("StudyDate", b"2020.13.45"),
        ("StudyTime", b"99:99 "),
        ("PatientSex", b"weibl."),
        ("PatientName", b"Secret\\B"),
    ],
)
def test_an_element_that_cannot_be_read_stays_empty_and_is_named_without_its_value(
    tmp_path: Path, name: str, value: bytes, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    oblique_series(tmp_path / "scan")
    change(tmp_path / "scan", name, value)
    recwarn.clear()
    reporter = RecordingReporter()
    assert not written(tmp_path / "scan", tmp_path / "o.dcm", reporter)[name].value
    assert reporter.codes == ["dicom-elements"]
    ((_, told),) = reporter.warnings
    assert name in told
    assert value.decode().strip() not in told + caplog.text + "".join(str(one.message) for one in recwarn)


@pytest.mark.parametrize(("name", "value"), [("SliceThickness", b"2,5 "), ("SpecificCharacterSet", b"ISO 2022 IR 999")])
def test_an_element_that_is_not_repeated_need_not_be_readable(tmp_path: Path, name: str, value: bytes) -> None:
    oblique_series(tmp_path / "scan")
    change(tmp_path / "scan", name, value)
    reporter = RecordingReporter()
    assert written(tmp_path / "scan", tmp_path / "o.dcm", reporter).PatientName == "Secret^Patient"
    assert reporter.codes == []


def test_headers_that_cannot_be_quoted_are_refused_before_the_model_runs_and_without_a_value(tmp_path: Path) -> None:
    oblique_series(tmp_path / "scan")
    # A class of images that is in no standard: nobody knows what belongs to its patient and study.
    change(tmp_path / "scan", "SOPClassUID", b"1.2.840.10008.5.1.4.1.1.2.77\0\0")
    told = Recorder()
    with pytest.raises(UserError, match="scan are not as the standard wants") as caught:
        segment(settings_for(write_tiny_bundle(tmp_path / "tiny"), tmp_path / "scan", tmp_path / "r.dcm"), told)
    assert caught.value.code == "not-dicom"
    assert caught.value.__suppress_context__
    assert not told.events
    assert "Secret" not in str(caught.value)
