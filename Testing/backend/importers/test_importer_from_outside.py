"""An importer is one file and one line: it brings its own anchor, its own names, and what it says is reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytestmark = pytest.mark.train

from torch import Tensor, nn  # noqa: E402

from mimseg import importers  # noqa: E402
from mimseg.cli.main import main  # noqa: E402
from mimseg.training.start.initial_weights import read_initial_weights  # noqa: E402

WIDTH, HEADS, LAYERS, PATCH, GRID = 48, 4, 3, 8, (2, 2, 2)


class TimmBlock(nn.Module):
    """A block as timm's `vision_transformer.Block` computes it, with a bias of queries, keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(WIDTH, 3 * WIDTH), "proj": nn.Linear(WIDTH, WIDTH)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, 96), "fc2": nn.Linear(96, WIDTH)})

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, _ = tokens.shape
        qkv = self.attn["qkv"](self.norm1(tokens)).reshape(batch, count, 3, HEADS, WIDTH // HEADS)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5).softmax(-1)
        tokens = tokens + self.attn["proj"]((weights @ value).transpose(1, 2).reshape(batch, count, WIDTH))
        return tokens + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(tokens))))


class TimmViT(nn.Module):
    """A ViT by timm's names, with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(1, WIDTH, PATCH, PATCH)})
        self.cls_token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.randn(1, 9, WIDTH))
        self.blocks = nn.Sequential(*(TimmBlock() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, volume: Tensor) -> Tensor:
        tokens = self.patch_embed["proj"](volume).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(volume), -1, -1), tokens], dim=1) + self.pos_embed
        return self.norm(self.blocks(tokens))


def test_an_importer_from_outside_makes_a_run_whose_tokens_are_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    theirs = TimmViT().eval()
    torch.save({"model": theirs.state_dict()}, tmp_path / "vit.pth")
    command = [
        "models", "import", str(tmp_path / "vit.pth"), str(tmp_path / "run"), "--heads", str(HEADS),
        "--preprocessing", "btcv", "--json-lines",
    ]  # fmt: skip
    assert main(command) == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["code"] == "unknown-weights"
    monkeypatch.setattr(importers, "IMPORTERS", [*importers.IMPORTERS, "outside_importer"])
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["source"] == "ViT by timm's names"
    assert told["notes"][0] == "Made by the test."
    initial = read_initial_weights(str(tmp_path / "run"))
    network = initial.network.build().eval()
    network.load_state_dict(initial.weights, strict=False)
    volume = torch.randn(2, 1, *(PATCH * count for count in GRID))
    with torch.no_grad():
        ours, expected = network.vit(volume)[0], theirs(volume)[:, 1:]
    assert float((ours - expected).abs().max()) < 1e-4
