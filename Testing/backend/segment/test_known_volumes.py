"""Scans that show nothing of what a model knows: told by the volumes of its training, before anything is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from locator_tools import BOTH, SHARP, SIDES, write_two_sides
from segment_tools import Recorder, settings_for
from tiny_model import write_tiny_bundle

import mimseg
from mimseg.bundle.description import read_description
from mimseg.commands.segment.run import segment
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid
from mimseg.errors import UserError
from mimseg.inference import known_volumes
from mimseg.inference.known_volumes import ENTRY, finds_nothing_known, volumes_record

# In mL; voxels are of 1 mL here.
LEAST = 10.0
GRID = Grid((20, 20, 20), (10.0, 10.0, 10.0))


@pytest.fixture
def many(tmp_path):
    """A description of ten structures, nine of which every case of the training had."""
    description = read_description(write_tiny_bundle(tmp_path / "tiny") / "segmentation.json")
    labels = tuple(Label(value, f"part {value}", (0, 0, 0)) for value in range(1, 11))
    volumes = [[LEAST] * 9 + [0.0], [30.0] * 9 + [5.0]]
    record = volumes_record([label.name for label in labels], volumes)
    assert record["part 1"] == {"least": 10.0, "largest": 30.0}
    network = {**description.network, "classes": 11}
    return replace(description, labels=labels, network=network, training={ENTRY: record})


def found(*voxels):
    """Classes 1, 2, ... with so many voxels each."""
    classes = np.zeros(GRID.size, np.uint8)
    for index, count in enumerate(voxels, start=1):
        classes[index, :].flat[:count] = index
    return classes


def test_specks_and_one_or_two_structures_of_many_are_nothing(many):
    assert finds_nothing_known(found(*[1] * 9), many, GRID)
    assert finds_nothing_known(found(300, 300, 1, 1), many, GRID)
    assert finds_nothing_known(found(*[0] * 9, 300), many, GRID)  # the one that the training did not always have
    assert not finds_nothing_known(found(2, 2, 2), many, GRID)


def test_one_organ_of_a_dozen_is_something_if_it_is_as_large_as_in_the_training(many, monkeypatch):
    assert not finds_nothing_known(found(20), many, GRID)
    assert finds_nothing_known(found(9), many, GRID)
    assert finds_nothing_known(found(31), many, GRID)
    monkeypatch.setattr(known_volumes, "MANY_STRUCTURES", 9)
    assert finds_nothing_known(found(20), many, GRID)


def test_models_that_do_not_tell_are_not_judged(many):
    nothing = found()
    assert finds_nothing_known(nothing, many, GRID)
    assert finds_nothing_known(nothing[:2, :4], many, Grid((2, 4, 20), GRID.spacing))
    assert not finds_nothing_known(nothing, replace(many, training={}), GRID)
    few = {name: entry for name, entry in many.training[ENTRY].items() if name < "part 8"}
    assert len(few) == 8
    assert not finds_nothing_known(nothing, replace(many, training={ENTRY: {**few, "part 7": {"least": 0}}}), GRID)
    for wrong in ("x", {"part 1": 3}, {"part 1": {"least": "3"}}):
        assert not finds_nothing_known(nothing, replace(many, training={ENTRY: wrong}), GRID)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """`whole`, of a training whose grey and bright parts had 20 mL, and `part`, which finds its region by it."""
    monkeypatch.setattr(known_volumes, "FEWEST_STRUCTURES", 2)
    home = tmp_path / "models"
    monkeypatch.setenv("MIMSEG_MODELS", str(home))
    training = {ENTRY: volumes_record([label.name for label in SIDES], [[20.0, 20.0]])}
    write_tiny_bundle(home / "whole", SHARP, name="whole", labels=SIDES, training=training)
    write_tiny_bundle(home / "part", SHARP, name="part", field_of_view_mm=(10.0, 12.0, 8.0), locator=BOTH)
    write_two_sides(tmp_path / "scan.nrrd")
    return home


def test_nothing_is_written_of_a_scan_that_shows_nothing_known(tmp_path, models):
    with pytest.raises(UserError, match=r"whole finds nothing in .*scan\.nrrd that has the sizes") as refusal:
        segment(settings_for("whole", tmp_path / "scan.nrrd", tmp_path / "o.nrrd", table=tmp_path / "t.csv"))
    assert refusal.value.code == "nothing-known"
    assert not (tmp_path / "o.nrrd").exists()
    assert not (tmp_path / "t.csv").exists()
    with pytest.raises(UserError, match="whole finds nothing in this scan that has the sizes"):
        mimseg.open_model("whole", device="cpu").segment(mimseg.read(tmp_path / "scan.nrrd"))


def test_a_box_wins(tmp_path, models):
    box = (5.0, 20.0, 5.0, 20.0, 5.0, 20.0)
    segment(settings_for("whole", tmp_path / "scan.nrrd", tmp_path / "o.nrrd", regions=(box,)))
    assert (tmp_path / "o.nrrd").is_file()


def test_of_several_scans_the_others_are_segmented(tmp_path, models, monkeypatch):
    monkeypatch.setattr(known_volumes, "SHARE_OF_VOLUME", 0.1 / 20)
    array = np.zeros((4, 4, 4), np.float32)
    array[0, 0, 0] = 20
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "dark.nrrd"))
    recorder = Recorder()
    scans = (tmp_path / "scan.nrrd", tmp_path / "dark.nrrd")
    with pytest.raises(UserError, match="1 of 2 cases"):
        segment(settings_for("whole", scans, tmp_path / "out"), recorder)
    assert "nothing-known" in recorder.warnings
    assert len(list((tmp_path / "out").glob("scan*"))) == 1
    assert not list((tmp_path / "out").glob("dark*"))


def test_no_region_is_found_by_specks(tmp_path, models):
    with pytest.raises(UserError, match="No region for part was found"):
        segment(settings_for("part", tmp_path / "scan.nrrd", tmp_path / "o.nrrd"))
    assert not (tmp_path / "o.nrrd").exists()


def test_the_shipped_model_knows_a_part_of_a_head_and_refuses_a_breast(shared_data, tmp_path):
    head = shared_data / "odd" / "nibabel_anatomical.nii"
    segment(settings_for("head", head, tmp_path / "head.nii.gz", threads=1))
    assert (tmp_path / "head.nii.gz").is_file()
    breast = shared_data / "mr" / "pyradiomics_breast1" / "image.nrrd"
    with pytest.raises(UserError, match="has the sizes and places"):
        segment(settings_for("head", breast, tmp_path / "breast.nii.gz", threads=1))
    assert not (tmp_path / "breast.nii.gz").exists()
