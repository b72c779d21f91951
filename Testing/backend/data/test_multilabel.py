"""Structures that overlap, several input channels: training, scores, model, labelmap."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import ball_scan, write_scan  # noqa: E402

from mimseg.commands.finetune.run import finetune  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.commands.pretrain.run import pretrain  # noqa: E402
from mimseg.commands.pretrain.settings import PretrainSettings  # noqa: E402
from mimseg.data.labels.regions import membership, read_regions  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.crops.cache import TrainingCase  # noqa: E402
from mimseg.training.loop import Budget  # noqa: E402
from mimseg.training.losses import dice_and_binary_cross_entropy  # noqa: E402
from mimseg.training.optimiser.schedule import Schedule  # noqa: E402
from mimseg.training.validation import mean_dice  # noqa: E402

# Label values of BraTS: 1 necrosis, 2 oedema, 4 enhancing; the structures are nested.
STRUCTURES = [
    {"value": 1, "name": "tumor core", "values": [1, 4]},
    {"value": 2, "name": "whole tumor", "values": [1, 2, 4]},
    {"value": 3, "name": "enhancing tumor", "values": [4]},
]


def write_labels(folder: Path, entries: list[dict]) -> Path:
    (folder / "labels.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder / "labels.json"


def write_cases(folder: Path, cases: int) -> Path:
    """Two channels each; a ball of value 1 with a core of value 4, in a shell of value 2."""
    rows = ["image,label,id"]
    for number in range(cases):
        image, _ = ball_scan(number)
        i, j, k = np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij")
        centre = np.array(image.shape) / 2 + np.random.default_rng(number).uniform(-2, 2, 3)
        radius = np.sqrt((i - centre[0]) ** 2 + (j - centre[1]) ** 2 + (k - centre[2]) ** 2)
        label = np.select([radius < 2.5, radius < 4.5, radius < 7], [4, 1, 2], 0).astype(np.uint8)
        write_scan(folder / f"a{number}.nii.gz", (100 + 100 * (label > 0) + image * 0.1).astype(np.float32))
        write_scan(folder / f"b{number}.nii.gz", (100 + 60 * (label == 1) + 120 * (label == 4)).astype(np.float32))
        write_scan(folder / f"l{number}.nii.gz", label)
        rows.append(f"a{number}.nii.gz|b{number}.nii.gz,l{number}.nii.gz,case_{number}")
    (folder / "cases.csv").write_text("\n".join(rows), encoding="utf-8")
    return folder / "cases.csv"


def test_regions_are_read_in_the_order_of_the_labels_and_half_given_ones_are_refused(tmp_path: Path) -> None:
    assert read_regions(write_labels(tmp_path, STRUCTURES[::-1])) == ((1, 4), (1, 2, 4), (4,))
    assert read_regions(write_labels(tmp_path, [{"value": 1, "name": "liver"}])) is None
    for wrong in ([], [0], ["1"], "14"):
        with pytest.raises(UserError, match="whole tumor"):
            read_regions(write_labels(tmp_path, [*STRUCTURES[:1], {**STRUCTURES[1], "values": wrong}]))
    with pytest.raises(UserError, match="liver"):
        read_regions(write_labels(tmp_path, [*STRUCTURES, {"value": 9, "name": "liver"}]))


def test_classes_belong_to_their_structures() -> None:
    table = membership([1, 2, 4], ((1, 4), (1, 2, 4), (4,)))
    assert table.astype(int).tolist() == [[0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1]]
    assert membership([3, 7], None).astype(int).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_the_loss_is_least_for_the_truth_and_structures_do_not_compete() -> None:
    table = membership([1, 2, 4], ((1, 4), (1, 2, 4), (4,)))
    compute = dice_and_binary_cross_entropy(table)
    classes = torch.tensor([0.0, 1, 2, 3]).reshape(1, 1, 4, 1, 1)
    truth = torch.from_numpy(table.T.astype(np.float32))[classes[:, 0].long()].movedim(-1, 1)
    right = 40 * truth - 20
    assert float(compute(right, classes)) < 1e-3
    for channel in range(3):
        wrong = right.clone()
        wrong[:, channel] *= -1
        assert float(compute(wrong, classes)) > 1


def test_overlapping_structures_are_scored_each_by_itself() -> None:
    table = membership([1, 2], ((1, 2), (2,)))
    truth = np.array([0, 1, 2, 2], np.uint8).reshape(4, 1, 1)
    case = TrainingCase("a", torch.zeros(1, 4, 1, 1), None, (), None, truth, "", table)
    found = np.array([[0, 1, 1, 1], [0, 0, 1, 0]], bool).reshape(2, 4, 1, 1)
    assert mean_dice(found, case) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.slow
def test_nested_structures_are_learned_from_two_channels_and_segmented_without_torch(tmp_path: Path) -> None:
    data = write_cases(tmp_path, 6)
    shape = UnetrSettings(
        window=(24, 24, 24), patch_size=8, layers=3, hidden_size=48, mlp_size=48, heads=3, feature_size=8,
        stem="convolution",
    )  # fmt: skip
    run = pretrain(
        PretrainSettings(
            (data,), tmp_path / "run", Budget(3), shape, "simmim", window=(24, 24, 24), batch=2, device="cpu",
            precision="32-true", validations=1,
        ),
        Reporter(),
    )  # fmt: skip
    assert json.loads((run / "pretraining.json").read_text(encoding="utf-8"))["network"]["channels"] == 2
    model = finetune(
        FinetuneSettings(
            data, tmp_path / "model", Budget(60), str(run), shape, validation="case_5", window=(24, 24, 24),
            labels=write_labels(tmp_path, STRUCTURES), schedule=Schedule(learning_rate=4e-3), device="cpu",
            precision="32-true", validations=1,
        ),
        Reporter(),
    )  # fmt: skip
    description = json.loads((model / "segmentation.json").read_text(encoding="utf-8"))
    assert description["multilabel"] is True
    assert len(description["channels"]) == 2
    dice = {row["label"]: row["dice"] for row in description["scores"]["validation"]}
    assert min(dice.values()) > 0.5

    from mimseg.bundle.reader import open_bundle
    from mimseg.data.volumes import read_channels
    from mimseg.inference.engines import open_engine
    from mimseg.inference.pipeline import segment_volume

    bundle = open_bundle(model)
    volume = read_channels([tmp_path / "a5.nii.gz", tmp_path / "b5.nii.gz"])
    found = segment_volume(volume, bundle.description, open_engine(bundle))
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "l5.nii.gz"))).transpose()
    # The smallest structure of a voxel is shown, so the three together are the whole tumor again.
    for name, own, true in (
        ("whole tumor", found > 0, truth > 0),
        ("tumor core", np.isin(found, (1, 3)), np.isin(truth, (1, 4))),
        ("enhancing tumor", found == 3, truth == 4),
    ):
        overlap = 2 * (own & true).sum() / (own.sum() + true.sum())
        assert overlap == pytest.approx(dice[name], abs=0.02)
