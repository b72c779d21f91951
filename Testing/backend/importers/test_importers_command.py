"""`mimseg models import` of weights of other programs, from the file to a labelmap."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from synthetic import ball_scan, write_scan

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("onnx")
pytestmark = pytest.mark.train

from bundle_files import make_bundle_of_bytes  # noqa: E402
from foreign_weights import HEADS, WINDOW, as_of, mim_med3d, save, unetr, vit  # noqa: E402
from json_lines import events  # noqa: E402
from test_importers_bundles import write_auto3dseg, write_bundle_of_monai  # noqa: E402

from mimseg.bundle.description import Description  # noqa: E402
from mimseg.bundle.reader import open_bundle  # noqa: E402
from mimseg.cli.main import main  # noqa: E402
from mimseg.commands.models import import_weights  # noqa: E402
from mimseg.commands.models.import_settings import ImportSettings  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.networks.unetr import UNETR  # noqa: E402
from mimseg.training.start.initial_weights import read_initial_weights  # noqa: E402
from mimseg.training.start.transfer import transfer  # noqa: E402

LABELS = [{"value": 3, "name": "ball"}, {"value": 8, "name": "block"}]
PREPROCESSING = {
    "orientation": "RAS", "spacing": [1.0, 1.0, 1.0], "intensity": {"kind": "zscore"}, "crop_foreground": False,
}  # fmt: skip
WITHOUT_TORCH = """
import sys
for name in ("torch", "monai", "onnx", "safetensors", "lightning_fabric"):
    sys.modules[name] = None  # importing it fails
from mimseg.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models, and the working directory."""
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    Path("labels.json").write_text(json.dumps(LABELS), encoding="utf-8")
    Path("preprocessing.json").write_text(json.dumps(PREPROCESSING), encoding="utf-8")
    return tmp_path / "models"


def imported(capsys: pytest.CaptureFixture, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The last event of an import; all follow the schema."""
    capsys.readouterr()
    assert main(["models", "import", *arguments, "--json-lines"]) == code
    return events(capsys.readouterr().out)[-1]


def telling_apart(network: Any) -> Any:
    """The network with classes about equally frequent, and logits far from each other."""
    with torch.no_grad():
        logits = network(torch.randn(2, 1, *WINDOW))
        network.out.conv.conv.weight.mul_(4 / logits.std())
        network.out.conv.conv.bias.sub_(logits.mean((0, 2, 3, 4))).mul_(4 / logits.std())
    return network


@pytest.mark.slow
def test_an_imported_unetr_segments_without_torch_as_monais_own_network_does(
    models: Path, capsys: pytest.CaptureFixture
) -> None:
    # As many features as by default: their norms have more channels than the export keeps small arrays.
    theirs = telling_apart(unetr(feature_size=16, proj_type="perceptron"))
    state = as_of("0.9", theirs.state_dict())
    save(Path("best.ckpt"), {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}})
    result = imported(
        capsys, "best.ckpt", "--heads", str(HEADS), "--labels", "labels.json", "--modality", "MR", "--name", "balls",
        "--preprocessing", "preprocessing.json", "--licence", "CC-BY-4.0",
    )  # fmt: skip
    assert result["encoder_tensors"] == "137 of 137"
    assert result["path"] == str(models / "balls")

    bundle = open_bundle(models / "balls")
    assert bundle.description.licence == "CC-BY-4.0"
    assert bundle.description.training["imported"]["transfer"]["source"] == "MONAI UNETR"
    assert str(models.parent) not in (bundle.path / "segmentation.json").read_text(encoding="utf-8")

    image, _ = ball_scan(0, WINDOW)  # one window: no blending of several
    write_scan(Path("scan.nii.gz"), image)
    command = [sys.executable, "-c", WITHOUT_TORCH, "segment", "scan.nii.gz", "--model", "balls", "-o", "out.nii.gz"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ.copy())
    assert done.returncode == 0, done.stderr
    labels = sitk.GetArrayFromImage(sitk.ReadImage("out.nii.gz")).transpose()

    scaled = np.clip((image - image.mean()) / image.std(), -5, 5)
    with torch.no_grad():
        logits = theirs(torch.from_numpy(scaled)[None, None])[0]
    expected = np.array([0, 3, 8])[logits.argmax(0).numpy()]
    assert min(np.mean(expected == value) for value in (0, 3, 8)) > 0.05
    assert np.mean(labels != expected) < 1e-3  # of voxels at which two classes are equally likely


def test_an_imported_encoder_is_a_run_that_fine_tuning_starts_from(models: Path, capsys: pytest.CaptureFixture) -> None:
    theirs = vit(layers=12, proj_type="perceptron")
    save(Path("last.ckpt"), mim_med3d("mae", as_of("0.9", theirs.state_dict())))
    result = imported(capsys, "last.ckpt", "encoder", "--heads", str(HEADS), "--preprocessing", "btcv")
    assert result["encoder_tensors"] == "137 of 137"
    assert any("encoder.norm" in note for note in result["notes"])

    initial = read_initial_weights("encoder")
    assert initial.modality == "CT"
    assert initial.preprocessing.spacing == (1.5, 1.5, 2.0)
    assert initial.provenance["method"] == "imported"
    network = UNETR(initial.network).eval()
    report = transfer(network, initial.network, initial.weights, initial.network, "the run")
    assert report.encoder_counts == (137, 137)
    volume = torch.randn(1, 1, *WINDOW)
    with torch.no_grad():
        assert torch.allclose(network.vit(volume)[1][-1], theirs(volume)[1][-1], atol=1e-4)


def test_bundles_bring_what_they_need_and_their_code_stays_unrun(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Description] = []  # instead of writing models, which takes seconds each
    monkeypatch.setattr(
        import_weights, "write_bundle", lambda target, network, description, half: written.append(description)
    )
    result = import_weights.import_weights(ImportSettings(write_bundle_of_monai(Path("organs")), name="b"), Reporter())
    assert result.source == "MONAI UNETR in a MONAI Bundle"
    assert result.path == models / "b"
    result = import_weights.import_weights(ImportSettings(write_auto3dseg(Path("organs-v1.zip"))), Reporter())
    assert result.source == "MONAI UNETR in a MONAIAuto3DSeg model"
    bundle, auto = written
    assert (bundle.title, bundle.modality, bundle.overlap, bundle.name) == ("Organs", "CT", 0.25, "b")
    assert [label.name for label in bundle.labels] == ["spleen", "liver"]
    assert (auto.title, auto.modality, auto.overlap, auto.name) == ("liver, tumour on MR", "MR", 0.625, "organs-v1")
    assert auto.labels[0].type is not None
    assert not Path("trap-was-here").exists()


def test_what_is_not_said_is_asked_for_and_nothing_is_written(models: Path, capsys: pytest.CaptureFixture) -> None:
    save(Path("unetr.pt"), unetr().state_dict())
    error = imported(capsys, "unetr.pt", "--heads", str(HEADS), code=2)
    assert error["code"] == "import-needs"
    assert "--preprocessing btcv" in error["hint"]
    save(Path("vit.pt"), vit().state_dict())
    error = imported(capsys, "vit.pt", "--heads", str(HEADS), "--preprocessing", "btcv", code=2)
    assert "FILE OUT" in error["hint"]
    assert not models.exists()


def test_incomplete_encoders_need_permission(models: Path, capsys: pytest.CaptureFixture) -> None:
    state = dict(vit().state_dict())
    del state["blocks.1.norm2.bias"]
    save(Path("vit.pt"), state)
    arguments = ["vit.pt", "out", "--heads", str(HEADS), "--preprocessing", "brats"]
    assert imported(capsys, *arguments, code=2)["code"] == "transfer-incomplete"
    assert not Path("out").exists()
    assert imported(capsys, *arguments, "--allow-incomplete")["encoder_tensors"] == "48 of 49"
    assert imported(capsys, *arguments, "--allow-incomplete", code=2)["code"] == "output-exists"


def test_a_file_that_needs_code_ends_in_exit_code_2(models: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save(vit(), "module.pt")
    assert imported(capsys, "module.pt", code=2)["code"] == "unsafe-weights"
    assert imported(capsys, "absent.pt", code=2)["code"] == "file-missing"


def test_of_several_networks_one_is_named_by_its_prefix(models: Path, capsys: pytest.CaptureFixture) -> None:
    save(Path("both.pt"), {"model": vit().state_dict(), "ema": vit(layers=5).state_dict()})
    arguments = ["both.pt", "out", "--heads", str(HEADS), "--preprocessing", "btcv"]
    assert imported(capsys, *arguments, code=2)["code"] == "ambiguous-weights"
    dropped = imported(capsys, *arguments, "--prefix", "ema.")["transfer"]["dropped"]
    assert dropped[f"{len(vit().state_dict())} tensors of something else"] == ["model.*"]
    assert read_initial_weights("out").network.layers == 5


def test_a_model_of_mimseg_is_still_taken_in_as_it_is(models: Path, capsys: pytest.CaptureFixture) -> None:
    made = make_bundle_of_bytes(Path("made"), name="made-here")
    assert imported(capsys, str(made))["path"] == str(models / "made-here")
    assert imported(capsys, str(made), "elsewhere", code=2)["code"] == "usage"
    assert not Path("elsewhere").exists()
