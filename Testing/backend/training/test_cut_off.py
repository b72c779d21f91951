"""Crops that end early: what a scan of few slices looks like to the network."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from label_maps import STRUCTURES, write_label_maps  # noqa: E402

from mimseg.cli.main import main  # noqa: E402
from mimseg.data.cases import load_dataset  # noqa: E402
from mimseg.data.intensity import Intensity  # noqa: E402
from mimseg.data.labels.scheme import choose_scheme  # noqa: E402
from mimseg.data.labels.structures import labels_from_json  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.training.augmentation import AugmentationSettings, cut_off  # noqa: E402
from mimseg.training.crops.cache import TrainingCase, load_training_case  # noqa: E402
from mimseg.training.crops.draw import draw_crop, generator_for  # noqa: E402
from mimseg.training.run_folder import check_same_settings  # noqa: E402
from mimseg.training.synthesis.label_extras import read_label_extras  # noqa: E402

WINDOW = (12, 10, 8)


def crop():
    return torch.full((1, *WINDOW), 3.0), torch.full((1, *WINDOW), 2.0)


def cut(seed, share=1.0):
    image, label = crop()
    cut_off(image, label, share, generator_for(seed))
    return image, label


def test_both_ends_of_one_axis_are_empty_and_the_middle_is_as_it_was():
    lengths, axes = set(), set()
    for seed in range(60):
        image, label = cut(seed)
        assert torch.equal(image != 0, label != 0)
        kept = (image[0] != 0).nonzero()
        low, high = kept.amin(0), kept.amax(0)
        assert len(kept) == int((high - low + 1).prod()), "what is left is a box"
        for axis, edge in enumerate(WINDOW):
            length = int(high[axis] - low[axis]) + 1
            if length < edge:
                axes.add(axis)
                lengths.add(length / edge)
                assert abs(int(low[axis]) - (edge - 1 - int(high[axis]))) <= 1, "in the middle, as in inference"
        assert set(image.unique().tolist()) <= {0.0, 3.0}
    assert axes == {0, 1, 2}
    assert min(lengths) >= 0.25
    assert len(lengths) > 5


def test_the_share_is_kept_and_0_draws_nothing():
    cut_ones = sum(bool((cut(seed, 0.3)[0] == 0).any()) for seed in range(400))
    assert 80 <= cut_ones <= 130  # a few of the cut ones keep the whole window
    generator = generator_for(1)
    before = generator.get_state()
    image, label = crop()
    cut_off(image, label, 0.0, generator)
    assert torch.equal(generator.get_state(), before)
    assert bool((image == 3).all())


def test_an_image_without_labels_is_cut_too():
    image, _ = crop()
    cut_off(image, None, 1.0, generator_for(3))
    assert bool((image == 0).any())


def test_a_crop_of_a_case_is_empty_and_background_beyond_its_ends_whatever_the_noise():
    label = torch.ones((30, 30, 30), dtype=torch.uint8)
    case = TrainingCase("a", torch.randn(1, 30, 30, 30) + 5, label, (label.nonzero(),), None, None, "")
    whole, ended = AugmentationSettings(), AugmentationSettings(cut_off=1.0)
    emptied = 0
    for seed in range(12):
        full, full_label = draw_crop(case, WINDOW, whole, 0.5, generator_for(seed))
        image, read = draw_crop(case, WINDOW, ended, 0.5, generator_for(seed))
        assert read is not None
        assert full_label is not None
        kept = image != 0
        assert torch.equal(image[kept], full[kept]), "what is left is the crop that would have been drawn"
        assert torch.equal(read[kept], full_label[kept])
        assert not read[~kept].any()
        emptied += int((~kept).sum()) > 0
    assert emptied >= 10


def test_runs_begun_before_go_on(tmp_path):
    now = AugmentationSettings().to_json()
    before = {name: value for name, value in now.items() if name != "cut_off"}
    (tmp_path / "settings.json").write_text(json.dumps({"augmentation": before}), encoding="utf-8")
    check_same_settings(tmp_path, {"augmentation": now})
    with pytest.raises(UserError, match="augmentation"):
        check_same_settings(tmp_path, {"augmentation": {**now, "cut_off": 0.3}})


@pytest.mark.parametrize("share", ["1.5", "-0.1", "much", "nan"])
def test_a_share_that_is_none_is_refused(share, capsys):
    assert main(["finetune", "cases", "-o", "model", "--cut-off", share]) != 0
    assert "--cut-off" in capsys.readouterr().err


def test_crops_that_are_drawn_from_labels_end_early_too(tmp_path):
    labels = labels_from_json(STRUCTURES, "the test")
    cases, file = write_label_maps(tmp_path, 2)
    dataset = load_dataset(cases, without_images=True)
    scheme = choose_scheme(dataset, file, cases)
    preprocessing = Preprocessing("RAS", (2.0, 2.0, 2.0), Intensity("robust", 0, 80))
    extras = read_label_extras(file, labels)
    case = load_training_case(dataset.cases[0], preprocessing, scheme, False, Reporter(), extras)
    for seed in range(8):
        full, full_label = draw_crop(case, WINDOW, AugmentationSettings(), 0.5, generator_for(seed))
        image, read = draw_crop(case, WINDOW, AugmentationSettings(cut_off=1.0), 0.5, generator_for(seed))
        changed = image != full
        assert not image[changed].any()
        assert torch.equal(read[~changed], full_label[~changed])
        assert not read[changed].any()
        if changed.any():
            return
    raise AssertionError("no crop was cut")
