"""Images drawn from label maps: what is drawn, with which classes, and a training from labels alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from label_maps import STRUCTURES, half_heads, write_label_maps  # noqa: E402
from synthetic import write_scan  # noqa: E402

from mimseg.bundle.reader import open_bundle  # noqa: E402
from mimseg.cli.main import main  # noqa: E402
from mimseg.data.cases import load_dataset  # noqa: E402
from mimseg.data.intensity import Intensity  # noqa: E402
from mimseg.data.labels.scheme import choose_scheme  # noqa: E402
from mimseg.data.labels.sides import side_pairs  # noqa: E402
from mimseg.data.labels.structures import labels_from_json  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.data.volume import Grid, Volume  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.training.augmentation import AugmentationSettings  # noqa: E402
from mimseg.training.crops.cache import TrainingCase, load_training_case  # noqa: E402
from mimseg.training.crops.draw import draw_batch, draw_crop, generator_for  # noqa: E402
from mimseg.training.run_folder import check_same_settings  # noqa: E402
from mimseg.training.synthesis.contrasts import Contrast, Look, draw_look, read_contrasts  # noqa: E402
from mimseg.training.synthesis.drawing import LabelSource, _mean_image, draw  # noqa: E402
from mimseg.training.synthesis.label_extras import read_label_extras  # noqa: E402
from mimseg.training.synthesis.source import finer, label_source  # noqa: E402

LABELS = labels_from_json(STRUCTURES, "the test")
PREPROCESSING = Preprocessing("RAS", (2.0, 2.0, 2.0), Intensity("robust", 0, 80))
STILL = AugmentationSettings(spatial_share=0, shift=0, intensity=False)
WINDOW = (12, 13, 11)


@pytest.fixture(scope="module")
def maps(tmp_path_factory) -> tuple[Path, Path]:
    return write_label_maps(tmp_path_factory.mktemp("maps"), 2)


@pytest.fixture(scope="module")
def drawn_case(maps) -> TrainingCase:
    return loaded(maps, keep=False)


def loaded(maps, keep: bool) -> TrainingCase:
    cases, labels = maps
    extras = read_label_extras(labels, LABELS)
    dataset = load_dataset(cases, without_images=True)
    scheme = choose_scheme(dataset, labels, cases)
    assert scheme.values == [2, 41]
    return load_training_case(dataset.cases[0], PREPROCESSING, scheme, keep, Reporter(), extras)


def test_a_drawn_crop_shows_the_labels_and_looks_different_every_time(drawn_case):
    crops = [draw_crop(drawn_case, WINDOW, STILL, 0.0, generator_for(0, number)) for number in range(8)]
    truth = torch.from_numpy(half_heads().astype(np.int32))[::2, ::2, ::2]
    for image, classes in crops:
        assert image.shape == classes.shape == (1, *WINDOW)
        assert torch.isfinite(image).all()
        found = classes[0] > 0
        # Every class is where the map has it, but for the half voxel between the grids and a cut field of view.
        assert (found & ~torch.isin(truth, torch.tensor([2, 25, 41]))).float().mean() < 0.05
    assert all(not torch.equal(crops[0][0], image) for image, _ in crops[1:])
    again, _ = draw_crop(drawn_case, WINDOW, STILL, 0.0, generator_for(0, 3))
    assert torch.equal(again, crops[3][0])


def test_both_sides_look_alike_and_others_make_image(drawn_case):
    source = drawn_case.source
    assert source is not None
    index = {value: number for number, value in enumerate(source.values)}
    assert source.classes[index[25]] == 1  # merged
    assert source.classes[index[507]] == 0  # image only
    looks = [source.draw_look(generator_for(1, number)) for number in range(5)]
    assert all(look.mean[index[2]] == look.mean[index[41]] for look in looks)
    assert any(look.mean[index[2]] != look.mean[index[25]] for look in looks)
    assert any(look.mean[index[507]] > 0.2 for look in looks)


def test_air_is_dark_in_scans_that_have_a_name_and_seldom_bright_in_others():
    def air(contrasts: list[Contrast], number: int) -> float:
        return float(draw_look((0, 1), (0, 1), {}, contrasts, (), generator_for(1, number)).mean[0])

    named = [Contrast("T1", 1.0, 0.05, {1: 0.8})]
    assert max(air(named, number) for number in range(300)) <= 0.1
    assert 0 < sum(air([], number) > 0.1 for number in range(300)) < 30


def test_finer_labels_make_partial_volume():
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[3:] = 2  # the border runs through the middle of a working voxel
    grid = Grid((4, 4, 4), (2.0, 2.0, 2.0), (0.5, 0.5, 0.5))
    source, _ = label_source(
        Volume(labels, Grid((8, 8, 8))), grid, [2], {}, Intensity("robust", 0, 1), {}, (), (), Path("map")
    )
    assert source.factor == 2
    assert finer(grid, 2).same_as(Grid((8, 8, 8)))
    points = torch.stack(torch.meshgrid(*[torch.arange(4.0)] * 3, indexing="ij"), -1)
    flat = torch.zeros(2)
    image = _mean_image(source, Look(torch.tensor([0.0, 1.0]), flat, flat, flat > 0), points)
    assert image[:, 2, 2].tolist() == [0.0, 0.5, 1.0, 1.0]


def test_mirrored_crops_swap_left_and_right(drawn_case):
    pairs = AugmentationSettings(spatial_share=0, shift=0, intensity=False, flip_pairs=True)
    moved = 0
    for number in range(12):
        _, plain = draw_crop(drawn_case, WINDOW, STILL, 0.0, generator_for(2, number))
        _, mirrored = draw_crop(drawn_case, WINDOW, pairs, 0.0, generator_for(2, number))
        if torch.equal(plain, mirrored):
            continue
        moved += 1
        swapped = plain.flip(1)
        assert torch.equal(mirrored, torch.where(swapped > 0, 3 - swapped, swapped))
    assert 2 < moved < 12


def test_images_of_real_cases_are_mirrored_likewise():
    label = torch.zeros((8, 8, 8), dtype=torch.uint8)
    label[:2], label[2:3] = 1, 2
    sided = TrainingCase("a", torch.randn(1, 8, 8, 8), label, (), None, None, "")
    sided.other_side = torch.tensor([0, 2, 1], dtype=torch.uint8)
    pairs = AugmentationSettings(spatial_share=0, shift=0, intensity=False, flip_pairs=True)
    images, classes = draw_batch([sided], (8, 8, 8), pairs, 0.0, 16, 0, 0)
    assert classes is not None
    mirrored = [not torch.equal(image, sided.image) for image in images]
    assert any(mirrored)
    assert not all(mirrored)
    for image, found, turned in zip(images, classes, mirrored, strict=True):
        assert torch.equal(image, sided.image.flip(1) if turned else sided.image)
        assert found[0, -1 if turned else 0, 0, 0] == (2 if turned else 1)


def test_pairs_are_told_by_name_or_by_code():
    side = {"scheme": "SCT", "meaning": ""}
    labels = labels_from_json(
        [
            {"value": 1, "name": "kidney (left)"},
            {"value": 2, "name": "kidney (right)"},
            {"value": 3, "name": "Left-Thalamus"},
            {"value": 4, "name": "bright spot"},
            {"value": 5, "name": "lung_l"},
            {"value": 6, "name": "lung_r", "modifier": {**side, "value": "24028007"}},
        ],
        "the test",
    )
    assert side_pairs(labels) == {1: 2, 5: 6}


def test_runs_begun_before_there_were_pairs_can_be_resumed(tmp_path):
    now = AugmentationSettings().to_json()
    before = {name: value for name, value in now.items() if name != "flip_pairs"}
    (tmp_path / "settings.json").write_text(json.dumps({"augmentation": before}), encoding="utf-8")
    check_same_settings(tmp_path, {"augmentation": now})
    with pytest.raises(UserError, match="augmentation"):
        check_same_settings(tmp_path, {"augmentation": {**now, "flip_pairs": True}})


def test_validation_draws_the_same_whole_image_every_time(maps):
    first, second = loaded(maps, keep=True), loaded(maps, keep=True)
    assert first.prepared is not None
    assert first.truth is not None
    assert np.array_equal(first.prepared.array, second.prepared.array)  # type: ignore[union-attr]
    assert first.truth.shape == first.prepared.source_grid.size == (24, 26, 22)
    assert set(np.unique(first.truth)) == {0, 1, 2}
    assert first.prepared.array.std() > 0.05


def test_windows_get_values_inside_the_window(drawn_case):
    source = drawn_case.source
    assert source is not None
    ct = LabelSource(**{**vars(source), "intensity": Intensity("window", -100, 200)})
    points = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in WINDOW], indexing="ij"), -1)
    image, _ = draw(ct, points, generator_for(3))
    assert -0.3 < image.min() < 0.3
    assert 0.3 < image.max() < 1.5


@pytest.mark.parametrize(
    "content",
    [
        {"contrasts": [{"name": "T1", "share": 0.5, "greys": {"2": 3}}]},
        {"contrasts": [{"name": "T1", "greys": {}}]},
        {"contrasts": [{"name": "a", "share": 0.6, "greys": {}}, {"name": "b", "share": 0.6, "greys": {}}]},
    ],
)
def test_unusable_contrasts_are_named(tmp_path, content):
    (tmp_path / "labels.json").write_text(json.dumps({"labels": STRUCTURES, **content}), encoding="utf-8")
    with pytest.raises(UserError, match="contrasts in"):
        read_contrasts(tmp_path / "labels.json")


def test_a_value_cannot_belong_to_two_structures(tmp_path):
    doubled = [STRUCTURES[0], {**STRUCTURES[1], "also": [25]}]
    (tmp_path / "labels.json").write_text(json.dumps(doubled), encoding="utf-8")
    with pytest.raises(UserError, match="two structures"):
        read_label_extras(tmp_path / "labels.json", LABELS)


def test_a_model_is_trained_from_two_label_maps(maps, tmp_path, capsys):
    cases, labels = maps
    arguments = [
        "finetune", str(cases), "-o", str(tmp_path / "model"), "--init", "none", "--labels", str(labels),
        "--cases", "map_0", "--validation", "map_1", "--hidden-size", "24", "--mlp-size", "24", "--heads", "2",
        "--feature-size", "4", "--layers", "3", "--window", "24,24,16", "--spacing", "1", "--device", "cpu",
        "--precision", "32-true", "--steps", "40", "--batch", "2", "--validations", "2", "--flip-pairs", "--no-measure",
    ]  # fmt: skip
    assert main(arguments) == 0
    description = open_bundle(tmp_path / "model").description
    assert description.scores["summary"]["mean_dice"] > 0.1  # an untrained network gets 0
    heads = [half_heads(number) for number in range(2)]
    left = sorted(float(np.isin(head, [2, 25]).sum()) / 1000 for head in heads)
    kept = description.training["volumes_ml"]["Left-White"]
    assert [kept["least"], kept["largest"]] == pytest.approx(left, rel=0.02)
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "model.training" / "drawn.png")))
    assert picture.shape[:2] == (384, 768)
    assert picture.std() > 20
    assert "are drawn from their labels" in "".join(capsys.readouterr())


def test_the_plan_shows_drawn_images_where_it_is_asked_to(maps, tmp_path):
    cases, labels = maps
    picture = tmp_path / "Bilder ä" / "drawn.png"
    arguments = [
        "finetune", str(cases), "-o", str(tmp_path / "model"), "--init", "none", "--labels", str(labels),
        "--hidden-size", "24", "--mlp-size", "24", "--heads", "2", "--feature-size", "4", "--layers", "3",
        "--window", "16,16,16", "--spacing", "1", "--device", "cpu", "--minutes", "1", "--plan-only",
        f"--drawn-images={picture}",
    ]  # fmt: skip
    assert main(arguments) == 0
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(picture))).std() > 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Bilder ä"]


def test_cases_without_images_are_checked_by_their_labels(maps, tmp_path, capsys):
    """Not compared as images: all of them would be the same empty one."""
    cases, labels = maps
    assert main(["check", str(cases), "--labels", str(labels), "-o", str(tmp_path / "clean.html")]) == 0
    assert json.loads((tmp_path / "clean.json").read_text())["problems"] == []
    tiny = half_heads()
    tiny[tiny == 41] = 0
    tiny[20, 12, 12] = 41
    write_scan(tmp_path / "tiny.nii.gz", tiny)
    entries = [{"label": str(cases.parent / "map_0.nii.gz")}, {"label": "tiny.nii.gz"}]
    (tmp_path / "cases.json").write_text(json.dumps(entries), encoding="utf-8")
    assert main(["check", str(tmp_path / "cases.json"), "--labels", str(labels), "-o", str(tmp_path / "c.html")]) == 0
    problems = json.loads((tmp_path / "c.json").read_text())["problems"]
    assert [(problem["case"], problem["code"]) for problem in problems] == [("tiny", "tiny-label")]
    assert "<img" in (tmp_path / "c.html").read_text()
    capsys.readouterr()
