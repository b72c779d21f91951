"""Shifted CT is told from CT in Hounsfield units by what many voxels are, not by the darkest one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from segment_tools import Recorder, settings_for
from tiny_model import write_tiny_bundle

from mimseg.commands.rank.run import RankSettings, rank
from mimseg.commands.segment.run import segment
from mimseg.data.intensity import HIGHEST_CT_MINIMUM, Intensity, low_value, without_padding
from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError


def body(fat: int = 0) -> np.ndarray:
    """A body of 40 HU, in air; or soft tissue alone with some voxels of fat."""
    array = np.random.default_rng(0).normal(40, 10, (24, 24, 24)).round().astype(np.int16)
    if fat:
        array.flat[:fat] = -100
    else:
        array[:6] = -1000
    return array


def test_a_few_dark_voxels_and_padding_are_no_air() -> None:
    shifted = body() + 1024
    assert low_value(shifted) > HIGHEST_CT_MINIMUM
    shifted[0, 0, :4] = -180
    shifted[-1] = -2000  # where the scanner saw nothing
    assert low_value(shifted) > HIGHEST_CT_MINIMUM


def test_air_and_little_fat_are_seen() -> None:
    assert low_value(body()) == -1000
    assert low_value(body(fat=40)) == -100
    assert low_value(body()[None]) == -1000
    assert low_value(np.full((3, 3, 3), -2000)) == -2000


def test_air_is_no_padding() -> None:
    scan = body().astype(np.float32)
    scan[5] = -550  # half air, half skin
    assert without_padding(scan).size == scan.size
    assert without_padding(np.full((3, 3, 3), -2000)).size == 27
    shifted = scan + 1024
    shifted[-1] = -2000 + 1024
    assert without_padding(shifted).size == 23 * 24 * 24


def test_a_large_scan_is_judged_by_a_sample() -> None:
    array = np.zeros((200, 200, 100), np.int16)
    array[:, :, :20] = -1000
    assert low_value(array) == -1000


@pytest.mark.parametrize("padding", [None, -2000, -2000 + 1024])
def test_shifted_ct_with_a_few_dark_voxels_or_padding_is_refused(tmp_path: Path, padding: int | None) -> None:
    window = Preprocessing(intensity=Intensity("window", -125, 275))
    model = write_tiny_bundle(tmp_path / "tiny", window, modality="CT")
    shifted = body() + 1024
    shifted[0, 0, :4] = -180
    if padding is not None:
        shifted[:, :3] = padding
    sitk.WriteImage(sitk.GetImageFromArray(shifted), str(tmp_path / "scan.nrrd"))
    with pytest.raises(UserError, match=r"scan\.nrrd is not in Hounsfield units") as caught:
        segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "o.nrrd"), Recorder())
    assert caught.value.code == "not-hounsfield"


def test_a_model_for_any_kind_of_scan_is_told_of_shifted_ct(tmp_path: Path) -> None:
    model = write_tiny_bundle(tmp_path / "tiny", Preprocessing(intensity=Intensity("robust", 0, 80)))
    head = body()
    head[6:9] = 1200
    mr = np.random.default_rng(0).uniform(0, 2800, head.shape).astype(np.int16)
    for array, told in ((head, False), (head + 1024, True), (head + 1000, True), (mr, False)):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "scan.nrrd"))
        recorder = Recorder()
        segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "o.nrrd"), recorder)
        assert ("not-hounsfield" in recorder.warnings) is told


def test_soft_tissue_without_air_is_segmented(tmp_path: Path) -> None:
    window = Preprocessing(intensity=Intensity("window", -125, 275))
    model = write_tiny_bundle(tmp_path / "tiny", window, modality="CT")
    for fat, told in ((1, ["modality"]), (40, [])):
        sitk.WriteImage(sitk.GetImageFromArray(body(fat)), str(tmp_path / "scan.nrrd"))
        recorder = Recorder()
        segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "o.nrrd"), recorder)
        assert [code for code in recorder.warnings if code == "modality"] == told


def test_shifted_ct_is_not_ranked(tmp_path: Path) -> None:
    window = Preprocessing(intensity=Intensity("window", -125, 275))
    model = write_tiny_bundle(tmp_path / "tiny", window, modality="CT")
    for name, array in (("right", body()), ("shifted", body() + 1024)):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"{name}.nrrd"))
    scans = (tmp_path / "right.nrrd", tmp_path / "shifted.nrrd")
    recorder = Recorder()
    ranking = rank(RankSettings(scans, (str(model),), tmp_path / "out", maps=False, threads=1), recorder)
    assert [case.name for case in ranking.cases] == ["right"]
    assert "not-hounsfield" in recorder.warnings
