"""Every pre-training method: it learns, its gradients reach the encoder, it fine-tunes, its settings have names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from method_tools import SHAPE, SMALL, build  # noqa: E402
from synthetic import write_dataset  # noqa: E402

from mimseg.commands.finetune.run import finetune  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.commands.pretrain.run import pretrain  # noqa: E402
from mimseg.commands.pretrain.settings import PretrainSettings  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.methods import METHODS, Method, load_method, method_settings  # noqa: E402
from mimseg.networks.methods.pretraining import PretrainingNetwork  # noqa: E402
from mimseg.networks.methods.reconstruction import MaskedReconstruction  # noqa: E402
from mimseg.training.loop import Budget  # noqa: E402
from mimseg.training.optimiser.schedule import Schedule  # noqa: E402


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
    losses = learn(network, ramps(4, network.network.channels), steps=90 if network.views > 1 else 50)
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
    many = load_method(name).views > 1  # comparing crops takes more of them, and more steps, than reconstructing one
    run = pretrain(
        PretrainSettings(
            (data,), tmp_path / "run", Budget(80 if many else 30), SHAPE, name, SMALL.get(name, {}),
            window=(16, 16, 16), batch=8 if many else 4, crops_per_volume=1 if many else 2, schedule=schedule,
            device="cpu", precision="32-true", validations=3,
        ),
        Reporter(),
    )  # fmt: skip
    made = json.loads((run / "pretraining.json").read_text(encoding="utf-8"))["provenance"]
    assert made["method"] == METHODS[name].title
    assert made["volumes"] == 9  # one of ten is held out
    assert made["gflop_per_step"] > 0
    rows = (run / "log.csv").read_text(encoding="utf-8").splitlines()
    losses = [float(row.split(",")[3]) for row in rows if ",validation_loss," in row]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert (run / "reconstruction.png").is_file() == issubclass(load_method(name), MaskedReconstruction)
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


def test_pre_training_goes_on_from_the_encoder_of_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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

    # The benchmark of volumes out of the domain reads what a run says of itself, settings of the method included.
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from out_of_domain import reconstruction_error

    error = reconstruction_error(tmp_path / "second")(SimpleNamespace(array=np.ones((1, 20, 12, 16), np.float32)))
    assert error > 0


BRIGHTNESS = """
from dataclasses import dataclass
from torch import nn
from mimseg.networks.methods.pretraining import PretrainingNetwork

@dataclass(frozen=True)
class BrightnessSettings:
    power: int = 1

class Brightness(PretrainingNetwork):
    settings_type = BrightnessSettings

    def __init__(self, network, settings):
        super().__init__(network, settings)
        self.head = nn.Linear(network.hidden_size, 1)
        self._freeze_unused()

    def forward(self, crops, hidden):
        truth = crops.flatten(1).mean(dim=1, keepdim=True) ** self.settings.power
        return (self.head(self.encoder(crops)[0].mean(dim=1)) - truth).square().mean()
"""


def test_a_new_method_is_one_file_and_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brightness.py").write_text(BRIGHTNESS, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS, "brightness", Method("Brightness", "guess it", "brightness.Brightness"))
    from mimseg.cli.main import main

    data = write_dataset(tmp_path / "data", 2)
    sizes = ["--hidden-size", "24", "--mlp-size", "24", "--heads", "2", "--layers", "3", "--feature-size", "2"]
    small = [*sizes, "--window", "16", "--steps", "2", "--batch", "2"]
    arguments = ["pretrain", str(data), "-o", str(tmp_path / "run"), "--method", "brightness", "--set", "power=3"]
    assert main([*arguments, *small, "--device", "cpu", "--precision", "32-true", "--quiet"]) == 0
    made = json.loads((tmp_path / "run" / "pretraining.json").read_text(encoding="utf-8"))["provenance"]
    assert (made["method"], made["method_settings"]) == ("Brightness", {"power": 3})


def test_a_new_method_is_offered_by_study_and_told_to_the_panel(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(METHODS, "brightness", Method("Brightness", "guess it", "brightness.Brightness"))
    from mimseg.cli.main import build_parser, main
    from mimseg.cli.study import design_from

    arguments = build_parser("study").parse_args(["study", "convergence", "x", "-o", "y", "--minutes", "9"])
    assert design_from(arguments).methods == ("scratch", "mae", "simmim", "simclr", "brightness")
    assert main(["doctor", "--quick", "--json-lines"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"name": "brightness", "title": "Brightness", "summary": "guess it"} in told["methods"]
    assert "unetr-small" in [network["name"] for network in told["networks"]]


TEACHER = """
import copy
from dataclasses import dataclass
import torch
from torch import nn
from mimseg.networks.methods.pretraining import PretrainingNetwork

@dataclass(frozen=True)
class TeacherSettings:
    momentum: float = 0.5

class Teacher(PretrainingNetwork):
    settings_type = TeacherSettings

    def __init__(self, network, settings):
        super().__init__(network, settings)
        self.teacher = copy.deepcopy(self.encoder).requires_grad_(False)
        self.predictor = nn.Linear(network.hidden_size, network.hidden_size)
        self.register_buffer("calls", torch.zeros(2))
        self._freeze_unused()

    def forward(self, crops, hidden):
        with torch.no_grad():
            target = self.teacher(crops)[0]
        return (self.predictor(self.encoder(crops + 0.1 * torch.randn_like(crops))[0]) - target).square().mean()

    @torch.no_grad()
    def after_step(self, step, done):
        self.calls.copy_(torch.tensor([step, done]))
        for mean, value in zip(self.teacher.parameters(), self.encoder.parameters(), strict=True):
            mean.lerp_(value, 1 - self.settings.momentum)
"""


def test_a_method_may_have_a_teacher_that_follows_the_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "teachers.py").write_text(TEACHER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(METHODS, "teacher", Method("Teacher", "follow the own average", "teachers.Teacher"))
    before = build("teacher").state_dict()
    settings = PretrainSettings(
        (write_dataset(tmp_path / "data", 2),), tmp_path / "run", Budget(4), SHAPE, "teacher", window=(16, 16, 16),
        batch=2, device="cpu", precision="32-true", validations=1, schedule=Schedule(average=0),
    )  # fmt: skip
    pretrain(settings, Reporter())
    network = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["network"]
    assert network["calls"].tolist() == [4, 0.75]
    name = "blocks.0.mlp.linear1.weight"
    start, teacher, student = before[f"teacher.{name}"], network[f"teacher.{name}"], network[f"encoder.{name}"]
    assert 0 < (teacher - start).norm() < (student - start).norm()


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
    settings = method_settings("mae", paper.method_settings)
    assert (settings.decoder_size, settings.decoder_layers, settings.encoder_norm) == (512, 8, False)
    assert parse("--preset", "paper", "--method", "simmim").schedule.learning_rate == 1e-4

    changed = parse("--preset", "paper", "--decoder", "768x1", "--set", "loss=l2", "--learning-rate", "1e-4")
    settings = method_settings("mae", changed.method_settings)
    assert (settings.decoder_size, settings.decoder_layers, settings.decoder_heads) == (768, 1, 8)
    assert (settings.loss, settings.mask_ratio, changed.schedule.learning_rate) == ("l2", 0.75, 1e-4)
    assert parse().batch == 16
    assert parse().network.stem == "convolution"
    with pytest.raises(UserError, match="NAME=VALUE"):
        parse("--set", "loss")
    with pytest.raises(UserError, match="512y8"):
        parse("--decoder", "512y8")
