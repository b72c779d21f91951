"""Channels of cases: 4D images of the Decathlon, channels that are missing, and what `check` says of both."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from segment_tools import Recorder
from synthetic import ball_scan, write_scan
from tiny_model import write_tiny_bundle

from mimseg.commands.check.run import CheckSettings, check
from mimseg.commands.segment.run import segment
from mimseg.commands.segment.settings import SegmentSettings
from mimseg.data.cases import load_dataset
from mimseg.data.cases.images import read_images
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError
from mimseg.events import Reporter


def write_4d(path: Path, *volumes: np.ndarray) -> None:
    """Volumes `(i, j, k)` in RAS orientation as one 4D file."""
    image = sitk.JoinSeries([sitk.GetImageFromArray(np.ascontiguousarray(v.T, np.float32)) for v in volumes])
    image.SetDirection(np.diag([-1.0, -1.0, 1.0, 1.0]).ravel().tolist())
    sitk.WriteImage(image, str(path))


def write_decathlon(folder: Path, cases: int = 3, channels: tuple[str, ...] = ("T2", "ADC")) -> Path:
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    entries = []
    for number in range(cases):
        image, label = ball_scan(number)
        write_4d(folder / "imagesTr" / f"p_{number}.nii.gz", image, 300 - image)
        write_scan(folder / "labelsTr" / f"p_{number}.nii.gz", label)
        entries.append({"image": f"./imagesTr/p_{number}.nii.gz", "label": f"./labelsTr/p_{number}.nii.gz"})
    modality = {str(number): name for number, name in enumerate(channels)}
    labels = {"0": "background", "1": "ball", "2": "block"}
    description = {"tensorImageSize": "4D", "modality": modality, "labels": labels, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def found(data: Path) -> set[tuple[str, str, str]]:
    findings = check(CheckSettings(data), Reporter()).findings
    return {(finding.case, finding.severity, finding.code) for finding in findings}


@pytest.mark.parametrize("frame", [0, 1, 5])
def test_a_file_with_all_channels_has_no_frames(tmp_path: Path, frame: int) -> None:
    image, _ = ball_scan(0)
    write_4d(tmp_path / "scan.nii.gz", image, 300 - image)
    model = write_tiny_bundle(tmp_path / "tiny", channels=("T2", "ADC"))
    with pytest.raises(UserError, match="holds the 2 channels") as refusal:
        segment(SegmentSettings((tmp_path / "scan.nii.gz",), str(model), tmp_path / "out.nrrd", frame=frame))
    assert "--frame" in refusal.value.hint


def test_a_4d_image_of_the_decathlon_is_the_channels_that_its_description_names(tmp_path: Path) -> None:
    data = write_decathlon(tmp_path / "data")
    image, _ = ball_scan(1)
    volume = read_images(load_dataset(data).cases[1])
    assert volume.array.shape == (2, *image.shape)
    np.testing.assert_allclose(volume.array, [image, 300 - image], rtol=1e-5)
    assert volume.grid.same_as(read_volume(data / "labelsTr" / "p_1.nii.gz").grid)
    assert found(data) == set()


def test_a_4d_image_of_another_number_of_volumes_is_refused_by_name(tmp_path: Path) -> None:
    data = write_decathlon(tmp_path / "data", channels=("T2", "ADC", "DWI"))
    with pytest.raises(UserError, match=r"p_0\.nii\.gz holds 2 volumes, but the data set names 3 channels"):
        read_images(load_dataset(data).cases[0])
    assert {(case, code) for case, _, code in found(data)} == {(f"p_{n}", "channel-count") for n in range(3)}


def test_a_series_over_time_is_no_stack_of_channels(tmp_path: Path) -> None:
    data = write_decathlon(tmp_path / "data", channels=("MRI",))
    with pytest.raises(UserError) as refusal:
        read_images(load_dataset(data).cases[0])
    assert refusal.value.code == "needs-frame"


def test_a_case_that_lacks_a_channel_is_named_once(tmp_path: Path) -> None:
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    for number in range(3):
        image, label = ball_scan(number)
        write_scan(tmp_path / "imagesTr" / f"p_{number}_0000.nii.gz", image)
        if number != 1:
            write_scan(tmp_path / "imagesTr" / f"p_{number}_0001.nii.gz", 300 - image)
        write_scan(tmp_path / "labelsTr" / f"p_{number}.nii.gz", label)
    findings = check(CheckSettings(tmp_path), Reporter()).findings
    assert [(f.case, f.severity, f.code) for f in findings] == [("p_1", "error", "channel-count")]
    assert "_0001" in findings[0].message


def test_files_that_are_left_out_are_named_by_check(tmp_path: Path) -> None:
    data = write_decathlon(tmp_path / "data", 4)
    (data / "dataset.json").unlink()
    for folder in ("imagesTr", "labelsTr"):
        for number in range(4):
            write_scan(data / folder / f"p_{number}.nii.gz", ball_scan(number)[folder == "labelsTr"])
    (data / "labelsTr" / "p_3.nii.gz").rename(data / "labelsTr" / "q_3.nii.gz")
    reporter = Recorder()
    checked = check(CheckSettings(data), reporter)
    assert checked.cases == 3
    assert {name for f in checked.findings for name in f.evidence["files"]} == {"p_3.nii.gz", "q_3.nii.gz"}
    assert {f.severity for f in checked.findings} == {"warning"}
    assert reporter.warnings == ["left-out", "left-out"]


def test_names_only_lists_the_pairs_without_reading_a_voxel(tmp_path: Path) -> None:
    for folder, names in (("imagesTr", ("a_0000", "a_0001", "b_2019", "lonely")), ("labelsTr", ("a", "b_2019"))):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.nii.gz").touch()
    description = {"labels": {"background": 0, "liver": 1, "ignore": 2}}
    (tmp_path / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    reporter = Recorder()
    check(CheckSettings(tmp_path, names_only=True), reporter)
    result = reporter.events[-1][1]
    images, labels = tmp_path / "imagesTr", tmp_path / "labelsTr"
    assert result["pairs"] == [
        {
            "id": "a",
            "images": [str(images / "a_0000.nii.gz"), str(images / "a_0001.nii.gz")],
            "label": str(labels / "a.nii.gz"),
        },
        {"id": "b_2019", "images": [str(images / "b_2019.nii.gz")], "label": str(labels / "b_2019.nii.gz")},
    ]
    assert result["label_names"] == {"1": "liver"}
    assert result["problems"][0]["evidence"]["files"] == ["lonely.nii.gz"]


def test_a_model_of_two_channels_segments_4d_files(tmp_path: Path) -> None:
    model = write_tiny_bundle(tmp_path / "two", channels=("T1", "T2"))
    dark = np.zeros((22, 18, 9), np.float32)
    dark[5:9, 5:9, 2:5] = 50
    (tmp_path / "scans").mkdir()
    for name in ("a", "b"):
        write_4d(tmp_path / "scans" / f"{name}.nii.gz", dark, 100 - dark)
    for inputs in ((tmp_path / "scans",), tuple(sorted((tmp_path / "scans").iterdir()))):
        output = tmp_path / f"out_{len(inputs)}"
        segment(SegmentSettings(inputs, str(model), output, engine="openvino", device="cpu"), Reporter())
        for name in ("a", "b"):
            labels = read_labelmap(output / f"{name}_segmentation.nii.gz").array
            assert np.array_equal(labels == 3, dark == 50)
