"""Model bundles: the description, opening and finding models, and what a written model computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_files import describe, make_bundle_of_bytes, make_network, settings, shared_bundle

from mimseg.bundle.description import Description, read_description
from mimseg.bundle.locations import find_bundle, list_bundles, shipped_folder, user_folder
from mimseg.bundle.reader import open_bundle
from mimseg.data.labels import Label
from mimseg.data.preprocessing import Preprocessing
from mimseg.errors import UserError


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the user's models."""
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def changed(**changes: Any) -> dict[str, Any]:
    """A description's JSON with entries replaced."""
    return {**describe().to_json(), **changes}


def test_a_description_survives_json() -> None:
    description = describe(multilabel=False, field_of_view_mm=None, training={"a": [1, 2.5, "x", None, True]})
    assert Description.from_json(json.loads(json.dumps(description.to_json()))) == description


def test_numbers_that_json_lacks_become_null() -> None:
    content = describe(scores={"hd95": float("nan"), "dice": np.float32(0.5), "rows": [np.int64(3)]}).to_json()
    assert json.loads(json.dumps(content, allow_nan=False))["scores"] == {"hd95": None, "dice": 0.5, "rows": [3]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "../up"),
        ("name", "CON"),
        ("name", "con"),
        ("name", ""),
        ("name", 3),
        ("title", " "),
        ("modality", "XR"),
        ("channels", []),
        ("channels", "T1"),
        ("channels", ["T1", "T2"]),
        ("multilabel", 0),
        ("multilabel", True),
        ("preprocessing", {"orientation": "RAS"}),
        ("window", [16, 16]),
        ("window", [16, 24, 16.0]),
        ("window", [16, 16, 16]),
        ("overlap", 1.0),
        ("overlap", "0.5"),
        ("overlap", True),
        ("labels", []),
        ("labels", [{"value": 1}]),
        ("labels", [{"value": 1, "name": "one"}]),
        ("labels", {"1": "one"}),
        ("network", {}),
        ("network", {"window": [16, 24, 16], "surprise": 1}),
        ("network", None),
        ("field_of_view_mm", [1, 2]),
        ("field_of_view_mm", [1, 2, -3]),
        ("training", []),
        ("scores", "good"),
        ("versions", {"torch": 2}),
        ("surprise", 1),
    ],
)
def test_a_wrong_entry_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UserError) as fault:
        Description.from_json(changed(**{name: value}), "here.json")
    assert "here.json" in str(fault.value)
    assert fault.value.code == "bad-model"


@pytest.mark.parametrize("name", sorted(describe().to_json()))
def test_a_missing_entry_is_refused(name: str) -> None:
    content = describe().to_json()
    del content[name]
    with pytest.raises(UserError):
        Description.from_json(content)


@pytest.mark.parametrize("content", [None, [], {}, {"format": "other"}, changed(format_version=2)])
def test_other_formats_and_versions_are_refused(content: Any) -> None:
    with pytest.raises(UserError) as fault:
        Description.from_json(content)
    assert fault.value.code in ("not-a-model", "model-version")


def test_labels_must_be_in_the_order_of_the_classes() -> None:
    one, two = describe().labels
    with pytest.raises(UserError, match="ordered"):
        describe(labels=(two, one))
    described = describe(labels=(Label(3, "three", (1, 2, 3)), Label(700, "many", (4, 5, 6))))
    assert Description.from_json(described.to_json()).labels == described.labels


def test_damaged_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "segmentation.json"
    for content in (b"{", b"\xff\xfe\x00", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(UserError) as fault:
            read_description(path)
        assert str(path) in fault.value.message


def test_a_model_opens_and_tells_its_parts(tmp_path: Path) -> None:
    folder = make_bundle_of_bytes(tmp_path / "Modell für Äpfel")
    bundle = open_bundle(folder)
    assert bundle.description == describe()
    assert bundle.onnx_path.is_file()
    assert bundle.weights_path.is_file()
    assert bundle.size_bytes == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    other = make_bundle_of_bytes(tmp_path / "other", version="2.0.0")
    assert open_bundle(other).identity != bundle.identity


def test_leftovers_of_file_managers_do_no_harm(tmp_path: Path) -> None:
    folder = make_bundle_of_bytes(tmp_path / "model")
    (folder / "configs" / ".DS_Store").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    open_bundle(folder)


def damage(folder: Path, kind: str) -> None:
    weights = folder / "models" / "model.safetensors"
    hashes = folder / "sha256.json"
    if kind == "changed":
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    elif kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif kind == "missing":
        weights.unlink()
    elif kind == "unlisted":
        (folder / "configs" / "evil.json").write_text("{}")
    elif kind == "no hashes":
        hashes.unlink()
    elif kind == "hashes of another kind":
        hashes.write_text(json.dumps({"segmentation.json": 3}))
    elif kind == "hashes do not cover":
        content = json.loads(hashes.read_text(encoding="utf-8"))
        del content["models/model.onnx"]
        hashes.write_text(json.dumps(content))
    elif kind == "link":
        target = folder.parent / "elsewhere"
        weights.rename(target)
        weights.symlink_to(target)


@pytest.mark.parametrize(
    "kind",
    [
        "changed",
        "truncated",
        "missing",
        "unlisted",
        "no hashes",
        "hashes of another kind",
        "hashes do not cover",
        pytest.param("link", marks=pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")),
    ],
)
def test_a_damaged_model_is_refused(tmp_path: Path, kind: str) -> None:
    folder = make_bundle_of_bytes(tmp_path / "model")
    damage(folder, kind)
    with pytest.raises(UserError) as fault:
        open_bundle(folder)
    assert fault.value.code == "model-damaged"
    assert fault.value.hint


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError) as fault:
            open_bundle(path)
        assert fault.value.code == "not-a-model"


def test_models_are_found_by_name_and_by_path(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = make_bundle_of_bytes(models / "mine")
    here = make_bundle_of_bytes(tmp_path / "work" / "here")
    monkeypatch.chdir(tmp_path / "work")
    assert find_bundle("mine") == mine
    assert find_bundle("here").resolve() == here
    assert find_bundle(str(here)) == here
    nearer = make_bundle_of_bytes(tmp_path / "work" / "mine")
    assert find_bundle("mine").resolve() == nearer
    assert user_folder() == models


@pytest.mark.parametrize("name", ["absent", "", ".", "some/where", "model.zip"])
def test_an_unknown_model_is_refused_with_the_known_names(name: str, models: Path) -> None:
    make_bundle_of_bytes(models / "known-model")
    with pytest.raises(UserError) as fault:
        find_bundle(name)
    assert fault.value.code in ("no-such-model", "not-a-model")
    if name == "absent":
        assert "known-model" in fault.value.hint


def test_a_model_of_the_user_hides_a_shipped_one(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimseg.bundle.locations.shipped_folder", lambda: tmp_path / "shipped")
    make_bundle_of_bytes(tmp_path / "shipped" / "one")
    make_bundle_of_bytes(tmp_path / "shipped" / "two")
    make_bundle_of_bytes(models / "two")
    (models / ".two.part").mkdir()
    (models / "notes").mkdir()
    assert [(bundle.name, bundle.shipped) for bundle in list_bundles()] == [("one", True), ("two", False)]


def test_every_shipped_model_is_whole_and_at_most_12_megabytes() -> None:
    folders = [path.parent for path in shipped_folder().glob("*/segmentation.json")]
    if not folders:
        pytest.skip(f"{shipped_folder()} holds no model")
    for folder in folders:
        bundle = open_bundle(folder)
        assert bundle.description.name == folder.name
        assert bundle.size_bytes <= 12_000_000


def test_opening_a_model_imports_neither_torch_nor_monai(tmp_path: Path) -> None:
    folder = make_bundle_of_bytes(tmp_path / "model")
    program = (
        "import sys; from pathlib import Path; from mimseg.bundle.reader import open_bundle;"
        "import mimseg.bundle.archive, mimseg.tasks.models; open_bundle(Path(sys.argv[1]));"
        "sys.exit([name for name in ('torch', 'monai', 'onnx', 'safetensors', 'scipy') if name in sys.modules] or 0)"
    )
    source = str(Path(sys.modules["mimseg"].__file__ or "").parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    result = subprocess.run(
        [sys.executable, "-c", program, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


# What a written model computes.


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
    checkpoint = torch.load(bundle.path / "models" / "model.pt", weights_only=True)
    assert type(checkpoint) is dict
    assert checkpoint.keys() == stored.keys()
    assert all(torch.equal(checkpoint[name], stored[name]) for name in stored)
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
