"""The table of file endings."""

from __future__ import annotations

from importlib import import_module

import pytest

from mimseg import formats
from mimseg.formats import ending_of, is_image, may_be_dicom, stem_of


@pytest.mark.parametrize(
    ("name", "ending", "stem", "image", "dicom"),
    [
        ("scan.nii.gz", ".nii.gz", "scan", True, False),
        ("Scan.NII", ".nii", "Scan", True, False),
        ("a.b.seg.nrrd", ".seg.nrrd", "a.b", False, False),
        ("a.SEG.NRRD", ".seg.nrrd", "a", False, False),
        ("seg.nrrd", ".nrrd", "seg", True, False),
        ("x.mhd", ".mhd", "x", True, False),
        ("IM0001", "", "IM0001", False, True),
        ("IM0001.dcm", ".dcm", "IM0001", False, True),
        ("1.2.840.113", "", "1.2.840.113", False, True),
    ],
)
def test_what_an_ending_means(name: str, ending: str, stem: str, image: bool, dicom: bool) -> None:
    assert (ending_of(name), stem_of(name), is_image(name), may_be_dicom(name)) == (ending, stem, image, dicom)


def test_no_ending_hides_another() -> None:
    for each in formats.FORMATS:
        assert formats.format_of(f"x{each.ending}") is each


def test_an_export_format_for_dicom_does_not_hide_dicom_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    line = formats.Format(".dcm", "DICOM segmentation", image=False, labels=False, writer="x", named=True, dicom=True)
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, line))
    assert may_be_dicom("IM0001.dcm")
    assert not is_image("IM0001.dcm")
    assert stem_of("result.dcm") == "result"


def test_every_export_format_has_its_writer() -> None:
    for ending in formats.LABELS_WRITTEN:
        found = formats.format_of(f"x{ending}")
        assert found is not None
        assert callable(import_module(f"mimseg.data.writers.{found.writer}").write)
