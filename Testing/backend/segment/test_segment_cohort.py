"""Many cases: outputs, overlap of reading and writing, sharing among ranks, resuming."""

import csv
import dataclasses
import os
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import SimpleITK as sitk
from segment_tools import Recorder, settings_for, write_scan
from tiny_model import write_tiny_bundle

from mimseg.commands.segment import cases as segment_cases
from mimseg.commands.segment import sharing as segment_sharing
from mimseg.commands.segment.outputs import Job, expand_folders, plan_jobs
from mimseg.commands.segment.run import segment
from mimseg.commands.segment.sharing import CLAIMS_FOLDER, Rank, Shares, rank_of_process
from mimseg.commands.written import RECORD
from mimseg.data.intensity import Intensity
from mimseg.data.labels.labelmaps import read_labelmap, write_labelmap
from mimseg.data.preprocessing import Preprocessing
from mimseg.data.volume import Grid
from mimseg.errors import UserError
from mimseg.events import Reporter


@pytest.fixture
def sharp_model(tmp_path):
    """A model that keeps the scan's own spacing, so that its labels can be told to the voxel."""
    return write_tiny_bundle(tmp_path / "sharp", Preprocessing("RAS", None, Intensity("window", 0, 100)))


def test_several_scans_go_to_a_folder_with_one_table(tmp_path, sharp_model):
    folder = tmp_path / "Aufnahmen größer"
    folder.mkdir()
    expected, image = write_scan(folder / "eins.nii.gz")
    write_scan(folder / "zwei.nrrd", size=(12, 12, 12), spacing=(1.0, 1.0, 1.0))
    table = tmp_path / "out" / "volumes.csv"
    results = segment(
        settings_for(
            sharp_model,
            (folder / "eins.nii.gz", folder / "zwei.nrrd"),
            tmp_path / "out",
            table=table,
            preview=tmp_path / "out" / "look.png",
            file_format=".mha",
        )
    )
    assert [result.output.name for result in results] == ["eins_segmentation.mha", "zwei_segmentation.mha"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        RECORD,
        "eins_segmentation.mha",
        "look_eins.png",
        "look_zwei.png",
        "volumes.csv",
        "zwei_segmentation.mha",
    ]
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["label"], row["value"]) for row in rows] == [("Grey", "3"), ("Bright", "7")] * 2
    assert rows[0]["file"] == str(folder / "eins.nii.gz")
    assert int(rows[0]["voxels"]) == (expected == 3).sum()
    assert float(rows[0]["mL"]) == pytest.approx((expected == 3).sum() * np.prod(image.GetSpacing()) / 1000, rel=1e-4)


def test_one_bad_scan_among_several_does_not_stop_the_others(tmp_path, sharp_model):
    (tmp_path / "bad.nrrd").write_text("nothing")
    write_scan(tmp_path / "good.nrrd")
    recorder = Recorder()
    with pytest.raises(UserError, match="1 of 2 cases") as refusal:
        segment(settings_for(sharp_model, (tmp_path / "bad.nrrd", tmp_path / "good.nrrd"), tmp_path / "out"), recorder)
    assert refusal.value.code == "cases-failed"
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["good_segmentation.nii.gz"]
    assert any("bad.nrrd" in event[2] for event in recorder.events if event[0] == "warning")


@pytest.mark.parametrize(
    ("output", "inputs", "named"),
    [
        ("labels.txt", ["a.nrrd"], "ending"),
        ("labels.nii.gz", ["a.nrrd", "b.nrrd"], "cannot all be written"),
        ("a.nrrd", ["a.nrrd"], "also an input"),
        ("b.nhdr", ["a.nrrd"], "ending"),
        ("out", ["x/a.nrrd", "x/a.mha"], "same output name"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(tmp_path, output, inputs, named):
    for name in inputs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=named) as refusal:
        plan_jobs([tmp_path / name for name in inputs], 1, tmp_path / output)
    assert refusal.value.hint


def test_equal_names_from_different_folders_get_the_folder_name(tmp_path):
    inputs = [tmp_path / subject / "T1.nii.gz" for subject in ("sub-01", "sub-02")]
    for path in inputs:
        path.parent.mkdir()
        path.touch()
    jobs = plan_jobs(inputs, 1, tmp_path / "out")
    assert [job.output.name for job in jobs] == ["sub-01_T1_segmentation.nii.gz", "sub-02_T1_segmentation.nii.gz"]


def test_frames_of_one_file_get_results_and_rows_of_their_own(tmp_path, sharp_model):
    frames = [write_scan(tmp_path / "3d.nrrd")[1] * factor for factor in (1, 0)]
    sitk.WriteImage(sitk.JoinSeries(frames), str(tmp_path / "4d.nii.gz"))
    settings = settings_for(
        sharp_model, tmp_path / "4d.nii.gz", tmp_path / "out", table=tmp_path / "v.csv", resume=True
    )
    (first,), (other,) = (segment(dataclasses.replace(settings, frame=number)) for number in (0, 1))
    assert [result.output.name for result in (first, other)] == [f"4d_frame{n}_segmentation.nii.gz" for n in (0, 1)]
    assert read_labelmap(first.output).array.any()
    assert not read_labelmap(other.output).array.any()
    with (tmp_path / "v.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row["file"] for row in csv.DictReader(stream)]
    assert rows == [f"{tmp_path / '4d.nii.gz'} frame {number}" for number in (0, 0, 1, 1)]


def jobs_in(folder, count=6):
    return [Job((folder / f"{n}.nrrd",), str(n), folder / "out" / f"{n}.nii.gz", None) for n in range(count)]


def finish(job):
    write_labelmap(job.output, np.ones((3, 3, 3), np.uint8), Grid((3, 3, 3)))


def test_ranks_share_the_list_and_help_each_other_without_doing_a_case_twice(tmp_path):
    jobs, done = jobs_in(tmp_path), []
    with (
        Shares(jobs, Rank(0, 2), False, Reporter()) as slow,
        Shares(jobs, Rank(1, 2), False, Reporter()) as fast,
    ):
        slow_jobs = slow.take()
        held = next(slow_jobs)
        for job in fast.take():
            finish(job)
            fast.finished(job)
            done.append(job.name)
        finish(held)
        slow.finished(held)
        assert held.name == "0"
        assert done == ["1", "3", "5", "4", "2"]
        assert not list(slow_jobs)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_results_that_are_empty_or_cut_off_are_not_taken_for_done(tmp_path, share):
    """As a full disk leaves them."""
    jobs = jobs_in(tmp_path, 3)
    for job in jobs:
        finish(job)
    content = jobs[1].output.read_bytes()
    jobs[1].output.write_bytes(content[: int(len(content) * share)])
    with Shares(jobs, Rank(), True, Reporter()) as shares:
        assert [job.name for job in shares.finished_before] == ["0", "2"]
        assert [job.name for job in shares.take()] == ["1"]


def test_a_rank_that_died_blocks_nothing(tmp_path):
    jobs = jobs_in(tmp_path, 2)
    code = (
        "import sys, os; from pathlib import Path; from mimseg.commands.locks import claim\n"
        "with claim(Path(sys.argv[1])) as mine: print(mine, flush=True); os._exit(9)"
    )
    lock = tmp_path / "out" / CLAIMS_FOLDER / "1.nii.gz.lock"
    dead = subprocess.run([sys.executable, "-c", code, str(lock)], capture_output=True, text=True, timeout=60)
    assert dead.stdout.strip() == "True"
    assert lock.exists()
    with Shares(jobs, Rank(0, 2), False, Reporter()) as shares:
        assert [job.name for job in shares.take()] == ["0", "1"]


def test_without_locks_each_rank_keeps_to_its_own_part(tmp_path, monkeypatch):
    monkeypatch.setattr(segment_sharing, "claim", lambda path: nullcontext(False))
    recorder = Recorder()
    with Shares(jobs_in(tmp_path), Rank(1, 2), False, recorder) as shares:
        assert [job.name for job in shares.take()] == ["1", "3", "5"]
    assert recorder.warnings == ["no-locks"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Rank()),
        ({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "1"}, Rank(1, 4, 1)),
        ({"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "8", "SLURM_CPUS_PER_TASK": "4"}, Rank(2, 8, 0, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, Rank()),  # the shell of sbatch or salloc
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"}, Rank()),
        ({"SLURM_PROCID": "x", "SLURM_STEP_NUM_TASKS": "one"}, Rank()),
    ],
)
def test_the_rank_comes_from_torchrun_or_slurm(environment, expected):
    assert rank_of_process(environment) == expected


def test_ranks_of_one_computer_share_the_cores_that_they_may_use(monkeypatch):
    monkeypatch.setattr(segment_sharing, "usable_cores", lambda: 8)
    environment = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert rank_of_process(environment) == Rank(1, 4, 1, 2)


def test_two_ranks_make_one_table_and_resume_fills_it(tmp_path, sharp_model, monkeypatch):
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("a", "b", "c"):
        write_scan(scans / f"{name}.nrrd", size=(12, 12, 12), spacing=(1.0, 1.0, 1.0))
    table = tmp_path / "volumes.csv"
    settings = settings_for(sharp_model, scans, tmp_path / "out", table=table, file_format=".nrrd")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert [result.output.stem[0] for result in segment(settings)] == ["b", "c", "a"]
    monkeypatch.setenv("RANK", "0")
    recorder = Recorder()
    assert segment(settings, recorder) == []
    assert recorder.events[-1][1]["outputs"] == []
    complete = table.read_text(encoding="utf-8")
    assert [line.split(",")[0][-6:] for line in complete.splitlines()[1::2]] == ["a.nrrd", "b.nrrd", "c.nrrd"]
    monkeypatch.delenv("RANK")
    (tmp_path / "out" / "c_segmentation.nrrd").unlink()
    table.unlink()
    (again,) = segment(dataclasses.replace(settings, resume=True))
    assert again.output.name == "c_segmentation.nrrd"
    assert table.read_text(encoding="utf-8") == complete
    table.write_text("other,columns\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match="no report that mimseg wrote"):
        segment(dataclasses.replace(settings, resume=True))


def test_a_folder_of_images_is_all_of_them_but_labels_and_results(tmp_path):
    for name in ("b.nii.gz", "sub/a.nrrd", "labelsTr/a.nrrd", "a_segmentation.nii.gz", ".hidden.nrrd", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    expanded = expand_folders([tmp_path, tmp_path / "empty"], 1)
    assert expanded == [tmp_path / "b.nii.gz", tmp_path / "sub" / "a.nrrd", tmp_path / "empty"]
    with pytest.raises(UserError, match="2 files for each case"):
        expand_folders([tmp_path], 2)


def test_a_dicom_folder_stays_one_volume_whatever_else_lies_in_it(tmp_path):
    (tmp_path / "slice1").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "labels.nrrd").touch()
    (tmp_path / "scan.nrrd").touch()
    assert expand_folders([tmp_path], 1) == [tmp_path]


def test_a_fault_of_ours_in_one_scan_leaves_the_others_their_results(tmp_path, sharp_model, monkeypatch):
    for name in ("a", "b", "c"):
        write_scan(tmp_path / f"{name}.nrrd")
    read = segment_cases.read_volume

    def fail(path, *arguments):
        if path.name == "b.nrrd":
            raise KeyError("surprise")
        return read(path, *arguments)

    monkeypatch.setattr(segment_cases, "read_volume", fail)
    recorder = Recorder()
    scans = tuple(tmp_path / f"{name}.nrrd" for name in ("a", "b", "c"))
    with pytest.raises(UserError, match="1 of 3 cases"):
        segment(settings_for(sharp_model, scans, tmp_path / "out"), recorder)
    assert sorted(path.name[0] for path in (tmp_path / "out").glob("[!.]*")) == ["a", "c"]
    told = [event for event in recorder.events if event[:2] == ("warning", "bug")]
    assert len(told) == 1
    assert "b: " in told[0][2]
    assert "KeyError" in told[0][2]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are always valid Unicode there")
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_names_that_are_no_utf_8_are_read_and_written(tmp_path, sharp_model, ending):
    folder = tmp_path / os.fsdecode(b"M\xfcller")
    folder.mkdir()
    scan = folder / os.fsdecode(b"gr\xf6\xdfe" + ending.encode())
    expected, _ = write_scan(tmp_path / f"plain{ending}")
    (tmp_path / f"plain{ending}").rename(scan)
    results = segment(
        settings_for(sharp_model, scan, folder / "out", file_format=ending, table=folder / "v.csv"), Reporter()
    )
    assert results[0].output.name == os.fsdecode(b"gr\xf6\xdfe_segmentation" + ending.encode())
    assert np.array_equal(read_labelmap(results[0].output).array, expected)
    assert (folder / "v.csv").read_text(encoding="utf-8").count("\\udcf6") == 2
