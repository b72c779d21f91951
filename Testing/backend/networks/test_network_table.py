"""Networks are added by one file and one line, and chosen by name; each trains, exports, segments and says its name."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytestmark = pytest.mark.train

import numpy as np  # noqa: E402
from safetensors import safe_open  # noqa: E402
from synthetic import write_dataset  # noqa: E402

from mimseg.bundle.reader import Bundle, open_bundle  # noqa: E402
from mimseg.cli.main import main  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.inference.engines.openvino_engine import OpenVinoEngine  # noqa: E402
from mimseg.inference.engines.torch_engine import TorchEngine  # noqa: E402
from mimseg.networks.settings import NetworkSettings  # noqa: E402
from mimseg.networks.table import NETWORKS, named_settings, network_names, settings_class  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.run_folder import check_same_settings  # noqa: E402

OUTSIDE = "two-convolutions"


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setitem(NETWORKS, OUTSIDE, "outside_network.TwoConvolutionsSettings")


def mimseg(capsys: pytest.CaptureFixture[str], *arguments: Any) -> list[dict[str, Any]]:
    """The events of a command, and one with what it wrote to the log."""
    code = main([*map(str, arguments), "--json-lines"])
    written = capsys.readouterr()
    events = [json.loads(line) for line in written.out.splitlines()]
    assert code == 0, events[-1]
    return [{"event": "log", "text": written.err}, *events]


def train(capsys: pytest.CaptureFixture[str], data: Path, output: Path, *options: Any) -> list[dict[str, Any]]:
    return mimseg(
        capsys, "finetune", data, "-o", output, "--steps", 2, "--batch", 1, "--device", "cpu",
        "--precision", "32-true", "--no-measure", "--window", "16", *options,
    )  # fmt: skip


def difference_between_engines(bundle: Bundle) -> float:
    shape = (2, len(bundle.description.channels), *bundle.description.window)
    batch = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    logits = OpenVinoEngine(bundle.onnx_path)(batch)
    assert np.ptp(logits) > 0
    return float(np.abs(logits - TorchEngine(bundle)(batch)).max() / np.abs(logits).max())


@pytest.mark.usefixtures("outside")
def test_a_network_from_outside_trains_exports_segments_and_says_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / "models"))
    data, output = write_dataset(tmp_path / "data", 5), tmp_path / "models" / "ours"
    events = train(capsys, data, output, "--init", "none", "--network", OUTSIDE)
    assert next(event for event in events if event["event"] == "start")["network"] == OUTSIDE
    bundle = open_bundle(output)
    assert difference_between_engines(bundle) < 1e-4
    assert bundle.description.network["name"] == OUTSIDE
    assert bundle.description.training["finetuning"]["network"]["name"] == OUTSIDE
    assert bundle.description.description.startswith("Two Convolutions trained on 4 cases")
    assert "Two Convolutions" in (output / "docs" / "README.md").read_text(encoding="utf-8")
    assert "Nobody. Two conv" in (output / "configs" / "metadata.json").read_text(encoding="utf-8")
    (listed,) = (m for m in mimseg(capsys, "models", "list")[-1]["models"] if m["name"] == "ours")
    assert listed["network"] == "Two Convolutions"
    assert main(["models", "show", "ours"]) == 0
    assert "Two Convolutions" in capsys.readouterr().out
    scan = next((data / "imagesTr").glob("*.nii.gz"))
    mimseg(capsys, "segment", scan, "-o", tmp_path / "labels.nii.gz", "--model", "ours", "--device", "cpu")
    assert (tmp_path / "labels.nii.gz").is_file()


def test_dynunet_is_stored_once_segments_alike_on_both_engines_and_is_trained_further(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, first = write_dataset(tmp_path / "data", 5), tmp_path / "first"
    train(capsys, data, first, "--init", "none", "--network", "dynunet")
    bundle = open_bundle(first)
    assert difference_between_engines(bundle) < 1e-4
    assert bundle.description.network_settings == named_settings("dynunet").changed(window=(16, 16, 16), classes=3)
    with safe_open(bundle.weights_path, "pt") as stored:
        names = len(stored.keys())
        count = sum(int(np.prod(stored.get_slice(name).get_shape())) for name in stored.keys())  # noqa: SIM118
    assert count == sum(value.numel() for value in bundle.description.network_settings.build().parameters())
    assert bundle.onnx_path.stat().st_size < 100_000
    # MONAI loads strictly: a tensor that this network knows by several names is there under each of them.
    mimseg(capsys, "models", "export", first, tmp_path / "monai.zip", "--format", "monai")
    with zipfile.ZipFile(tmp_path / "monai.zip") as archive:
        checkpoint = io.BytesIO(archive.read("first/models/model.pt"))
    bundle.description.network_settings.build().load_state_dict(torch.load(checkpoint, weights_only=True))
    events = train(capsys, data, tmp_path / "second", "--init", first)
    assert "Layer-wise learning rates do not apply to DynUNet" in events[0]["text"]
    assert f"{names} of {names} tensors arrived" in events[0]["text"]


def test_a_network_without_patches_is_not_pretrained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dataset(tmp_path / "data", 2)
    assert main(["pretrain", str(data), "-o", str(tmp_path / "run"), "--steps", "1", "--network", "dynunet"]) == 2
    assert "DynUNet cannot be pre-trained" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_start_weights_of_another_network_than_asked_for_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bundle_files import make_bundle

    model = make_bundle(tmp_path / "unetr")
    data = write_dataset(tmp_path / "data", 2)
    options = ["--init", str(model.path), "--network", "dynunet", "--steps", "1", "-o", str(tmp_path / "out")]
    assert main(["finetune", str(data), *options]) == 2
    assert "belong to UNETR, not to DynUNet" in capsys.readouterr().err


@pytest.mark.parametrize("name", network_names())
def test_every_network_has_its_own_name_a_paper_and_gives_logits(name: str) -> None:
    settings = named_settings(name)
    edge = 2 * settings.divisor
    settings = settings.changed(window=(edge, edge, 2 * edge), channels=2, classes=3)
    assert NetworkSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    assert settings_class(settings.name) is type(settings)
    assert settings.reference
    if settings.sizes[next(iter(settings.sizes))] != settings.sizes[name.rpartition("-")[2]]:
        return  # too large for a test
    network = settings.build().eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 2, *settings.window)).shape == (1, 3, *settings.window)
    names = [parameter for parameter, _ in network.named_parameters()]
    assert any(parameter.startswith(settings.output_layer) for parameter in names)
    found = [kernel for kernel in settings.entry_kernels if kernel in network.state_dict()]
    assert found
    assert all(network.state_dict()[kernel].shape[1] == 2 for kernel in found)
    depths = {settings.depth_of(parameter) for parameter in names} - {None}
    assert depths == (set(range(settings.depth + 1)) if settings.depth else set())


def test_short_and_old_names_are_sizes_of_a_network() -> None:
    assert named_settings("small") == named_settings("unetr") == named_settings("unetr-small")
    assert named_settings("base") == UnetrSettings()
    assert named_settings("dynunet") == named_settings("dynunet-small")
    with pytest.raises(UserError, match="no network 'unetr-huge'"):
        named_settings("unetr-huge")


def test_what_was_stored_before_there_was_a_second_network_is_a_unetr(tmp_path: Path) -> None:
    settings = UnetrSettings(window=(32, 32, 32), layers=5)
    old = {key: value for key, value in settings.to_json().items() if key != "name"}
    assert NetworkSettings.from_json(old) == settings
    (tmp_path / "settings.json").write_text(json.dumps({"network": old, "seed": 0}), encoding="utf-8")
    check_same_settings(tmp_path, {"network": settings.to_json(), "seed": 0})
    with pytest.raises(UserError, match="other settings: network"):
        check_same_settings(tmp_path, {"network": settings.changed(layers=6).to_json(), "seed": 0})
    with pytest.raises(UserError, match="no network 'novelty'"):
        NetworkSettings.from_json({"name": "novelty"})


def test_a_setting_that_a_network_lacks_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--init", "none", "--network", "dynunet", "--layers", "4", "--steps", "1", "-o", str(tmp_path / "out")]
    assert main(["finetune", str(write_dataset(tmp_path / "data", 2)), *options]) == 2
    assert "DynUNet has no setting layers" in capsys.readouterr().err
