"""mimseg as a library: what it returns is what the command writes; importing it loads nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import oblique_series
from segment_tools import settings_for, write_scan
from tiny_model import write_tiny_bundle

import mimseg
from mimseg.cli.main import main
from mimseg.commands.segment.run import segment
from mimseg.errors import UserError

SCAN = Path(__file__).resolve().parents[3] / "Resources" / "SampleData" / "MNI152_T1.nii.gz"
BOX = (10, 46, -46, 6, -33, 5)

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def model() -> mimseg.Model:
    return mimseg.open_model("hippocampus-mr", device="cpu")


def test_it_finds_what_the_command_writes(model: mimseg.Model, tmp_path: Path):
    found = model.segment(mimseg.read(SCAN), boxes=[BOX])
    found.write(tmp_path / "library.nii.gz")
    box = "--roi=" + ",".join(map(str, BOX))
    assert main(["segment", str(SCAN), "--model", "hippocampus-mr", box, "-o", str(tmp_path / "command.nii.gz")]) == 0
    images = [sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("library", "command")]
    assert np.array_equal(*map(sitk.GetArrayFromImage, images))
    assert images[0].GetOrigin() == images[1].GetOrigin()
    voxels = np.count_nonzero(found.array == model.labels[0].value)
    assert found.volumes()[model.labels[0].name] == pytest.approx(voxels / 1000)  # voxels of 1 mm


def test_structures_can_be_chosen_by_name(model: mimseg.Model):
    name = model.labels[1].name
    found = model.segment(mimseg.read(SCAN), boxes=[BOX], names=[name.upper()])
    assert list(found.volumes()) == [name]
    assert set(np.unique(found.array)) == {0, model.labels[1].value}
    with pytest.raises(UserError, match="no structure 'liver'"):
        model.segment(mimseg.read(SCAN), boxes=[BOX], names=["liver"])


def test_a_box_beside_the_scan_is_refused(model: mimseg.Model):
    with pytest.raises(UserError):
        model.segment(mimseg.read(SCAN), boxes=[(500, 600, 0, 10, 0, 10)])


def test_importing_it_loads_nothing_and_unknown_names_are_no_attributes():
    code = "import mimseg, sys; sys.exit(bool({'numpy', 'SimpleITK', 'openvino', 'mimseg.library'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert not hasattr(mimseg, "segment_everything")
    assert all(hasattr(mimseg, name) for name in mimseg.__all__)


def test_its_files_name_the_model_as_those_of_the_command_do(tmp_path: Path):
    bundle = write_tiny_bundle(tmp_path / "tiny")
    write_scan(tmp_path / "scan.nrrd")
    mimseg.open_model(bundle, device="cpu").segment(mimseg.read(tmp_path / "scan.nrrd")).write(tmp_path / "l.seg.nrrd")
    segment(settings_for(bundle, tmp_path / "scan.nrrd", tmp_path / "c.seg.nrrd"))
    tags = [sitk.ReadImage(str(tmp_path / f"{name}.seg.nrrd")).GetMetaData("Segment0_Tags") for name in "lc"]
    assert "SegmentAlgorithmType:AUTOMATIC|DICOM.SegmentAlgorithmName:tiny|" in tags[0]
    assert tags[0] == tags[1]


def test_its_dicom_segmentations_are_not_declared_drawn_by_hand(tmp_path: Path):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    oblique_series(tmp_path / "scan")
    model = mimseg.open_model(write_tiny_bundle(tmp_path / "tiny"), device="cpu")
    model.segment(mimseg.read(tmp_path / "scan")).write(tmp_path / "l.dcm")
    data = pydicom.dcmread(tmp_path / "l.dcm")
    assert {each.SegmentAlgorithmType for each in data.SegmentSequence} == {"AUTOMATIC"}
    assert data.ContentDescription == "tiny 1.0.0, research use only"
