"""Crops, schedules, transfer, checkpoints, and the loop: the same result with and without interruption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402

from mimseg.data.labels.grid import label_on_grid  # noqa: E402
from mimseg.data.volume import Grid, Volume  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.augmentation import AugmentationSettings, sample, sample_labels, sampling_points  # noqa: E402
from mimseg.training.checkpoints import load_checkpoint, save_checkpoint  # noqa: E402
from mimseg.training.crops.cache import TrainingCase  # noqa: E402
from mimseg.training.crops.draw import ahead, case_indices, draw_batch, generator_for  # noqa: E402
from mimseg.training.optimiser.schedule import parameter_groups, warmup_cosine  # noqa: E402
from mimseg.training.planning import plan_window  # noqa: E402
from mimseg.training.start.transfer import transfer  # noqa: E402

SMALL = {"hidden_size": 24, "mlp_size": 24, "heads": 2, "feature_size": 2, "layers": 3, "patch_size": 8}
OPTIONS = [
    "--hidden-size",
    "24",
    "--mlp-size",
    "24",
    "--heads",
    "2",
    "--feature-size",
    "2",
    "--layers",
    "3",
    "--window",
    "16,16,16",
    "--device",
    "cpu",
    "--precision",
    "32-true",
]
DECODER = ["--decoder-size", "24", "--decoder-heads", "2"]  # fmt: skip


def case(size: tuple[int, int, int] = (20, 22, 18)) -> TrainingCase:
    torch.manual_seed(0)
    label = torch.zeros(size, dtype=torch.uint8)
    label[14:17, 3:6, 9:12] = 1
    return TrainingCase("a", torch.randn(1, *size), label, (label.nonzero(),), None, None, "")


PLAIN = AugmentationSettings(spatial_share=0, shift=0, intensity=False)


def test_no_thread_still_computes_after_the_last_batch() -> None:
    """A thread inside PyTorch when Python ends aborts the process, after everything was trained."""
    entered, left = threading.Event(), threading.Event()

    def make(step: int) -> int:
        if step == 1:
            entered.set()
            time.sleep(0.3)
            left.set()
        return step

    batches = ahead(make, 0)
    assert next(batches) == 0
    assert entered.wait(5)
    batches.close()
    assert left.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "mimseg-crops"]


def test_a_crop_without_augmentation_is_a_piece_of_the_volume_and_its_label() -> None:
    only = case()
    images, labels = draw_batch([only], (8, 8, 8), PLAIN, 1.0, 2, seed=3, step=0)
    assert labels is not None
    assert labels.max() == 1  # foreground sampling found the structure
    for image, label in zip(images, labels, strict=True):
        corners = [
            (slice(i, i + 8), slice(j, j + 8), slice(k, k + 8))
            for i in range(13) for j in range(15) for k in range(11)
            if torch.allclose(only.image[0, i : i + 8, j : j + 8, k : k + 8], image[0], atol=1e-4)
        ]  # fmt: skip
        assert len(corners) == 1
        assert torch.equal(only.label[corners[0]].float(), label[0])


def test_reading_at_voxel_centres_returns_the_volume_and_zeros_outside() -> None:
    only = case()
    centre = torch.tensor([9.5, 10.5, 8.5])
    points = sampling_points((24, 22, 18), centre, PLAIN, generator_for(0))
    crop = sample(only.image, points, "bilinear")
    assert torch.allclose(crop[:, 2:22], only.image, atol=1e-5)
    assert crop[:, :2].abs().max() < 1e-4
    assert crop[:, 22:].abs().max() < 1e-4


def test_turned_labels_keep_their_volume_and_classes() -> None:
    i, j, k = torch.meshgrid(*(torch.arange(24.0) - 11.5,) * 3, indexing="ij")
    radius = (i**2 + j**2 + k**2).sqrt()
    label = ((radius < 8).to(torch.uint8) + (radius < 4)).to(torch.uint8)
    turning = AugmentationSettings(rotation=40, scale=0, elastic=0, spatial_share=1, shift=0, intensity=False)
    for seed in range(3):
        points = sampling_points((24, 24, 24), torch.tensor([11.5, 11.5, 11.5]), turning, generator_for(seed))
        turned = sample_labels(label, points)
        assert turned.unique().tolist() == [0, 1, 2]
        for value in (1, 2):
            assert int((turned == value).sum()) == pytest.approx(int((label == value).sum()), rel=0.06)
    outside = sampling_points((8, 8, 8), torch.tensor([100.0, 0, 0]), PLAIN, generator_for(0))
    assert sample_labels(label, outside).unique().tolist() == [0]
    inside = sampling_points((24, 24, 24), torch.tensor([11.5, 11.5, 11.5]), PLAIN, generator_for(0))
    assert torch.equal(sample_labels(label, inside)[0], label.float())


def test_flipping_mirrors_x_only() -> None:
    only = case()
    centre = torch.tensor([9.5, 10.5, 8.5])
    flipping = AugmentationSettings(spatial_share=0, shift=0, intensity=False, flip_left_right=True)
    seen = set()
    for seed in range(12):
        crop = sample(only.image, sampling_points((20, 22, 18), centre, flipping, generator_for(seed)), "bilinear")
        straight = torch.allclose(crop, only.image, atol=1e-4)
        mirrored = torch.allclose(crop, only.image.flip(1), atol=1e-4)
        assert straight != mirrored
        seen.add(mirrored)
    assert seen == {True, False}


def test_a_step_draws_the_same_batch_whenever_it_is_drawn_and_processes_draw_different_ones() -> None:
    cases = [case(), case((16, 16, 24))]
    settings = AugmentationSettings()
    first, _ = draw_batch(cases, (16, 16, 16), settings, 0.5, 2, seed=7, step=4)
    again, _ = draw_batch(cases, (16, 16, 16), settings, 0.5, 2, seed=7, step=4)
    other_step, _ = draw_batch(cases, (16, 16, 16), settings, 0.5, 2, seed=7, step=5)
    other_process, _ = draw_batch(cases, (16, 16, 16), settings, 0.5, 2, seed=7, step=4, process=1, processes=2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other_step)
    assert not torch.equal(first, other_process)


def test_every_case_is_drawn_once_in_each_pass() -> None:
    drawn = case_indices(0, 0, 21, 7)
    assert all(sorted(drawn[start : start + 7]) == list(range(7)) for start in (0, 7, 14))
    assert drawn[:7] != drawn[7:14]


def test_labels_follow_turned_and_resampled_axes() -> None:
    label = np.zeros((4, 6, 8), np.uint8)
    label[1, 2, 5] = 3
    source = Volume(label, Grid(label.shape, (1, 1, 1), (10, 20, 30), np.diag([1.0, 1.0, 1.0])))
    # axes k, i (flipped), j
    direction = np.zeros((3, 3))
    direction[2, 0], direction[0, 1], direction[1, 2] = 1, -1, 1
    turned = Grid((8, 4, 6), (1, 1, 1), (13, 20, 30), direction)
    assert label_on_grid(source, turned)[5, 2, 2] == 3
    halved = Grid((4, 3, 4), (1, 2, 2), (10, 20, 31), np.eye(3))
    assert label_on_grid(source, halved)[1, 1, 2] == 3


def test_the_learning_rate_rises_then_falls() -> None:
    factors = [warmup_cosine(step / 100) for step in range(101)]
    peak = factors.index(max(factors))
    assert peak == 10
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[-1] == pytest.approx(0.01)


def test_layer_wise_decay_is_for_pretrained_parts_only_and_covers_every_parameter_once() -> None:
    shape = UnetrSettings(window=(16, 16, 16), **SMALL)
    network = UNETR(shape)
    pretrained = {name for name, _ in network.named_parameters() if name.startswith("vit.")}
    groups = parameter_groups(network, 1e-3, 0.05, shape, 0.5, pretrained)
    rate = {id(p): group["peak_lr"] for group in groups for p in group["params"]}
    trainable = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert len(rate) == len(trainable) == sum(len(group["params"]) for group in groups)
    assert rate[id(trainable["vit.blocks.2.mlp.linear1.weight"])] == pytest.approx(0.5e-3)
    assert rate[id(trainable["vit.blocks.0.mlp.linear1.weight"])] == pytest.approx(0.125e-3)
    assert rate[id(trainable["out.conv.conv.weight"])] == 1e-3
    scratch = parameter_groups(network, 1e-3, 0.05, shape, 0.5, set())
    assert {group["peak_lr"] for group in scratch} == {1e-3}


def test_transfer_loads_the_encoder_resizes_positions_and_says_so() -> None:
    small, large = (UnetrSettings(window=(w, 16, 16), **SMALL) for w in (16, 32))
    source, target = UNETR(small), UNETR(large)
    weights = {name: value for name, value in source.state_dict().items() if name.startswith("vit.")}
    report = transfer(target, large, weights, small, "a run")
    assert report.resized == ["vit.patch_embedding.position_embeddings"]
    assert len(report.loaded) == len(weights) - 1
    assert all(not name.startswith("vit.") for name in report.random)
    assert torch.equal(target.vit.blocks[1].mlp.linear1.weight, source.vit.blocks[1].mlp.linear1.weight)


@pytest.mark.parametrize("change", [{"hidden_size": 48}, {"layers": 4}, {"stem": "convolution"}])
def test_an_incomplete_encoder_is_an_error_not_silence(change: dict) -> None:
    shape = UnetrSettings(window=(16, 16, 16), **SMALL)
    other = UnetrSettings(**{"window": (16, 16, 16), **SMALL, "layers": 4, **change})
    weights = {name: v for name, v in UNETR(shape).state_dict().items() if name.startswith("vit.")}
    with pytest.raises(UserError, match="did not arrive"):
        transfer(UNETR(other), other, weights, shape, "a run")


def test_a_planned_window_covers_small_volumes_and_stays_affordable() -> None:
    assert plan_window([(35, 50, 36)] * 5, 8, 64) == (40, 56, 40)
    window = plan_window([(512, 512, 300)], 16, 96)
    assert np.prod(window) <= 96**3
    assert all(edge % 16 == 0 for edge in window)


def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"a": torch.ones(3), "step": 4})
    assert load_checkpoint(path)["step"] == 4
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(path)
    torch.save({"f": os.system}, path)
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(path)


def run(*arguments: str, **options: object) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mimseg", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def encoder_of(folder: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(folder / "encoder.safetensors")


@pytest.mark.slow
def test_a_killed_run_resumes_to_exactly_the_result_of_an_unbroken_one(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 3) / "imagesTr"
    arguments = ["pretrain", str(data), "--steps", "40", "--batch", "2", "--seed", "5", *OPTIONS, *DECODER]
    unbroken = run(*arguments, "-o", str(tmp_path / "unbroken"))
    assert unbroken.wait(120) == 0, unbroken.stderr.read().decode()

    broken = run(*arguments, "-o", str(tmp_path / "broken"))
    deadline = time.monotonic() + 60
    while not (tmp_path / "broken" / "checkpoint.pt").exists():  # validates, and so saves, every fourth step
        assert time.monotonic() < deadline
        assert broken.poll() is None, broken.stderr.read().decode()
        time.sleep(0.02)
    broken.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    broken.wait(20)
    assert not (tmp_path / "broken" / "encoder.safetensors").exists()
    assert load_checkpoint(tmp_path / "broken" / "checkpoint.pt")["state"]["step"] < 40

    resumed = run(*arguments, "-o", str(tmp_path / "broken"), "--resume")
    assert resumed.wait(120) == 0, resumed.stderr.read().decode()
    expected, actual = encoder_of(tmp_path / "unbroken"), encoder_of(tmp_path / "broken")
    assert expected.keys() == actual.keys()
    assert all(torch.equal(expected[name], actual[name]) for name in expected)
    values = [
        [(r["step"], r["name"], r["value"]) for r in load_checkpoint(tmp_path / f / "checkpoint.pt")["curves"]["rows"]]
        for f in ("unbroken", "broken")
    ]
    assert values[0] == values[1]


@pytest.mark.slow
def test_two_cpu_processes_train_together(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 4) / "imagesTr"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "mimseg",
        "pretrain", str(data), "-o", str(tmp_path / "run"), "--steps", "6", "--batch", "2", "--json-lines",
        *OPTIONS, *DECODER,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=180, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert b'"processes": 2' in done.stdout
    assert done.stdout.count(b'"event": "result"') == 1  # only the first process speaks
    assert (tmp_path / "run" / "pretraining.json").is_file()
