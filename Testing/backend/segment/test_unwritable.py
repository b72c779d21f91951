"""What cannot be written is told early, costs no other file, and is never said to be there."""

import pytest
from segment_tools import Recorder, settings_for, write_scan
from tiny_model import write_tiny_bundle

from mimseg.commands.segment import cases as segment_cases
from mimseg.commands.segment import run as segment_task
from mimseg.commands.segment.run import segment
from mimseg.errors import UserError


@pytest.fixture
def model(tmp_path):
    return write_tiny_bundle(tmp_path / "tiny")


@pytest.mark.parametrize("place", ["output", "preview", "table"])
def test_a_folder_that_takes_no_files_is_told_before_anything_is_computed(tmp_path, model, monkeypatch, place):
    write_scan(tmp_path / "a.nrrd")
    (tmp_path / "file").write_text("")
    targets = {"output": tmp_path / "out" / "a.nii.gz", "preview": tmp_path / "a.png", "table": tmp_path / "a.csv"}
    targets[place] = tmp_path / "file" / "deep" / targets[place].name
    monkeypatch.setattr(segment_task, "open_engine", lambda *arguments: pytest.fail("the engine was opened"))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="deep cannot be written") as refusal:
        segment(settings_for(model, tmp_path / "a.nrrd", **targets))
    assert refusal.value.code == "cannot-write"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_picture_that_fails_costs_no_labels(tmp_path, model, monkeypatch):
    write_scan(tmp_path / "a.nrrd")

    def fail(path, picture):
        raise UserError(f"{path} cannot be written (the disk is full).", "Free some space.", "cannot-write")

    monkeypatch.setattr(segment_cases, "write_png", fail)
    recorder = Recorder()
    settings = settings_for(model, tmp_path / "a.nrrd", tmp_path / "a.nii.gz", preview=tmp_path / "a.png")
    (result,) = segment(settings, recorder)
    assert recorder.warnings == ["no-preview"]
    assert result.output.is_file()
    assert result.preview is None


def test_labels_that_cannot_be_written_end_the_run(tmp_path, model, monkeypatch):
    scans = tuple(tmp_path / f"{name}.nrrd" for name in "abcd")
    for path in scans:
        write_scan(path)
    tried = []

    def fail(path, *arguments):
        tried.append(path)
        raise UserError(f"{path} cannot be written (the disk is full).", "Free some space.", "cannot-write")

    monkeypatch.setattr(segment_cases, "write_labelmap", fail)
    with pytest.raises(UserError, match=r"a_segmentation\.nii\.gz cannot be written"):
        segment(settings_for(model, scans, tmp_path / "out"))
    assert len(tried) == 1


def test_the_last_message_claims_no_results_that_are_not_there(tmp_path, model):
    for name in "ab":
        (tmp_path / f"{name}.nrrd").write_text("nothing")
    with pytest.raises(UserError, match="no result is written") as refusal:
        segment(settings_for(model, (tmp_path / "a.nrrd", tmp_path / "b.nrrd"), tmp_path / "out"))
    assert refusal.value.code == "cases-failed"
