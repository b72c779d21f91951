"""Checkpoints of nnssl's format: taken in, written, and their axes turned, with the classes that such files hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytestmark = pytest.mark.train

from foreign_weights import PRIMUS as SHAPE  # noqa: E402
from foreign_weights import nnssl_checkpoint, primus_encoder  # noqa: E402

from mimseg.cli.main import main  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.training.start.initial_weights import read_initial_weights  # noqa: E402
from mimseg.training.start.pretrained_run import PretrainedRun, write_pretrained  # noqa: E402


def run_command(capsys: pytest.CaptureFixture[str], *arguments: Any, code: int = 0) -> dict[str, Any]:
    assert main([*map(str, arguments), "--json-lines"]) == code
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_an_encoder_of_the_format_gives_the_same_tokens_for_the_transposed_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = primus_encoder()  # its window is z, y, x
    path = tmp_path / "PrimusM-OpenMind-MAE.pth"
    nnssl_checkpoint(path, theirs, SHAPE.window)
    told = run_command(capsys, "models", "import", path, tmp_path / "run", "--heads", 2)
    assert told["source"] == "nnssl's Primus in a checkpoint of nnssl"
    found, _, count = told["encoder_tensors"].partition(" of ")
    assert found == count
    initial = read_initial_weights(str(tmp_path / "run"))
    assert initial.network == replace(SHAPE, window=(32, 24, 16))
    assert initial.modality == "MR"
    assert initial.preprocessing.spacing == (1.0, 1.25, 1.5)
    assert initial.provenance["licence"] == "CC-BY-4.0"
    assert "arXiv:2412.17041" in initial.provenance["citation"]
    ours = initial.network.build().eval()
    ours.load_state_dict(initial.weights, strict=False)
    volume = torch.randn(1, 1, *SHAPE.window)
    with torch.no_grad():
        expected = theirs(volume)[0].reshape(1, *SHAPE.grid, -1)
        tokens = ours.vit(volume.permute(0, 1, 4, 3, 2))[0].reshape(1, *initial.network.grid, -1)
    assert torch.allclose(tokens, expected.permute(0, 3, 2, 1, 4), atol=1e-4)


def test_what_the_file_does_not_say_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nnssl_checkpoint(tmp_path / "x.pth", primus_encoder(), SHAPE.window, normalization_schemes=["CTNormalization"])
    told = run_command(capsys, "models", "import", tmp_path / "x.pth", tmp_path / "run", code=2)
    assert "--heads" in told["hint"]
    told = run_command(capsys, "models", "import", tmp_path / "x.pth", tmp_path / "run", "--heads", 2, code=2)
    assert told["code"] == "import-needs"
    assert "CTNormalization" in told["message"]
    assert "--modality" in told["hint"]
    assert not (tmp_path / "run").exists()


def test_heads_are_those_that_the_file_states_not_those_of_its_width(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = replace(SHAPE, hidden_size=396, heads=2)  # a published one of this width has 6
    sizes = {"embed_dim": 396, "eva_depth": 3, "eva_numheads": 2, "patch_embed_size": [8, 8, 8]}
    nnssl_checkpoint(tmp_path / "OpenMind.pth", primus_encoder(shape), SHAPE.window)
    content = torch.load(tmp_path / "OpenMind.pth", weights_only=True)
    plan = content["nnssl_adaptation_plan"]["architecture_plans"]
    for wrong in ({}, {"embed_dim": 192}, {"eva_depth": 2}, {"patch_embed_size": [16] * 3}):
        plan["arch_kwargs"] = {**sizes, **wrong}
        torch.save(content, tmp_path / "OpenMind.pth")
        run = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        arguments = ["models", "import", tmp_path / "OpenMind.pth", run]
        if not wrong:
            run_command(capsys, *arguments)
            assert read_initial_weights(str(run)).network == replace(shape, window=(32, 24, 16))
        else:
            told = run_command(capsys, *arguments, code=2)
            assert told["code"] == "bad-weights"
            assert "contradicts itself" in told["message"]
            assert not run.exists()


def test_a_convolutional_encoder_is_refused_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stem = torch.ones(32, 1, 3, 3, 3)
    names = ("encoder.stem.convs.0.conv.weight", "decoder.encoder.stem.convs.0.conv.weight")
    torch.save({"network_weights": dict.fromkeys(names, stem)}, tmp_path / "ResEncL-OpenMind-MAE.pth")
    path = tmp_path / "ResEncL-OpenMind-MAE.pth"
    told = run_command(capsys, "models", "import", path, tmp_path / "run", code=2)
    assert told["code"] == "unsupported-network"
    assert "ResEnc-L" in told["message"]


def exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Any, Path]:
    """An encoder that was pre-trained here, and the file of it."""
    encoder = primus_encoder()
    (tmp_path / "run").mkdir()
    run = PretrainedRun(SHAPE, Preprocessing("RAS", (1.0, 1.25, 1.5)), "MR", {"method": "MAE"})
    write_pretrained(tmp_path / "run", run, {f"vit.{name}": value for name, value in encoder.state_dict().items()})
    told = run_command(capsys, "models", "export", tmp_path / "run", tmp_path / "e.pth", "--format", "nnssl")
    assert told["file"] == str(tmp_path / "e.pth")
    return encoder, tmp_path / "e.pth"


def test_what_is_exported_comes_back_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder, path = exported(tmp_path, capsys)
    run_command(capsys, "models", "import", path, tmp_path / "back", "--modality", "MR")
    initial = read_initial_weights(str(tmp_path / "back"))
    assert initial.network == SHAPE
    assert initial.preprocessing == Preprocessing("RAS", (1.0, 1.25, 1.5))
    own = {f"vit.{name}": value for name, value in encoder.state_dict().items()}
    assert own.keys() == initial.weights.keys()
    assert all(torch.equal(own[name], initial.weights[name]) for name in own)
    assert run_command(capsys, "models", "export", tmp_path / "run", path, "--format", "nnssl", code=2)["code"] == (
        "output-exists"
    )


def test_the_published_network_takes_the_exported_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm", reason="dynamic_network_architectures needs timm")
    primus = pytest.importorskip("dynamic_network_architectures.architectures.primus")
    encoder, path = exported(tmp_path, capsys)
    content = torch.load(path, weights_only=True)
    plan = content["nnssl_adaptation_plan"]
    theirs = primus.Primus(1, num_classes=2, **plan["architecture_plans"]["arch_kwargs"]).eval()
    _, unknown = theirs.load_state_dict(content["network_weights"], strict=False)
    assert unknown == []
    for part in (plan["key_to_encoder"], plan["key_to_stem"]):
        own = {name for name in theirs.state_dict() if name.startswith(f"{part}.")}
        assert own == {name for name in content["network_weights"] if name.startswith(f"{part}.")}
    volume = torch.randn(1, 1, *SHAPE.window)
    with torch.no_grad():
        tokens = theirs.down_projection(volume.permute(0, 1, 4, 3, 2)).flatten(2).transpose(1, 2)
        found = theirs.eva(tokens)[0].reshape(1, *reversed(SHAPE.grid), -1)
        expected = encoder(volume)[0].reshape(1, *SHAPE.grid, -1)
    assert torch.allclose(found.permute(0, 3, 2, 1, 4), expected, atol=1e-4)
