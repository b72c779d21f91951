"""What `mimseg rank` takes for a scan, and what it leaves as it is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk
from synthetic import write_dataset
from tiny_model import write_tiny_bundle

from mimseg.cli.main import main
from mimseg.commands.rank.run import RankSettings, rank
from mimseg.errors import UserError


@pytest.fixture
def settings(tmp_path: Path) -> RankSettings:
    data = write_dataset(tmp_path / "data", 2)
    model = write_tiny_bundle(tmp_path / "tiny")
    return RankSettings((data / "imagesTr",), (str(model),), tmp_path / "out", threads=1)


def test_a_segmentation_that_was_corrected_is_not_replaced_unasked(settings: RankSettings, tmp_path: Path) -> None:
    rank(settings)
    rank(settings)  # nothing was changed
    corrected, other = (settings.output / f"case_{number}_segmentation.nii.gz" for number in range(2))
    corrected.write_bytes((tmp_path / "data" / "labelsTr" / "case_0.nii.gz").read_bytes())
    by_hand, untouched = corrected.read_bytes(), other.read_bytes()
    with pytest.raises(UserError, match="case_0_segmentation") as refusal:
        rank(settings)
    assert "--replace" in refusal.value.hint
    assert "case_1" not in refusal.value.message
    assert (corrected.read_bytes(), other.read_bytes()) == (by_hand, untouched)
    rank(replace(settings, maps=False))
    assert corrected.read_bytes() == by_hand
    rank(replace(settings, replace=True))
    assert corrected.read_bytes() != by_hand
    rank(settings)


def test_a_folder_without_a_record_is_somebodys_work(settings: RankSettings) -> None:
    settings.output.mkdir()
    (settings.output / "case_1_segmentation.nii.gz").write_bytes(b"drawn elsewhere")
    with pytest.raises(UserError, match="case_1_segmentation"):
        rank(settings)


def test_a_folder_for_a_model_of_several_channels_is_refused(settings: RankSettings, tmp_path: Path) -> None:
    """Two patients would become one case."""
    two = write_tiny_bundle(tmp_path / "two", channels=("T1", "T2"), name="two")
    settings = replace(settings, models=(str(two),))
    with pytest.raises(UserError, match="2 files for each case") as refusal:
        rank(settings)
    assert refusal.value.code == "wrong-channels"
    files = tuple(sorted(settings.inputs[0].iterdir()))
    assert [case.images for case in rank(replace(settings, inputs=files)).cases] == [files]


def test_a_file_with_all_channels_is_one_case(settings: RankSettings, tmp_path: Path) -> None:
    two = write_tiny_bundle(tmp_path / "two", channels=("T1", "T2"), name="two")
    (tmp_path / "scans").mkdir()
    for number in range(2):
        volume = sitk.ReadImage(str(settings.inputs[0] / f"case_{number}.nii.gz"))
        sitk.WriteImage(sitk.JoinSeries([volume, volume]), str(tmp_path / "scans" / f"{number}.nii.gz"))
    found = rank(replace(settings, models=(str(two),), inputs=(tmp_path / "scans",)))
    assert sorted(case.name for case in found.cases) == ["0", "1"]


def test_a_copy_of_a_labelled_scan_is_not_proposed(settings: RankSettings, tmp_path: Path) -> None:
    shutil.copytree(settings.inputs[0], tmp_path / "mine" / "imagesTr")
    (tmp_path / "mine" / "imagesTr" / "case_1.nii.gz").unlink()
    (tmp_path / "mine" / "imagesTr" / "case_0.nii.gz").rename(tmp_path / "mine" / "imagesTr" / "patient.nii.gz")
    (tmp_path / "mine" / "labelsTr").mkdir()
    label = tmp_path / "data" / "labelsTr" / "case_0.nii.gz"
    shutil.copyfile(label, tmp_path / "mine" / "labelsTr" / "patient.nii.gz")
    found = rank(replace(settings, labelled=tmp_path / "mine"))
    assert [case.name for case in found.cases] == ["case_1"]


def test_dicom_segmentations_of_what_is_no_dicom_are_refused_at_once(settings: RankSettings) -> None:
    with pytest.raises(UserError, match=r"case_0_segmentation\.dcm cannot be a DICOM segmentation") as refusal:
        rank(replace(settings, file_format=".dcm"))
    assert refusal.value.code == "not-dicom"
    assert not settings.output.exists()
    rank(replace(settings, file_format=".dcm", maps=False))


def test_the_axes_of_files_that_do_not_say_them_run_as_asked(settings: RankSettings, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    path = tmp_path / "scans" / "scan.nii"
    sitk.WriteImage(sitk.ReadImage(str(settings.inputs[0] / "case_0.nii.gz")), str(path))
    content = path.read_bytes()
    path.write_bytes(content[:252] + bytes(4) + content[256:])  # no qform, no sform
    arguments = ["rank", str(path.parent), "--model", *settings.models, "-o", str(settings.output), "--format", ".nrrd"]
    assert main([*arguments, "--orientation", "LPS", "--quiet"]) == 0
    labels = sitk.ReadImage(str(settings.output / "scan_segmentation.nrrd"))
    assert labels.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
