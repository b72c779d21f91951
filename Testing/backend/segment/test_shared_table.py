"""The table of a run that goes on: every row is true of its own scan, and no row of another one is lost."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicom_files import straight, write_series
from segment_tools import Recorder, settings_for, write_scan
from tiny_model import write_tiny_bundle

from mimseg.commands.segment.outputs import Job
from mimseg.commands.segment.run import segment
from mimseg.commands.segment.shared_table import measure_finished
from mimseg.data.intensity import Intensity
from mimseg.data.labels.drawn import Algorithm
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volume import Grid

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Keeps the scan's own spacing, so that its labels can be told to the voxel."""
    return write_tiny_bundle(tmp_path / "sharp", Preprocessing("RAS", None, Intensity("window", 0, 100)))


def rows_of(table: Path) -> list[tuple[str, str, int]]:
    with table.open(encoding="utf-8", newline="") as stream:
        return [(row["file"], row["label"], int(row["voxels"])) for row in csv.DictReader(stream)]


def test_equal_relative_names_in_two_folders_are_two_scans(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {}
    table = tmp_path / "volumes.csv"
    for patient, size in (("A", (22, 18, 9)), ("B", (12, 12, 12))):
        (tmp_path / patient).mkdir()
        labels, _ = write_scan(tmp_path / patient / "scan.nii.gz", size)
        expected[patient] = [("scan.nii.gz", name, int((labels == value).sum())) for value, name in
                             ((3, "Grey"), (7, "Bright"))]  # fmt: skip
        monkeypatch.chdir(tmp_path / patient)
        segment(settings_for(model, Path("scan.nii.gz"), Path("out"), table=table if patient == "A" else None))
    recorder = Recorder()
    segment(settings_for(model, Path("scan.nii.gz"), Path("out"), table=table, resume=True), recorder)
    assert rows_of(table) == expected["A"] + expected["B"]
    assert recorder.warnings == ["same-name-in-table"]
    segment(settings_for(model, Path("scan.nii.gz"), Path("out"), table=table, resume=True))
    assert rows_of(table) == expected["A"] + expected["B"]


def test_rows_of_other_scans_stay(tmp_path: Path, model: Path) -> None:
    table = tmp_path / "volumes.csv"
    for name in ("a", "b"):
        write_scan(tmp_path / f"{name}.nrrd")
        segment(settings_for(model, tmp_path / f"{name}.nrrd", tmp_path / "out", table=table, resume=True))
    assert [Path(file).name for file, _, _ in rows_of(table)] == ["a.nrrd"] * 2 + ["b.nrrd"] * 2
    segment(settings_for(model, tmp_path / "b.nrrd", tmp_path / "new", table=table, labels=("Grey",), resume=True))
    assert [Path(file).name for file, _, _ in rows_of(table)] == ["a.nrrd"] * 2 + ["b.nrrd"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_structure_that_was_not_asked_for_has_no_row(tmp_path: Path, model: Path, ending: str) -> None:
    write_scan(tmp_path / "scan.nrrd")
    output, table, recorder = tmp_path / f"labels{ending}", tmp_path / "volumes.csv", Recorder()
    segment(settings_for(model, tmp_path / "scan.nrrd", output, labels=("Grey",)))
    segment(settings_for(model, tmp_path / "scan.nrrd", output, table=table, resume=True), recorder)
    assert [(label, voxels > 0) for _, label, voxels in rows_of(table)] == [("Grey", True)]
    assert recorder.warnings == ["other-results"]


@pytest.mark.parametrize("ending", [*ENDINGS, ".dcm"])
def test_results_of_another_kind_are_told_of_also_without_a_table(tmp_path: Path, model: Path, ending: str) -> None:
    if ending == ".dcm":
        pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    array = np.zeros((12, 12, 12), np.int16)
    array[2:6, 2:6, 2:6] = 50
    write_series(tmp_path / "scan", array, straight(12))
    settings = settings_for(model, tmp_path / "scan", tmp_path / f"labels{ending}", resume=True)
    segment(settings)
    ways = [
        ({}, []),
        ({"labels": ("Grey",)}, ["other-results"]),
        ({"regions": ((-500.0, 500.0) * 3,)}, ["other-results"]),
        ({"overlap": 0.0}, ["other-results"]),
    ]
    for change, told in ways:
        recorder = Recorder()
        assert segment(replace(settings, **change), recorder) == []
        assert recorder.warnings == told


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_structure_that_was_looked_for_and_not_found_has_a_zero(tmp_path: Path, model: Path, ending: str) -> None:
    array = np.zeros((12, 12, 12), np.int16)
    array[2:6, 2:6, 2:6] = 50
    write_series(tmp_path / "scan", array, straight(12))
    output, table, recorder = tmp_path / f"labels{ending}", tmp_path / "volumes.csv", Recorder()
    settings = settings_for(model, tmp_path / "scan", output, table=table, resume=True)
    segment(settings)
    first = rows_of(table)
    assert [voxels for _, _, voxels in first] == [64, 0]
    table.unlink()
    segment(settings, recorder)
    assert rows_of(table) == first
    assert recorder.warnings == []


def test_long_names_are_told_apart_where_the_format_keeps_them(tmp_path: Path) -> None:
    grid, algorithm = Grid((4, 4, 4)), Algorithm("m", "1")
    table = (Label(1, "x" * 70 + "1", (255, 0, 0)), Label(2, "x" * 70 + "2", (0, 255, 0)))
    labels = np.zeros(grid.size, np.uint8)
    labels[0], labels[1, 0] = 1, 2
    job = Job((tmp_path / "scan.nrrd",), "scan", tmp_path / "labels.seg.nrrd", None)
    write_labelmap(job.output, labels, grid, table, algorithm)
    found = measure_finished([job], lambda _: table, algorithm)[job]
    assert [row.voxels for row in found.rows] == [16, 4]
    assert found.certain
