"""Every pre-training method: it learns, its gradients reach the encoder, its randomness follows the seed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import write_dataset  # noqa: E402
from torch.nn import functional  # noqa: E402

from mimseg.cli.presets import METHOD_SETTINGS, PRETRAIN  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.methods import METHODS, load_method  # noqa: E402
from mimseg.networks.positions import patchify  # noqa: E402
from mimseg.networks.pretraining import PretrainingNetwork  # noqa: E402
from mimseg.networks.settings import NetworkSettings  # noqa: E402
from mimseg.networks.simclr import nt_xent  # noqa: E402
from mimseg.tasks.finetune import finetune  # noqa: E402
from mimseg.tasks.finetune_settings import FinetuneSettings  # noqa: E402
from mimseg.tasks.pretrain import pretrain  # noqa: E402
from mimseg.tasks.pretrain_settings import PretrainSettings  # noqa: E402
from mimseg.training.cost import measure_cost  # noqa: E402
from mimseg.training.loop import Budget, make_fabric  # noqa: E402
from mimseg.training.schedule import Schedule  # noqa: E402

SHAPE = NetworkSettings(
    window=(16, 16, 16), patch_size=8, layers=3, hidden_size=48, mlp_size=96, heads=6, feature_size=4
)
SMALL: dict[str, dict[str, Any]] = {"mae": {"decoder_size": 48}, "simclr": {"temperature": 0.2}}


def build(name: str, shape: NetworkSettings = SHAPE, **settings: Any) -> PretrainingNetwork:
    torch.manual_seed(0)
    method = load_method(name)
    return method(shape, method.read_settings({**SMALL.get(name, {}), **settings}))


def learn(network: PretrainingNetwork, volumes: torch.Tensor, steps: int = 50) -> list[float]:
    """Losses while training on noisy copies of `volumes`."""
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        crops = torch.cat(
            [volumes + 0.1 * torch.randn(volumes.shape, generator=generator) for _ in range(network.views)]
        )
        loss = network(crops, network.draw_mask(len(crops), generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def ramps(count: int, channels: int = 1) -> torch.Tensor:
    """Volumes `(count, channels, 16, 16, 16)` with gradients in different directions."""
    axis = torch.linspace(-1, 1, 16)
    grids = torch.meshgrid(axis, axis, axis, indexing="ij")
    weights = torch.randn(count, channels, 3, generator=torch.Generator().manual_seed(1))
    return torch.einsum("ncd,dxyz->ncxyz", weights, torch.stack(grids))


VARIANTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("mae", {}, {}),
    ("mae", {"target": "normalized", "loss": "l2", "loss_on": "all", "encoder_norm": False}, {}),
    ("mae", {"decoder_layers": 2, "mask_ratio": 0.5}, {"stem": "convolution", "channels": 4, "class_token": True}),
    ("simmim", {"head": "linear"}, {}),
    ("simmim", {"head": "perceptron"}, {"positions": "sincos", "stem": "convolution"}),
    ("simmim", {"head": "transposed_convolution"}, {"channels": 2}),
    ("simclr", {}, {}),
    ("simclr", {"chunk": 3}, {"stem": "convolution"}),
]


@pytest.mark.parametrize(("name", "settings", "shape"), VARIANTS)
def test_it_learns_and_its_gradients_reach_the_encoder(name: str, settings: dict, shape: dict) -> None:
    network = build(name, replace(SHAPE, **shape), **settings)
    losses = learn(network, ramps(4, network.network.channels), steps=90 if name == "simclr" else 50)
    assert sum(losses[-8:]) < 0.95 * sum(losses[:8])
    unused = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == []
    blocks = [p for n, p in network.encoder.named_parameters() if p.grad is not None and "blocks.0" in n]
    assert blocks
    assert all(float(p.grad.abs().max()) > 0 for p in blocks if p.ndim > 1)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_pre_trains_and_fine_tunes(name: str, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 10)
    schedule = Schedule(learning_rate=3e-3)
    many = name == "simclr"  # comparing crops takes more of them, and more steps, than reconstructing one
    run = pretrain(
        PretrainSettings(
            (data,), tmp_path / "run", Budget(80 if many else 30), SHAPE, name, SMALL.get(name, {}),
            window=(16, 16, 16), batch=8 if many else 4, crops_per_volume=1 if many else 2, schedule=schedule,
            device="cpu", precision="32-true", validations=3,
        ),
        Reporter(),
    )  # fmt: skip
    made = json.loads((run / "pretraining.json").read_text(encoding="utf-8"))["provenance"]
    assert made["method"] == load_method(name).title
    assert made["volumes"] == 9  # one of ten is held out
    assert made["gflop_per_step"] > 0
    rows = (run / "log.csv").read_text(encoding="utf-8").splitlines()
    losses = [float(row.split(",")[3]) for row in rows if ",validation_loss," in row]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert (run / "reconstruction.png").is_file() == (name != "simclr")
    model = finetune(
        FinetuneSettings(
            data, tmp_path / "model", Budget(4), str(run), SHAPE, validation="case_9", schedule=schedule,
            device="cpu", precision="32-true", validations=1,
        ),
        Reporter(),
    )  # fmt: skip
    stored = json.loads((model / "segmentation.json").read_text(encoding="utf-8"))["training"]
    assert stored["pretraining"]["method_settings"] == made["method_settings"]
    assert not [key for key in stored["transfer"]["random"] if key.startswith("vit.") and "cross_attn" not in key]


def test_pre_training_goes_on_from_the_encoder_of_another_run(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 3)
    first = PretrainSettings(
        (data,), tmp_path / "first", Budget(2), SHAPE, "simmim", window=(16, 16, 16), batch=2, device="cpu",
        precision="32-true", validations=1,
    )  # fmt: skip
    pretrain(first, Reporter())
    # A rate of almost nothing and no steps to speak of: what comes out is what went in.
    slow = Schedule(learning_rate=1e-12, average=0)
    second = replace(
        first, output=tmp_path / "second", initial=str(tmp_path / "first"), method="mae", schedule=slow,
        method_settings=SMALL["mae"], seed=7,
    )  # fmt: skip
    pretrain(second, Reporter())
    from safetensors.torch import load_file

    before, after = (load_file(tmp_path / name / "encoder.safetensors") for name in ("first", "second"))
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)


FIFTH = """
from dataclasses import dataclass
from torch import nn
from mimseg.networks.pretraining import PretrainingNetwork

@dataclass(frozen=True)
class BrightnessSettings:
    power: int = 1

class Brightness(PretrainingNetwork):
    title, settings_type = "Brightness", BrightnessSettings

    def __init__(self, network, settings):
        super().__init__(network, settings)
        self.head = nn.Linear(network.hidden_size, 1)
        self._freeze_unused()

    def forward(self, crops, hidden):
        truth = crops.flatten(1).mean(dim=1, keepdim=True) ** self.settings.power
        return (self.head(self.encoder(crops)[0].mean(dim=1)) - truth).square().mean()
"""


def test_a_new_method_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brightness.py").write_text(FIFTH, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS, "brightness", "brightness.Brightness")
    from mimseg.cli.main import main

    data = write_dataset(tmp_path / "data", 2)
    sizes = ["--hidden-size", "24", "--mlp-size", "24", "--heads", "2", "--layers", "3", "--feature-size", "2"]
    small = [*sizes, "--window", "16", "--steps", "2", "--batch", "2"]
    arguments = ["pretrain", str(data), "-o", str(tmp_path / "run"), "--method", "brightness", "--set", "power=3"]
    assert main([*arguments, *small, "--device", "cpu", "--precision", "32-true", "--quiet"]) == 0
    made = json.loads((tmp_path / "run" / "pretraining.json").read_text(encoding="utf-8"))["provenance"]
    assert (made["method"], made["method_settings"]) == ("Brightness", {"power": 3})


@pytest.mark.parametrize("name", ["mae", "simmim"])
def test_masks_follow_the_seed(name: str) -> None:
    network = build(name, replace(SHAPE, window=(32, 32, 32)))
    masks = [network.draw_mask(2, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert masks[0].sum(dim=1).tolist() == [48, 48]


def test_hidden_voxels_do_not_reach_simmims_prediction_of_them() -> None:
    for stem in ("patch", "convolution"):
        network = build("simmim", replace(SHAPE, stem=stem)).eval()
        volume = torch.randn(1, 1, 16, 16, 16, requires_grad=True)
        hidden = torch.tensor([[True] * 5 + [False] * 3])
        network.predict(volume, hidden).square().sum().backward()
        touched = patchify(volume.grad, 8).abs().amax(dim=-1) > 0
        assert torch.equal(touched, ~hidden)


@pytest.mark.parametrize("patch_size", [8, 12, 16, 24, 32])
def test_every_head_predicts_every_patch_size(patch_size: int) -> None:
    shape = replace(SHAPE, window=(2 * patch_size, patch_size, patch_size), patch_size=patch_size, layers=5, channels=2)
    volume, hidden = torch.randn(1, 2, *shape.window), torch.tensor([[True, False]])
    for name, head in (
        ("mae", {}),
        *(("simmim", {"head": h}) for h in ("linear", "perceptron", "transposed_convolution")),
    ):
        predicted = build(name, shape, **head).predict(volume, hidden)
        assert predicted.shape == (1, 2, 2 * patch_size**3)


def test_losses_are_what_their_names_say() -> None:
    volume, hidden = torch.randn(2, 1, 16, 16, 16), torch.tensor([[True] * 6 + [False] * 2] * 2)
    for loss in ("l1", "l2"):
        for region in ("masked", "all"):
            network = build("simmim", loss=loss, loss_on=region).eval()
            with torch.no_grad():
                difference = network.predict(volume, hidden) - patchify(volume, 8)
                chosen = difference[hidden] if region == "masked" else difference
                expected = chosen.abs().mean() if loss == "l1" else chosen.square().mean()
                assert float(network(volume, hidden)) == pytest.approx(float(expected), rel=1e-5)


def test_nt_xent_equals_its_formula_written_out() -> None:
    vectors = functional.normalize(torch.randn(6, 5, dtype=torch.float64), dim=1)
    total = 0.0
    for i in range(6):
        partner = (i + 3) % 6
        terms = {k: torch.exp(vectors[i] @ vectors[k] / 0.5) for k in range(6) if k != i}
        total += float(-torch.log(terms[partner] / sum(terms.values())))
    assert float(nt_xent(vectors, 0.5)) == pytest.approx(total / 6)
    with pytest.raises(UserError, match="one volume"):
        nt_xent(vectors[:2], 0.5)


def test_chunks_give_the_gradient_of_the_whole_batch() -> None:
    crops = torch.randn(8, 1, 16, 16, 16)
    gradients = []
    for chunk in (0, 3):
        network = build("simclr", chunk=chunk)
        network(crops, None).backward()
        gradients.append(network.encoder.blocks[0].mlp.linear1.weight.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-7)
    assert float(gradients[0].abs().max()) > 1e-5


def test_few_negatives_are_warned_of() -> None:
    assert "only 2 others" in build("simclr").advice(2)
    assert build("simclr").advice(5) == ""
    assert build("mae").advice(1) == ""


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mae", {"head": "linear"}), ("mae", {"decoder_size": 100, "decoder_heads": 6}), ("mae", {"mask_ratio": 1.0}),
        ("simmim", {"head": "deep"}), ("mae", {"loss": "l3"}), ("simclr", {"temperature": 0}), ("dino", {}),
    ],
)  # fmt: skip
def test_settings_that_a_method_lacks_are_refused_with_what_it_has(name: str, settings: dict) -> None:
    with pytest.raises(UserError) as refusal:
        build(name, **settings)
    assert refusal.value.hint


def test_cost_counts_the_papers_parameters_and_arithmetic() -> None:
    """Decoder 512x8 at ViT-B/16, 96^3: 88.34 + 27.81 million parameters as in the release; MLPs counted by hand."""
    shape = NetworkSettings(classes=1)
    with torch.device("meta"):
        network = load_method("mae")(shape, load_method("mae").read_settings(METHOD_SETTINGS["paper"]["mae"]))
    trained = {n: p.numel() for n, p in network.named_parameters() if p.requires_grad}
    inside = sum(count for name, count in trained.items() if name.startswith("encoder."))
    assert inside == 88_340_736 - 2 * 768  # its final normalisation is not trained in that release
    assert sum(trained.values()) - inside == 27_813_888
    assert PRETRAIN["paper"]["learning_rate"] == 3e-4

    small = build("simmim", head="linear")
    fabric = make_fabric("cpu")
    example = torch.randn(1, 1, 16, 16, 16), torch.tensor([[True] * 4 + [False] * 4])
    one = measure_cost(fabric, small, small.encoder, 8, lambda m, b: m(*b), example, 1)
    ten = measure_cost(fabric, small, small.encoder, 8, lambda m, b: m(*b), example, 10)
    # Per token and pass: embedding and head 512 x 48; per block qkv, output, MLP; attention over 8 tokens.
    weights = 2 * 512 * 48 + 3 * (4 * 48 * 48 + 2 * 48 * 96)
    forward = 2 * 8 * weights + 3 * 2 * 2 * 8 * 8 * 48
    # Backward: twice that, without the gradient of the input voxels; flash attention recomputes once.
    expected = 3 * forward - 2 * 8 * 512 * 48 + 3 * 2 * 8 * 8 * 48
    assert one.gflop_per_step * 1e9 == pytest.approx(expected, rel=0.02)
    assert ten.gflop_per_step == pytest.approx(10 * one.gflop_per_step, rel=0.2)
    assert ten.memory_bytes > one.memory_bytes > 20 * sum(p.numel() for p in small.parameters() if p.requires_grad)
    assert one.expectation(Budget(steps=600))["expected_minutes"] == pytest.approx(10 * one.seconds_per_step, abs=0.06)


def test_the_papers_recipe_has_a_name_and_options_override_it() -> None:
    from mimseg.cli.main import build_parser
    from mimseg.cli.pretrain import settings_from

    def parse(*options: str) -> PretrainSettings:
        return settings_from(
            build_parser("pretrain").parse_args(["pretrain", "x", "-o", "y", "--steps", "9", *options])
        )

    paper = parse("--preset", "paper", "--preprocessing", "btcv")
    assert (paper.network.hidden_size, paper.network.layers, paper.network.stem) == (768, 12, "patch")
    assert (paper.window, paper.batch, paper.crops_per_volume) == ((96, 96, 96), 16, 4)
    assert paper.schedule == Schedule(3e-4, 0.05, 0.1, 1 / 3, (0.9, 0.999), 0, 0)
    assert paper.augmentation.spatial_share == paper.augmentation.shift == 0
    assert not paper.augmentation.intensity
    settings = load_method("mae").read_settings(paper.method_settings)
    assert (settings.decoder_size, settings.decoder_layers, settings.encoder_norm) == (512, 8, False)
    assert parse("--preset", "paper", "--method", "simmim").schedule.learning_rate == 1e-4

    changed = parse("--preset", "paper", "--decoder", "768x1", "--set", "loss=l2", "--learning-rate", "1e-4")
    settings = load_method("mae").read_settings(changed.method_settings)
    assert (settings.decoder_size, settings.decoder_layers, settings.decoder_heads) == (768, 1, 8)
    assert (settings.loss, settings.mask_ratio, changed.schedule.learning_rate) == ("l2", 0.75, 1e-4)
    assert parse().batch == 16
    assert parse().network.stem == "convolution"
    with pytest.raises(UserError, match="NAME=VALUE"):
        parse("--set", "loss")
    with pytest.raises(UserError, match="512y8"):
        parse("--decoder", "512y8")
