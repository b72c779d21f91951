"""Training with a locator: large cases are cut to the boxes that `segment` lays, small ones stay as they are."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from dataclasses import replace  # noqa: E402

from locator_tools import BOTH, IDENTITY_RAS, write_pair, write_two_sides  # noqa: E402
from segment_tools import OBLIQUE, Recorder  # noqa: E402

from mimseg.bundle.locator import Locator  # noqa: E402
from mimseg.bundle.reader import open_bundle  # noqa: E402
from mimseg.commands.crossvalidate.run import CrossvalidationSettings, crossvalidate  # noqa: E402
from mimseg.commands.finetune.boxes import _Region as Region  # noqa: E402
from mimseg.commands.finetune.boxes import lay_boxes  # noqa: E402
from mimseg.commands.finetune.data import load_labelled_data, split_cases  # noqa: E402
from mimseg.commands.finetune.run import finetune  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.commands.segment.finder import Finder  # noqa: E402
from mimseg.data.cases import load_dataset  # noqa: E402
from mimseg.data.labels.scheme import LabelScheme  # noqa: E402
from mimseg.data.labels.structures import Label  # noqa: E402
from mimseg.data.orientation import turn_to  # noqa: E402
from mimseg.data.volume import Grid  # noqa: E402
from mimseg.data.volumes import read_volume  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.inference.engines import open_engine  # noqa: E402
from mimseg.inference.locating import Middle, box_around, find_middles, left_right_axis  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.curves import Curves  # noqa: E402
from mimseg.training.loop import Budget  # noqa: E402

SHAPE = UnetrSettings(window=(16, 16, 16), patch_size=8, layers=3, hidden_size=24, mlp_size=24, heads=2, feature_size=2)
LEFT, RIGHT = (slice(10, 16), slice(12, 18), slice(10, 14)), (slice(34, 40), slice(12, 18), slice(10, 14))


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """The folder that models are looked for in: `whole` finds what is grey on the left and bright on the right."""
    monkeypatch.setattr(Curves, "_draw", lambda self: None)
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / "models"))
    return write_pair(tmp_path / "models")


def write_scans(folder, count, lumps=(LEFT, RIGHT), direction=IDENTITY_RAS, names=("lump",), **scan):
    """Whole scans with these boxes labelled, all as one structure or each as its own."""
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    entries = []
    for number in range(count):
        file = f"scan_{number}.nrrd"
        array = write_two_sides(folder / "imagesTr" / file, direction=direction, **scan)
        labels = np.zeros(array.shape, np.uint8)
        for value, where in enumerate(lumps, start=1):
            labels[where] = min(value, len(names))
        write_like(folder / "labelsTr" / file, labels, folder / "imagesTr" / file)
        entries.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
    write_list(folder, entries, names)
    return folder


def write_like(path, array, other):
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.CopyInformation(sitk.ReadImage(str(other)))
    sitk.WriteImage(image, str(path))


def write_list(folder, entries, names):
    labels = {"0": "background", **{str(value): name for value, name in enumerate(names, start=1)}}
    content = {"labels": labels, "modality": {"0": "MRI"}, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def settings(data, tmp_path, **changes):
    return replace(
        FinetuneSettings(
            data, tmp_path / "own", Budget(2), None, SHAPE, window=(16, 16, 16), spacing=(1.0, 1.0, 1.0), device="cpu",
            precision="32-true", measure=False, locator=BOTH,
        ),
        **changes,
    )  # fmt: skip


def load(chosen):
    recorder = Recorder()
    return load_labelled_data(chosen, None, recorder), recorder


def boxes_of(chosen):
    """As `lay_boxes` gives them, with the codes of warnings."""
    recorder = Recorder()
    training, validation = split_cases(load_dataset(chosen.data, True), chosen)
    scheme = LabelScheme((Label(1, "lump", (1, 2, 3)),))
    return lay_boxes(chosen, (*training, *validation), scheme, recorder), recorder.warnings


@pytest.mark.parametrize("direction", [IDENTITY_RAS, IDENTITY_RAS @ OBLIQUE], ids=["straight", "oblique"])
def test_the_boxes_are_those_that_segment_lays_with_the_new_model(tmp_path, direction):
    chosen = settings(write_scans(tmp_path / "data", 5, direction=direction), tmp_path)
    boxes, warnings = boxes_of(chosen)
    assert warnings == []
    finetune(chosen, Reporter())
    description = open_bundle(chosen.output).description
    # Lumps of 6 x 6 x 4 mm, and half as much again.
    assert description.field_of_view_mm == pytest.approx((9, 9, 6), abs=1)
    finder = Finder(description, True, (), Reporter())
    for number in range(5):
        volume = read_volume(chosen.data / "imagesTr" / f"scan_{number}.nrrd")
        expected = finder.boxes(volume, lambda bundle: open_engine(bundle, "cpu"))
        assert tuple(expected) == boxes[f"scan_{number}"]
        assert [each.place.side for each in expected] == ["left", "right"]
    record = description.training["finetuning"]
    assert (record["training_cases"], record["validation_cases"]) == (4, 1)
    assert [row["case"] for row in description.scores["validation"]] == [1, 1]
    assert description.scores["summary"]["cases"] == 1
    assert "trained on 4 cases" in description.description


def test_a_mirrored_box_shows_the_trained_side(tmp_path):
    data, recorder = load(settings(write_scans(tmp_path / "data", 2), tmp_path))
    assert [case.identifier for case in data.training] == ["scan_0", "scan_0", "scan_1", "scan_1"]
    assert "whole-scans" not in recorder.warnings
    left, right = data.training[:2]
    for case in (left, right):
        assert case.label.shape == case.image.shape[1:]
        assert max(case.label.shape) <= 10
        assert int((case.label == 1).sum()) == 6 * 6 * 4
    # Of the bright side, a mark lies in the second and third voxel of the lump; mirrored, in the fourth and fifth.
    assert right.image[0][right.label == 1].reshape(6, 6, 4)[[3, 4], 2, 1].tolist() == pytest.approx(
        right.image[0][right.label == 1].min().repeat(2).tolist()
    )
    plain, _ = load(settings(tmp_path / "data", tmp_path, locator=None))
    assert [case.label.shape for case in plain.training] == [(48, 30, 28)] * 2


def test_sides_come_from_the_locator_not_from_the_labels(tmp_path):
    chosen = settings(write_scans(tmp_path / "data", 2, names=("Left lump", "Right lump")), tmp_path)
    with pytest.raises(UserError, match="'Left lump' has a side") as refusal:
        load(chosen)
    assert refusal.value.code == "sided-labels"
    # A model of one side may have them; what it sees mirrored is of the other side.
    data, _ = load(replace(chosen, locator=Locator("whole", BOTH.places[1:])))
    assert [case.label.unique().tolist() for case in data.training] == [[0, 1]] * 2
    names = [{"value": 1, "name": "Lump", "color": [1, 2, 3], "also": [2]}]
    (tmp_path / "labels.json").write_text(json.dumps(names), encoding="utf-8")
    data, _ = load(replace(chosen, labels=tmp_path / "labels.json"))
    assert [case.label.unique().tolist() for case in data.training] == [[0, 1]] * 4


def test_small_cases_stay_and_say_how_large_the_boxes_are(tmp_path):
    folder = write_scans(tmp_path / "data", 3)
    image, label = (sitk.ReadImage(str(folder / name / "scan_2.nrrd")) for name in ("imagesTr", "labelsTr"))
    for name, volume in (("imagesTr", image), ("labelsTr", label)):
        sitk.WriteImage(volume[7:19, 9:21, 8:16], str(folder / name / "scan_2.nrrd"))
    data, _ = load(settings(folder, tmp_path))
    assert [tuple(case.label.shape) for case in data.training] == [(12, 12, 8)] * 5


def test_one_labelled_side_gives_one_box(tmp_path):
    boxes, warnings = boxes_of(settings(write_scans(tmp_path / "data", 2, lumps=(RIGHT,)), tmp_path))
    assert [[each.place.side for each in own] for own in boxes.values()] == [["right"]] * 2
    assert warnings == []


def test_a_scan_of_one_side_is_not_cut_in_its_middle(tmp_path):
    folder = write_scans(tmp_path / "data", 2)
    for path in sorted(folder.glob("*Tr/*.nrrd")):  # the middle of what is left is that of the lump
        sitk.WriteImage(sitk.ReadImage(str(path))[26:48], str(path))
    boxes, warnings = boxes_of(settings(folder, tmp_path))
    assert [[each.place.side for each in own] for own in boxes.values()] == [["right"]] * 2
    assert warnings == []


# By more than 45 degrees: two of its axes run nearest to the same anatomical one.
STEEP = np.array([[-0.461, 0.572, -0.679], [-0.847, -0.513, 0.143], [-0.267, 0.641, 0.720]])
STEEP = np.linalg.svd(STEEP)[0] @ np.linalg.svd(STEEP)[2]


def test_of_a_steeply_turned_scan_every_axis_has_its_own_edge_of_the_box():
    grid = Grid((60, 60, 60), (1.0, 1.0, 1.0), direction=STEEP)
    region = Region("part", (10.0, 20.0, 30.0))
    located = box_around(Middle(BOTH.places[0], 0, np.full(3, 30.0)), region, grid)
    assert sorted(located.box.size) == [10, 20, 30]
    right, front, up = turn_to("RAS", grid).source_axes
    assert [located.box.size[axis] for axis in (right, front, up)] == [10, 20, 30]
    assert left_right_axis(grid) == right


def test_whole_scans_without_the_structures_do_not_make_the_boxes_larger(tmp_path):
    folder = write_scans(tmp_path / "data", 4)
    for number in (1, 2, 3):
        label = folder / "labelsTr" / f"scan_{number}.nrrd"
        sitk.WriteImage(sitk.ReadImage(str(label)) * 0, str(label))
    chosen = settings(folder, tmp_path, window=None)
    data, recorder = load(chosen)
    assert sorted(set(recorder.warnings)) == ["empty-label", "no-validation"]
    assert [case.identifier for case in data.training] == ["scan_0", "scan_0", "scan_1", "scan_2", "scan_3"]
    finetune(chosen, Reporter())
    description = open_bundle(chosen.output).description
    assert description.field_of_view_mm == pytest.approx((9, 9, 6), abs=1)
    assert max(description.window) <= 16


@pytest.mark.parametrize(
    ("scan", "lumps"),
    [
        ({"right": 0.0}, (LEFT, RIGHT)),  # nothing bright is there to be found
        ({}, ((slice(20, 23), slice(2, 6), slice(20, 24)), (slice(26, 29), slice(2, 6), slice(20, 24)))),
    ],
    ids=["not found", "found elsewhere"],
)
def test_where_the_locator_is_wrong_the_labels_decide_and_that_is_told(tmp_path, scan, lumps):
    folder = write_scans(tmp_path / "data", 2, lumps=lumps, **scan)
    crop = [{"image": "./imagesTr/crop.nrrd", "label": "./labelsTr/crop.nrrd"}]
    for name in ("imagesTr", "labelsTr"):  # small cases, so that the boxes are of their size
        whole = sitk.ReadImage(str(folder / name / "scan_0.nrrd"))
        start = [span.start - 2 for span in lumps[0]]
        stop = [span.stop + 2 for span in lumps[0]]
        cropped = whole[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]
        sitk.WriteImage(cropped, str(folder / name / "crop.nrrd"))
    entries = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["training"]
    write_list(folder, entries + crop, ("lump",))
    boxes, warnings = boxes_of(settings(folder, tmp_path))
    assert warnings == ["boxes-from-labels"]
    assert sorted(boxes) == ["scan_0", "scan_1"]
    for own in boxes.values():
        for located, lump in zip(own, lumps, strict=True):
            assert all(
                low <= span.start and span.stop <= high
                for low, span, high in zip(located.box.start, lump, located.box.stop, strict=True)
            )


def test_folds_score_the_boxes_of_a_case_as_one(tmp_path):
    chosen = settings(write_scans(tmp_path / "data", 2), tmp_path)
    crossvalidate(CrossvalidationSettings(chosen, 0), Reporter())
    scores = open_bundle(chosen.output).description.scores
    assert [row["case"] for row in scores["validation"]] == [1, 1, 2, 2]
    assert (scores["summary"]["cases"], scores["summary"]["subjects"]) == (2, 2)
    settled = json.loads((tmp_path / "own.folds" / "fold-1-start.training" / "settings.json").read_text("utf-8"))
    assert settled["training_cases"] == 1


def test_what_was_found_once_is_not_looked_for_again(tmp_path, monkeypatch):
    monkeypatch.setenv("MIMSEG_CACHE", str(tmp_path / "cache"))
    looked = []

    def find(*arguments):
        looked.append(arguments[1])
        return find_middles(*arguments)

    monkeypatch.setattr("mimseg.commands.finetune.boxes.find_middles", find)
    chosen = settings(write_scans(tmp_path / "data", 2), tmp_path)
    first, again = boxes_of(chosen), boxes_of(chosen)
    assert len(looked) == 1, "both scans are of the same voxels"
    assert first[0] == again[0]
    write_two_sides(tmp_path / "data" / "imagesTr" / "scan_1.nrrd", right=90.0)  # another scan of the same name
    boxes_of(chosen)
    assert len(looked) == 2
    for entry in (tmp_path / "cache" / "located").iterdir():
        entry.write_bytes(b"damaged")
    boxes_of(chosen)
    assert len(looked) == 4
