"""Models that find their own region, measured on whole scans and ranking them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from locator_tools import write_pair, write_two_sides
from segment_tools import Recorder

import mimseg.commands.measure.run as measure_run
import mimseg.commands.rank.case as rank_case
from mimseg.bundle.documents.model_card import model_card
from mimseg.bundle.reader import open_bundle
from mimseg.commands.measure.run import MeasureSettings, measure_inference
from mimseg.commands.rank.run import RankSettings, rank
from mimseg.errors import OutOfMemory, UserError


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The folder that models are looked for in."""
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / "models"))
    return write_pair(tmp_path / "models")


@pytest.fixture
def whole_scans(tmp_path):
    """Two whole scans with the truth in the values of `part`, the same ones on both sides."""
    entries = []
    for number in range(2):
        array = write_two_sides(tmp_path / f"scan_{number}.nrrd")
        truth = sitk.GetImageFromArray(np.where(array == 100, 7, (array == 50) * 3).astype(np.uint8).T.copy())
        truth.CopyInformation(sitk.ReadImage(str(tmp_path / f"scan_{number}.nrrd")))
        sitk.WriteImage(truth, str(tmp_path / f"truth_{number}.nrrd"))
        entries.append({"image": f"scan_{number}.nrrd", "label": f"truth_{number}.nrrd"})
    (tmp_path / "cases.json").write_text(json.dumps(entries), encoding="utf-8")
    return tmp_path / "cases.json"


@pytest.fixture
def opened(monkeypatch):
    """Names and devices of the engines that a measurement opens."""
    names, real = [], measure_run.open_engine

    def open_one(bundle, device, *rest, **options):
        names.append((bundle.description.name, device, options.get("precision", "")))
        return real(bundle, device, *rest, **options)

    monkeypatch.setattr(measure_run, "open_engine", open_one)
    return names


def test_whole_scans_are_measured_in_the_located_boxes(models, whole_scans, opened):
    recorder = Recorder()
    measure_inference(MeasureSettings("part", whole_scans, device="cpu"), recorder)
    record = open_bundle(models / "part").description.scores["inference"]
    assert record["cases"] == 2
    # One window in each box of each scan, and everything right on both sides.
    assert record["variants"][0]["windows"] == 4
    assert record["variants"][0]["mean_dice"] == 1
    assert [name for name, _, precision in opened if not precision] == ["part", "whole"]
    assert {event[1] for event in recorder.events if event[0] == "progress"} == {"measure"}


def test_a_scan_in_which_nothing_is_located_ends_the_measurement(models, whole_scans, tmp_path):
    before = (models / "part" / "segmentation.json").read_bytes()
    image = sitk.ReadImage(str(tmp_path / "scan_1.nrrd"))
    sitk.WriteImage(image * 0.1, str(tmp_path / "scan_1.nrrd"))
    with pytest.raises(UserError, match="No region for part was found"):
        measure_inference(MeasureSettings("part", whole_scans, device="cpu"), Recorder())
    assert (models / "part" / "segmentation.json").read_bytes() == before


def test_a_gpu_without_memory_hands_the_measurement_over_to_the_cpu(models, whole_scans, monkeypatch):
    real, opened = measure_run.open_engine, []

    class SmallGpu:
        name, device = "torch", "cuda"

        def __call__(self, batch):
            raise OutOfMemory("The memory of cuda does not suffice.", code="gpu-out-of-memory")

    def open_one(bundle, device, *rest, **options):
        opened.append((bundle.description.name, device))
        if device == "auto" and bundle.description.name == "whole":
            return SmallGpu()
        return real(bundle, "cpu", *rest, **options)

    monkeypatch.setattr(measure_run, "open_engine", open_one)
    recorder = Recorder()
    bundle = measure_inference(MeasureSettings("part", whole_scans), recorder)
    assert "gpu-out-of-memory" in recorder.warnings
    assert {("part", "cpu"), ("whole", "cpu")} <= set(opened)
    assert bundle.description.scores["inference"]["variants"][0]["mean_dice"] == 1


def test_a_ranking_opens_each_engine_once_and_leaves_out_what_is_not_located(models, tmp_path, monkeypatch):
    opened, real = [], rank_case.open_engine
    monkeypatch.setattr(rank_case, "open_engine", lambda b, *a: opened.append(b.description.name) or real(b, *a))
    (tmp_path / "scans").mkdir()
    for name in ("a", "b", "empty"):
        write_two_sides(tmp_path / "scans" / f"{name}.nrrd")
    image = sitk.ReadImage(str(tmp_path / "scans" / "empty.nrrd"))
    sitk.WriteImage(image * 0.1, str(tmp_path / "scans" / "empty.nrrd"))
    recorder = Recorder()
    ranking = rank(RankSettings((tmp_path / "scans",), ("part",), tmp_path / "out"), recorder)
    assert sorted(case.name for case in ranking.cases) == ["a", "b"]
    assert ranking.left_out == ("empty",)
    assert "nothing-located" in recorder.warnings
    assert opened.count("whole") == 1


def test_the_card_says_that_a_model_finds_its_region(models):
    description = open_bundle(models / "part").description
    assert "Finds its region by itself: in a large scan the model whole shows it where to look" in model_card(
        description
    )
    assert "by itself" not in model_card(replace(description, locator=None))
