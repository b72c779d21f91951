"""Writing a model: what its network computes, what its files hold, what is not overwritten."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_files import describe, make_network, settings, shared_bundle

from mimseg.bundle.reader import open_bundle
from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("torch")
    return shared_bundle(tmp_path_factory.mktemp("model"))


def rounded(network: Any) -> Any:
    """The network with the weights that a bundle stores."""
    return network.half().float()


def logits_of(network: Any, image: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return network(torch.from_numpy(image)).numpy()


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def windows(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 1, *settings().window)).astype(np.float32)


@pytest.mark.train
def test_openvino_computes_the_logits_of_the_torch_network(bundle: Any) -> None:
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(bundle.onnx_path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 3):
        found = compiled([windows(count)])[0]
        assert relative_difference(found, logits_of(rounded(make_network()), windows(count))) < 1e-4


@pytest.mark.train
def test_onnx_runtime_computes_the_logits_of_the_torch_network(bundle: Any) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(bundle.onnx_path))
    found = session.run(None, {"image": windows(2)})[0]
    assert relative_difference(found, logits_of(rounded(make_network()), windows(2))) < 1e-4


@pytest.mark.train
def test_weights_are_half_precision_and_stored_once_for_onnx_and_torch(bundle: Any) -> None:
    import torch
    from safetensors.torch import load_file

    stored = load_file(bundle.weights_path)
    expected = make_network().state_dict()
    assert all(stored[name].dtype == torch.float16 for name in expected)
    assert all(torch.equal(stored[name], expected[name].half()) for name in expected)
    assert {path.name for path in (bundle.path / "models").iterdir()} == {"model.onnx", "model.safetensors"}
    assert bundle.onnx_path.stat().st_size < 60_000


@pytest.mark.train
def test_onnx_tells_nothing_about_the_computer_it_was_made_on(bundle: Any) -> None:
    content = bundle.onnx_path.read_bytes()
    for trace in (b"site-packages", b".py", os.fsencode(os.getcwd()), os.fsencode(Path.home()), b"Traceback"):
        assert trace not in content


@pytest.mark.train
def test_everything_a_user_must_know_is_in_the_model_card(bundle: Any) -> None:
    card = (bundle.path / "docs" / "README.md").read_text(encoding="utf-8")
    for text in (
        "Research use only",
        "Nobody's data.",
        "Nobody, 2026.",
        "CC-BY-SA-4.0",
        "72654001",
        "0.5",
        "| steps |",
    ):
        assert text in card
    assert "0" * 64 not in card
    assert "CC-BY-SA-4.0" in (bundle.path / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.train
def test_writing_replaces_a_model_but_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from mimseg.bundle import onnx_export
    from mimseg.bundle.writer import write_bundle

    network, description = make_network(), describe(network=settings().to_json())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    foreign = tmp_path / "holiday"
    foreign.mkdir()
    (foreign / "picture.jpg").write_bytes(b"x")
    with pytest.raises(UserError) as fault:
        write_bundle(foreign, network, description)
    assert fault.value.code == "output-exists"
    monkeypatch.setattr(onnx_export, "export_onnx", lambda network, shape, weights, target: target.write_bytes(b"x"))
    folder = tmp_path / "model"
    for version in ("1.0.0", "2.0.0"):
        written = write_bundle(folder, network, replace(description, version=version))
        assert open_bundle(folder).description.version == version == written.description.version
        assert {"torch", "monai", "numpy", "mimseg"} <= set(written.description.versions)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["holiday", "model"]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.train
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_with_unusable_weights_is_refused_and_leaves_nothing(tmp_path: Path, value: float) -> None:
    torch = pytest.importorskip("torch")
    from mimseg.bundle.writer import write_bundle

    network = make_network()
    with torch.no_grad():
        network.out.conv.conv.weight[0, 0] = value
    with pytest.raises(UserError, match=r"out\.conv\.conv\.weight"):
        write_bundle(tmp_path / "model", network, describe(network=settings().to_json()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize("stem", ["patch", "convolution"])
def test_full_precision_and_weights_too_large_for_half_are_computed_alike(tmp_path: Path, stem: str) -> None:
    torch = pytest.importorskip("torch")
    openvino = pytest.importorskip("openvino")
    from mimseg.bundle.writer import write_bundle

    network = make_network(stem)
    with torch.no_grad():
        network.out.conv.conv.bias[0] = 70_000.0
    description = describe(network=settings(stem).to_json(), preprocessing=Preprocessing())
    for half in (True, False):
        bundle = write_bundle(tmp_path / f"half-{half}", network, description, half)
        reference = make_network(stem)
        if half:
            rounded(reference)
        with torch.no_grad():
            reference.out.conv.conv.bias[0] = 70_000.0
        compiled = openvino.Core().compile_model(bundle.onnx_path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found, expected = compiled([windows(1)])[0], logits_of(reference, windows(1))
        assert relative_difference(found[:, 1:], expected[:, 1:]) < 1e-4
        assert relative_difference(found[:, :1], expected[:, :1]) < 1e-4


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize(
    ("patch_size", "changes"),
    [
        (12, {"stem": "patch"}),
        # 128 channels: instance norms become arrays of ones and zeros that are no weights.
        (16, {"stem": "patch", "feature_size": 16, "layers": 4}),
        (24, {"stem": "convolution", "layers": 4}),
        (32, {"stem": "patch", "layers": 5, "class_token": True, "feature_size": 2}),
    ],
)
def test_every_patch_size_is_computed_alike_without_torch(patch_size: int, changes: dict, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    openvino = pytest.importorskip("openvino")
    from mimseg.bundle.writer import write_bundle
    from mimseg.networks.unetr import UNETR

    window = (2 * patch_size, patch_size, patch_size)
    shape = replace(settings(), window=window, patch_size=patch_size, **changes)
    torch.manual_seed(0)
    network = UNETR(shape).eval()
    description = describe(network=shape.to_json(), window=window, preprocessing=Preprocessing())
    bundle = write_bundle(tmp_path / "model", network, description)
    image = np.random.default_rng(0).normal(size=(1, 1, *window)).astype(np.float32)
    compiled = openvino.Core().compile_model(bundle.onnx_path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert relative_difference(compiled([image])[0], logits_of(rounded(network), image)) < 1e-4
