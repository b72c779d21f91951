"""No result replaces a slice of a series, an input, or another file that mimseg did not write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_files import oblique_series
from segment_tools import settings_for, write_scan
from tiny_model import write_tiny_bundle

from mimseg.cli.main import main
from mimseg.commands.segment.outputs import plan_jobs
from mimseg.commands.segment.run import segment
from mimseg.data.labels.drawn import Algorithm
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.overwriting import may_be_result
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume
from mimseg.data.writing import write_map
from mimseg.errors import UserError

CUBE = Grid((12, 12, 12))


@pytest.fixture
def series(tmp_path: Path) -> Path:
    oblique_series(tmp_path / "series")
    return tmp_path / "series"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("from_elsewhere", [False, True])
def test_a_slice_of_a_series_is_no_place_for_a_result(tmp_path: Path, series: Path, from_elsewhere: bool) -> None:
    scan = series
    if from_elsewhere:
        oblique_series(tmp_path / "other")
        scan = tmp_path / "other"
    target = sorted(series.iterdir())[0]
    before = contents(tmp_path)
    with pytest.raises(UserError, match=target.name) as refusal:
        plan_jobs([scan], 1, target)
    assert refusal.value.code == "bad-output"
    labels = tmp_path / "labels.nii.gz"
    grid = read_volume(series).grid
    write_labelmap(labels, np.ones(grid.size, np.uint8), grid)
    assert main(["convert", str(labels), "--scan", str(scan), "-o", str(target)]) == 2
    labels.unlink()
    assert contents(tmp_path) == before


def test_a_volume_beside_the_slices_is_replaced_only_if_it_holds_labels(tmp_path: Path, series: Path) -> None:
    grid = read_volume(series).grid
    write_map(series / "scan.nii.gz", np.random.default_rng(0).normal(0, 100, grid.size).astype(np.float32), grid)
    with pytest.raises(UserError, match="no earlier result"):
        plan_jobs([series], 1, series / "scan.nii.gz")
    write_labelmap(series / "labels.nii.gz", np.ones(grid.size, np.uint8), grid)
    (series / "empty.dcm").touch()
    for name in ("labels.nii.gz", "new.nii.gz", "empty.dcm"):
        assert plan_jobs([series], 1, series / name)[0].output == series / name


def test_the_scan_of_another_patient_is_no_place_for_a_result(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_map(tmp_path / name, np.random.default_rng(0).normal(0, 100, (12, 12, 12)).astype(np.float32), CUBE)
    with pytest.raises(UserError, match=r"b\.nii\.gz .*no earlier result"):
        plan_jobs([tmp_path / "a.nii.gz"], 1, tmp_path / "b.nii.gz")


def test_a_result_of_many_structures_is_known_by_its_mark(tmp_path: Path) -> None:
    labels = np.arange(12**3, dtype=np.uint16).reshape(CUBE.size)
    for algorithm, known in ((Algorithm("m", "1"), True), (None, False)):
        write_labelmap(tmp_path / "many.nii.gz", labels, CUBE, algorithm=algorithm)
        assert may_be_result(tmp_path / "many.nii.gz") == known


@pytest.mark.parametrize("into_folder", [True, False])
def test_what_was_corrected_by_hand_is_not_replaced_unasked(tmp_path: Path, into_folder: bool) -> None:
    write_scan(tmp_path / "scan.nrrd")
    file = tmp_path / "out" / "scan_segmentation.nii.gz"
    settings = settings_for(write_tiny_bundle(tmp_path / "tiny"), tmp_path / "scan.nrrd", file)
    if into_folder:
        settings = replace(settings, output=file.parent)
    for _ in range(2):
        segment(settings)
    made = file.read_bytes()
    write_labelmap(file, np.ones((22, 18, 9), np.uint8), read_volume(tmp_path / "scan.nrrd").grid)
    corrected = file.read_bytes()
    with pytest.raises(UserError, match=file.name) as refusal:
        segment(settings)
    assert refusal.value.code == "output-exists"
    assert "--replace" in refusal.value.hint
    assert segment(replace(settings, resume=True)) == []
    assert file.read_bytes() == corrected
    segment(replace(settings, replace=True))
    assert file.read_bytes() == made


def test_results_of_several_ranks_are_all_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        write_scan(tmp_path / f"{name}.nrrd")
    scans = tmp_path / "a.nrrd", tmp_path / "b.nrrd"
    settings = settings_for(write_tiny_bundle(tmp_path / "tiny"), scans, tmp_path / "out")
    for number, scan in enumerate(scans):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(number))
        segment(replace(settings, inputs=(scan,)))
    monkeypatch.delenv("RANK")
    assert len(segment(settings)) == 2


def test_a_dicom_result_of_ours_beside_its_slices_is_made_again(tmp_path: Path, series: Path) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    model = write_tiny_bundle(tmp_path / "tiny")
    settings = settings_for(model, series, series / "result.dcm")
    segment(settings)
    assert segment(settings)[0].output == series / "result.dcm"
