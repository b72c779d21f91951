"""Models that find their own region: where boxes are laid, what is mirrored, who wins, what is said of nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from locator_tools import BOTH, IDENTITY_RAS, SHARP, expected_of, write_pair, write_two_sides
from segment_tools import OBLIQUE, Recorder, settings_for
from tiny_model import LABELS, write_tiny_bundle

import mimseg
from mimseg.bundle.description import Description
from mimseg.bundle.locator import Locator, Place, located_labels
from mimseg.bundle.reader import open_bundle
from mimseg.commands.finetune.locator import parse_locator
from mimseg.commands.rank.case import Ensemble
from mimseg.commands.segment.run import segment
from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names
from mimseg.data.labels.structures import Code, Label
from mimseg.data.volumes import read_volume
from mimseg.errors import OutOfMemory, UserError
from mimseg.inference.locating import Located, cut, locate, uncut
from mimseg.inference.pipeline import segment_volume


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The folder that models are looked for in."""
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / "models"))
    return write_pair(tmp_path / "models")


@pytest.mark.parametrize("direction", [IDENTITY_RAS, IDENTITY_RAS @ OBLIQUE], ids=["straight", "oblique"])
def test_both_sides_of_a_large_scan_are_found_and_told_apart(tmp_path, models, direction):
    array = write_two_sides(tmp_path / "scan.nrrd", direction=direction)
    recorder = Recorder()
    (result,) = segment(settings_for("part", tmp_path / "scan.nrrd", tmp_path / "o.seg.nrrd"), recorder)
    assert np.array_equal(read_labelmap(tmp_path / "o.seg.nrrd").array, expected_of(array))
    names = {3: "Left grey", 7: "Left bright", 10: "Right grey", 14: "Right bright"}
    assert read_segment_names(tmp_path / "o.seg.nrrd") == names
    assert [row.label for row in result.volumes] == list(names.values())
    phases = [event[1] for event in recorder.events if event[0] == "progress"]
    assert list(dict.fromkeys(phases)) == ["read", "find the region", "segment left", "segment right", "write"]
    assert recorder.warnings == []


def test_a_mirrored_place_is_seen_the_other_way_round(tmp_path):
    write_two_sides(tmp_path / "scan.nrrd")
    volume = read_volume(tmp_path / "scan.nrrd")
    from mimseg.data.regions import Box

    box = Box((30, 10, 8), (40, 20, 16))
    plain, mirrored = (cut(volume, Located(Place(("x",), "right", m), 0, box)) for m in (False, True))
    assert np.array_equal(plain.array, volume.array[30:40, 10:20, 8:16])
    assert np.array_equal(mirrored.array, plain.array[::-1])
    back = uncut(mirrored.array, volume.grid, Located(Place(("x",), "right", True), 0, box))
    assert np.array_equal(back, plain.array)
    assert np.allclose(plain.grid.origin, volume.grid.to_point(np.array([[30.0, 10, 8]]))[0])


def test_a_box_of_the_user_wins_and_small_scans_need_no_locator(tmp_path, models):
    array = write_two_sides(tmp_path / "scan.nrrd")
    recorder = Recorder()
    box = (33.0, 41.0, 11.0, 19.0, 9.0, 15.0)
    segment(settings_for("part", tmp_path / "scan.nrrd", tmp_path / "o.nrrd", regions=(box,)), recorder)
    found = read_labelmap(tmp_path / "o.nrrd").array
    assert set(np.unique(found)) == {0, 3, 7}
    assert not found[:30].any()
    small = array[30:42, 10:22, 8:18]
    image = sitk.GetImageFromArray(np.ascontiguousarray(small.T))
    sitk.WriteImage(image, str(tmp_path / "small.nrrd"))
    segment(settings_for("part", tmp_path / "small.nrrd", tmp_path / "s.nrrd"), recorder)
    assert np.array_equal(read_labelmap(tmp_path / "s.nrrd").array, np.where(small == 100, 7, (small == 50) * 3))
    phases = {event[1] for event in recorder.events if event[0] == "progress"}
    assert "find the region" not in phases


def test_what_is_not_there_ends_in_a_clear_message(tmp_path, models):
    write_two_sides(tmp_path / "empty.nrrd")
    image = sitk.ReadImage(str(tmp_path / "empty.nrrd"))
    sitk.WriteImage(image * 0.1, str(tmp_path / "empty.nrrd"))
    with pytest.raises(UserError, match=r"No region for part was found.*nothing was segmented") as refusal:
        segment(settings_for("part", tmp_path / "empty.nrrd", tmp_path / "o.nrrd"))
    assert refusal.value.code == "nothing-located"
    assert not (tmp_path / "o.nrrd").exists()


def test_one_side_alone_is_segmented_and_the_other_one_named(tmp_path, models):
    array = write_two_sides(tmp_path / "scan.nrrd", right=0.0)
    recorder = Recorder()
    segment(settings_for("part", tmp_path / "scan.nrrd", tmp_path / "o.nrrd"), recorder)
    assert np.array_equal(read_labelmap(tmp_path / "o.nrrd").array, expected_of(array))
    assert recorder.warnings == ["not-located"]


def test_structures_are_chosen_with_and_without_their_side(tmp_path, models):
    array = write_two_sides(tmp_path / "scan.nrrd")
    for names, values in ((("grey",), {3, 10}), (("Right grey",), {10}), (("Bright", "left grey"), {3, 14})):
        segment(settings_for("part", tmp_path / "scan.nrrd", tmp_path / "o.nrrd", labels=names))
        assert set(np.unique(read_labelmap(tmp_path / "o.nrrd").array)) - {0} == values & set(
            np.unique(expected_of(array))
        )
    with pytest.raises(UserError, match="has no structure 'liver'"):
        segment(settings_for("part", tmp_path / "scan.nrrd", tmp_path / "o.nrrd", labels=("liver",)))


def test_a_missing_locator_is_told_and_the_model_still_works(tmp_path, models):
    write_tiny_bundle(
        models / "alone", SHARP, name="alone", field_of_view_mm=(10.0, 12.0, 8.0), locator=replace(BOTH, model="gone")
    )
    write_two_sides(tmp_path / "scan.nrrd")
    recorder = Recorder()
    segment(settings_for("alone", tmp_path / "scan.nrrd", tmp_path / "o.nrrd"), recorder)
    assert recorder.warnings == ["no-locator", "field-of-view"]


def test_a_cohort_opens_each_engine_once(tmp_path, models, monkeypatch):
    import mimseg.commands.segment.run as run

    opened = []
    original = run.open_engine
    monkeypatch.setattr(
        run, "open_engine", lambda bundle, *a: opened.append(bundle.description.name) or original(bundle, *a)
    )
    for name in ("a", "b"):
        write_two_sides(tmp_path / f"{name}.nrrd")
    scans = (tmp_path / "a.nrrd", tmp_path / "b.nrrd")
    segment(settings_for("part", scans, tmp_path / "out", table=tmp_path / "t.csv"))
    assert sorted(opened) == ["part", "whole"]
    assert (tmp_path / "t.csv").read_text().count("Right bright") == 2


def test_a_gpu_without_memory_hands_both_engines_over_to_the_cpu(tmp_path, models, monkeypatch):
    import mimseg.commands.segment.run as run

    array = write_two_sides(tmp_path / "scan.nrrd")
    opened, real = [], run.open_engine

    class SmallGpu:
        name, device = "torch", "cuda"

        def __call__(self, batch):
            raise OutOfMemory("The memory of cuda does not suffice.", code="gpu-out-of-memory")

    def open_one(bundle, device, *rest):
        opened.append((bundle.description.name, device))
        return SmallGpu() if device == "auto" else real(bundle, device, *rest)

    monkeypatch.setattr(run, "open_engine", open_one)
    recorder = Recorder()
    settings = replace(settings_for("part", tmp_path / "scan.nrrd", tmp_path / "o.nrrd"), device="auto", engine="auto")
    segment(settings, recorder)
    assert recorder.warnings == ["gpu-out-of-memory"]
    assert opened == [("part", "auto"), ("whole", "auto"), ("whole", "cpu"), ("part", "cpu")]
    assert np.array_equal(read_labelmap(tmp_path / "o.nrrd").array, expected_of(array))


def test_the_pair_scores_as_the_model_alone_in_its_box(tmp_path, models):
    """What the model finds in a located box is what it finds in that box cut out by hand."""
    write_two_sides(tmp_path / "scan.nrrd")
    volume = read_volume(tmp_path / "scan.nrrd")
    part, whole = (open_bundle(models / name) for name in ("part", "whole"))
    from mimseg.inference.engines import open_engine

    engines = [open_engine(bundle, "cpu") for bundle in (part, whole)]
    located = locate(volume, part.description, BOTH, whole.description, engines[1])
    assert [each.box.size for each in located] == [(10, 12, 8)] * 2
    assert [tuple(np.add(each.box.start, each.box.stop) / 2) for each in located] == [(13, 15, 12), (37, 15, 12)]
    alone = segment_volume(cut(volume, located[0]), part.description, engines[0])
    segment(settings_for("part", tmp_path / "scan.nrrd", tmp_path / "o.nrrd"))
    pair = read_labelmap(tmp_path / "o.nrrd").array[located[0].box.slices]
    assert np.array_equal(pair, np.array([0, 3, 7])[alone])


def test_located_labels_keep_codes_and_name_their_side():
    coded = Label(1, "Hippocampus", (1, 2, 3), type=Code("SCT", "5366008", "Hippocampus"))
    left, right = located_labels([coded], BOTH)
    assert (left.value, left.name, right.value, right.name) == (1, "Left hippocampus", 2, "Right hippocampus")
    assert right.modifier is not None
    assert right.modifier.value == "24028007"
    assert [label.name for label in located_labels([LABELS[0]], Locator("w", (Place(("x",)),)))] == ["Grey"]


def test_descriptions_keep_their_locator_and_refuse_unusable_ones(tmp_path):
    folder = write_tiny_bundle(tmp_path / "part", field_of_view_mm=(10.0, 12.0, 8.0), locator=BOTH)
    content = json.loads((folder / "segmentation.json").read_text())
    assert Description.from_json(content).locator == BOTH
    for wrong in ({}, {"model": "whole", "places": []}, {"model": "whole", "places": [{"structures": "x"}]}):
        with pytest.raises(UserError):
            Description.from_json({**content, "locator": wrong})
    with pytest.raises(UserError, match="no field of view"):
        Description.from_json({**content, "field_of_view_mm": None})


def test_an_empty_result_is_told(tmp_path, models):
    write_two_sides(tmp_path / "scan.nrrd")
    image = sitk.ReadImage(str(tmp_path / "scan.nrrd"))
    sitk.WriteImage(image * 0.1, str(tmp_path / "scan.nrrd"))
    recorder = Recorder()
    segment(settings_for("whole", tmp_path / "scan.nrrd", tmp_path / "o.nrrd"), recorder)
    assert recorder.warnings == ["nothing-found"]


def test_a_structure_without_a_side_means_both_sides(models):
    both = parse_locator("whole:part")
    assert both == replace(BOTH, places=tuple(replace(place, mirrored=False) for place in BOTH.places))
    assert parse_locator("whole:part", "left") == BOTH
    assert parse_locator("whole:right-part").places == (Place(("Right-Part",), "right"),)
    for text, message in (
        ("whole", "not MODEL:STRUCTURE"),
        ("whole:liver", "no structure 'liver'"),
        ("gone:x", "gone"),
    ):
        with pytest.raises(UserError, match=message):
            parse_locator(text)


def test_rank_looks_where_the_locator_points(tmp_path, models):
    array = write_two_sides(tmp_path / "scan.nrrd", stray=True)  # a bright voxel outside of both boxes
    judged = Ensemble([str(models / "part")], False).judge(read_volume(tmp_path / "scan.nrrd"))
    both_alike = np.where(array == 100, 7, (array == 50) * 3)
    both_alike[2, 2, 2] = 0
    assert np.array_equal(judged.labels, both_alike)
    assert judged.volumes_ml["Bright"] == pytest.approx((both_alike == 7).sum() / 1000)


def test_the_library_finds_regions_too(tmp_path, models):
    array = write_two_sides(tmp_path / "scan.nrrd")
    model = mimseg.open_model("part", device="cpu")
    found = model.segment(mimseg.read(tmp_path / "scan.nrrd"), names=["bright"])
    assert np.array_equal(found.array, np.where(array == 100, 14, 0))
    assert list(found.volumes()) == ["Left bright", "Right bright"]
