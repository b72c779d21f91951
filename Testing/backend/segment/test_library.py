"""mimseg as a library: what it returns is what the command writes; importing it loads nothing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import oblique_series
from segment_tools import settings_for, write_scan
from tiny_model import write_tiny_bundle

import mimseg
from mimseg.bundle.locator import Locator, Place
from mimseg.cli.main import main
from mimseg.commands.segment.run import segment
from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing
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


def test_what_a_file_leaves_in_doubt_is_warned_of_and_can_be_said(tmp_path: Path):
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(4, 3, 2))
    sitk.WriteImage(image, str(tmp_path / "scan.mha"))
    header = (tmp_path / "scan.mha").read_bytes()
    kept = [line for line in header.split(b"\n", 12) if not line.startswith(b"TransformMatrix")]
    (tmp_path / "scan.mha").write_bytes(b"\n".join(kept))
    with pytest.warns(UserWarning, match="read as RAS") as told:
        scan = mimseg.read(tmp_path / "scan.mha")
    assert [each.filename for each in told] == [__file__]
    with pytest.warns(UserWarning, match="read as LPS"):
        turned = mimseg.read(tmp_path / "scan.mha", orientation="lps")
    assert np.array_equal(scan.grid.direction, np.diag([-1, -1, 1]))
    assert np.array_equal(turned.grid.direction, np.eye(3))
    with pytest.raises(UserError, match="'UP' is not an orientation"):
        mimseg.read(tmp_path / "scan.mha", orientation="up")


def test_one_volume_of_several_can_be_read(tmp_path: Path):
    frames = [sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(4, 3, 2) + number) for number in (0, 100)]
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / "4d.nii.gz"))
    with pytest.raises(UserError, match="holds 2 volumes"):
        mimseg.read(tmp_path / "4d.nii.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mimseg.read(tmp_path / "4d.nii.gz", frame=1).array.min() == 100


def test_a_model_without_its_locator_warns(tmp_path: Path):
    locator = Locator("no-such-model", (Place(("Grey",)),))
    bundle = write_tiny_bundle(tmp_path / "tiny", locator=locator, field_of_view_mm=(90.0, 90.0, 90.0))
    write_scan(tmp_path / "scan.nrrd")
    model, scan = mimseg.open_model(bundle, device="cpu"), mimseg.read(tmp_path / "scan.nrrd")
    with pytest.warns(UserWarning, match="no-such-model"):
        model.segment(scan)


def test_every_result_keeps_its_warnings_also_those_that_python_shows_once(tmp_path: Path):
    bundle = write_tiny_bundle(tmp_path / "tiny", modality="CT")
    write_scan(tmp_path / "scan.nrrd")
    model, scan = mimseg.open_model(bundle, device="cpu"), mimseg.read(tmp_path / "scan.nrrd")
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        found = [model.segment(scan) for _ in range(2)]
    assert len(shown) == 1
    assert [each.warnings for each in found] == [(str(shown[0].message),)] * 2


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


def test_it_does_not_write_over_the_scan(tmp_path: Path):
    bundle = write_tiny_bundle(tmp_path / "tiny")
    scan = tmp_path / "scan.nii.gz"
    noise = np.random.default_rng(0).normal(50, 30, (12, 12, 12)).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(noise), str(scan))
    before = scan.read_bytes()
    found = mimseg.open_model(bundle, device="cpu").segment(mimseg.read(scan))
    with pytest.raises(UserError, match="may be a scan"):
        found.write(scan)
    assert scan.read_bytes() == before
    for _ in range(2):
        found.write(tmp_path / "labels.nii.gz")


def test_its_dicom_segmentations_are_not_declared_drawn_by_hand(tmp_path: Path):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    oblique_series(tmp_path / "scan")
    model = mimseg.open_model(write_tiny_bundle(tmp_path / "tiny"), device="cpu")
    model.segment(mimseg.read(tmp_path / "scan")).write(tmp_path / "l.dcm")
    data = pydicom.dcmread(tmp_path / "l.dcm")
    assert {each.SegmentAlgorithmType for each in data.SegmentSequence} == {"AUTOMATIC"}
    assert data.ContentDescription == "tiny 1.0.0, research use only"


def test_it_refuses_ct_that_is_not_in_hounsfield_units_as_the_command_does(tmp_path: Path):
    window = Preprocessing(intensity=Intensity("window", -125, 275))
    bundle = write_tiny_bundle(tmp_path / "tiny", window, modality="CT")
    _, image = write_scan(tmp_path / "scan.nrrd", low=-50)
    sitk.WriteImage(image + 1024, str(tmp_path / "scan.nrrd"))
    model, scan = mimseg.open_model(bundle, device="cpu"), mimseg.read(tmp_path / "scan.nrrd")
    for boxes in ([], [(-500.0, 500.0) * 3]):
        with pytest.raises(UserError, match="This scan is not in Hounsfield units") as caught:
            model.segment(scan, boxes=boxes)
        assert caught.value.code == "not-hounsfield"
    sitk.WriteImage(image + 40, str(tmp_path / "scan.nrrd"))
    with pytest.warns(UserWarning, match="This scan has hardly a value below -50"):
        model.segment(mimseg.read(tmp_path / "scan.nrrd"))
