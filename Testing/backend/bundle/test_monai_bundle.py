"""MONAI runs our bundles, and gets what `mimseg segment` gets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from bundle_files import describe, make_bundle_of_bytes, settings, shared_bundle

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("nibabel", reason="MONAI reads NIfTI with nibabel")
pytest.importorskip("ignite", reason="MONAI's evaluator needs pytorch-ignite")
pytestmark = pytest.mark.train

from mimseg.bundle.description import Description  # noqa: E402
from mimseg.bundle.documents.monai_inference import inference_configuration  # noqa: E402
from mimseg.bundle.documents.monai_metadata import metadata  # noqa: E402
from mimseg.bundle.reader import Bundle, open_bundle  # noqa: E402
from mimseg.cli.main import main  # noqa: E402
from mimseg.commands.segment.run import segment  # noqa: E402
from mimseg.commands.segment.settings import SegmentSettings  # noqa: E402
from mimseg.data.intensity import Intensity  # noqa: E402
from mimseg.data.labels.connected import keep_main_piece  # noqa: E402
from mimseg.data.labels.structures import Label  # noqa: E402
from mimseg.data.preprocessing import Preprocessing, prepare, restore  # noqa: E402
from mimseg.data.volumes import read_channels, read_volume  # noqa: E402
from mimseg.inference.probabilities import to_probabilities  # noqa: E402

# fmt: off
REQUIRED_METADATA = [
    "schema", "name", "version", "changelog", "monai_version", "pytorch_version", "numpy_version",
    "required_packages_version", "task", "description", "authors", "copyright", "data_source", "data_type",
    "image_classes", "label_classes", "pred_classes", "eval_metrics", "intended_use", "references",
    "network_data_format",
]
# fmt: on
# fmt: off
REQUIRED_FORMAT = [
    "type", "format", "num_channels", "spatial_shape", "dtype", "value_range", "is_patch_data", "channel_def",
]
# fmt: on


@pytest.fixture
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return shared_bundle(tmp_path_factory.mktemp("model"))


def rotation(axis: tuple[float, float, float], angle: float) -> np.ndarray:
    transform = sitk.VersorRigid3DTransform()
    transform.SetRotation(axis, angle)
    return np.array(transform.GetMatrix()).reshape(3, 3)


def write_scan(path: Path, seed: int = 0, low: float = 100.0, high: float = 900.0, margin: int = 0) -> Path:
    """A smooth, anisotropic volume with permuted, flipped and oblique axes; `margin` voxels of 0 around it."""
    random = np.random.default_rng(seed)
    noise = sitk.GetImageFromArray(random.normal(size=(22, 27, 31)).astype(np.float32))
    array = sitk.GetArrayFromImage(sitk.DiscreteGaussian(noise, 2.0))
    array = (array - array.min()) / (array.max() - array.min()) * (high - low) + low
    image = sitk.GetImageFromArray(np.pad(array, margin).astype(np.float32))
    image.SetSpacing((0.8, 1.3, 1.6))
    image.SetOrigin((12.0, -30.0, 44.0))
    turn = np.array([[0, -1, 0], [0, 0, 1], [-1, 0, 0]], float)
    image.SetDirection((rotation((1.0, 0.3, 0.2), 0.35) @ turn).ravel().tolist())
    sitk.WriteImage(image, str(path))
    return path


def environment() -> dict[str, str]:
    source = str(Path(sys.modules["mimseg"].__file__ or "").parents[1])
    return {**os.environ, "PYTHONPATH": source, "PYTHONIOENCODING": "utf-8", "CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.slow
def test_monai_run_and_mimseg_segment_give_the_same_labels(bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("fire", reason="python -m monai.bundle needs fire")
    (tmp_path / "in").mkdir()
    scan = write_scan(tmp_path / "in" / "case.nii.gz")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    folders = ["--dataset_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out")]
    run = subprocess.run(
        [*command, *folders], cwd=bundle.path, env=environment(), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    segment(SegmentSettings((scan,), str(bundle.path), tmp_path / "ours.nii.gz", engine="openvino"))
    theirs = sitk.ReadImage(str(tmp_path / "out" / "case_seg.nii.gz"))
    ours = sitk.ReadImage(str(tmp_path / "ours.nii.gz"))
    differ = sitk.GetArrayFromImage(theirs) != sitk.GetArrayFromImage(ours)
    counts = np.bincount(sitk.GetArrayFromImage(ours).ravel(), minlength=3)
    assert counts.min() > 0.1 * differ.size, "the comparison needs all labels"
    assert differ.mean() <= 0.001
    for read in (sitk.Image.GetSpacing, sitk.Image.GetOrigin, sitk.Image.GetDirection):
        assert np.allclose(read(theirs), read(sitk.ReadImage(str(scan))), atol=1e-4)
    # Running it must not change the model: no cache, no compiled file inside.
    assert not list(bundle.path.rglob("__pycache__"))


def test_monai_misses_no_property(bundle: Bundle, tmp_path: Path) -> None:
    import torch
    from monai.bundle import ConfigWorkflow
    from safetensors.torch import load_file

    write_scan(tmp_path / "case.nii.gz")
    workflow = ConfigWorkflow(
        workflow_type="infer",
        config_file=str(bundle.path / "configs" / "inference.json"),
        meta_file=str(bundle.path / "configs" / "metadata.json"),
        logging_file=False,
        bundle_root=str(bundle.path),
        dataset_dir=str(tmp_path),
        output_dir=str(tmp_path / "out"),
    )
    workflow.initialize()
    assert workflow.check_properties() == []
    stored = load_file(bundle.weights_path)
    network = workflow.parser.get_parsed_content("network")
    assert all(torch.equal(value, stored[name].float()) for name, value in network.state_dict().items())
    assert workflow.spatial_shape == list(bundle.description.window)
    assert workflow.channel_def == {"0": "background", "1": "left", "2": "right|hand"}


def test_a_model_exported_for_monai_loads_there_and_stays_a_model_of_ours(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from monai.bundle import load
    from safetensors.torch import load_file

    name = bundle.description.name
    assert main(["models", "export", str(bundle.path), str(tmp_path / "m.zip"), "--format", "monai", "--quiet"]) == 0
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        archive.extractall(tmp_path)
    assert open_bundle(tmp_path / name).description == bundle.description
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / "models"))
    assert main(["models", "import", str(tmp_path / "m.zip"), "--quiet"]) == 0
    imported = open_bundle(tmp_path / "models" / name)
    assert not (imported.path / "models" / "model.pt").exists(), "no program of ours wants the weights twice"
    assert imported.weights_path.read_bytes() == bundle.weights_path.read_bytes()
    state = load(name=name, bundle_dir=tmp_path)
    # monai.bundle.load returns the network with its weights, or the weights where it cannot build one.
    state = state.state_dict() if isinstance(state, torch.nn.Module) else state
    stored = load_file(bundle.weights_path)
    assert state.keys() == stored.keys()
    assert all(torch.equal(state[name], stored[name]) for name in stored)


def test_weights_that_do_not_fit_are_not_exported_for_monai(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = make_bundle_of_bytes(tmp_path / "model")
    assert main(["models", "export", str(model), str(tmp_path / "m.zip"), "--format", "monai"]) == 2
    assert "do not fit its network" in capsys.readouterr().err
    assert not (tmp_path / "m.zip").exists()


def test_metadata_has_every_key_of_the_specification(bundle: Bundle) -> None:
    content = json.loads((bundle.path / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert [key for key in REQUIRED_METADATA if content.get(key) in (None, "", [])] == []
    image, pred = content["network_data_format"]["inputs"]["image"], content["network_data_format"]["outputs"]["pred"]
    for part in (image, pred):
        assert set(REQUIRED_FORMAT) <= set(part)
        assert len(part["channel_def"]) == part["num_channels"]
    assert content["version"] in content["changelog"]
    assert content["eval_metrics"]["summary_mean_dice"] == 0.5
    assert content["pytorch_version"].replace(".", "").isdigit()


def test_metadata_follows_the_intensities(bundle: Bundle) -> None:
    for intensity, expected in (
        (Intensity("zscore"), [-5.0, 5.0]),
        (Intensity("window", -100.0, 300.0), [0.0, 1.0]),
        (Intensity("percentile", -100.0, 300.0, 50.0, 10.0), [-15.0, 25.0]),
        (Intensity("robust", 0.0, 80.0), [0.0, 1.0]),
    ):
        content = metadata(describe(preprocessing=Preprocessing(intensity=intensity)))
        assert content["network_data_format"]["inputs"]["image"]["value_range"] == expected


def two_channels(**changes: Any) -> Description:
    network = replace(settings(), channels=2).to_json()
    return describe(channels=("T1", "T2"), network=network, **changes)


def overlapping() -> Description:
    return describe(multilabel=True, network=replace(settings(), classes=2).to_json())


CASES = {
    "as scanned": describe(preprocessing=Preprocessing()),
    "finer grid": describe(preprocessing=Preprocessing(spacing=(0.7, 0.9, 1.0))),
    "coarser grid": describe(preprocessing=Preprocessing("LPS", (1.5, 2.0, 2.5))),
    "window": describe(preprocessing=Preprocessing("RAS", (1.0, 1.0, 1.5), Intensity("window", 250.0, 700.0))),
    "percentile": describe(
        preprocessing=Preprocessing("RAS", None, Intensity("percentile", 250.0, 700.0, 400.0, 90.0))
    ),
    "any kind": describe(preprocessing=Preprocessing("RAS", (1.0, 1.0, 1.5), Intensity("robust", 0.0, 80.0))),
    "foreground": describe(preprocessing=Preprocessing("RAS", (1.0, 1.0, 1.5), Intensity("zscore"), True)),
    "CT foreground": describe(preprocessing=Preprocessing("RAS", None, Intensity("window", 50.0, 700.0), True)),
    "two channels": two_channels(preprocessing=Preprocessing("RAS", (1.0, 1.0, 1.5))),
    "overlapping": overlapping(),
    "one piece": describe(one_piece=(("right|hand",),)),
    "other values": describe(labels=(Label(4, "a", (1, 2, 3)), Label(300, "b", (1, 2, 3)))),
}


@pytest.mark.parametrize("name", CASES)
def test_monai_prepares_and_restores_like_mimseg(name: str, tmp_path: Path) -> None:
    import torch
    from monai.bundle import ConfigParser
    from monai.data import MetaTensor

    description = CASES[name]
    margin = 3 if "foreground" in name else 0
    scans = [write_scan(tmp_path / f"c_{channel:04d}.nii.gz", channel, margin=margin) for channel in range(2)]
    scans = scans[: len(description.channels)]
    configuration = inference_configuration(description)
    configuration["dataset_dir"], configuration["output_dir"] = str(tmp_path), str(tmp_path / "out")
    parser = ConfigParser(configuration)
    case = parser.get_parsed_content("datalist")[0]
    assert case == str(scans[0]) if len(scans) == 1 else case == [str(scan) for scan in scans]

    data = parser.get_parsed_content("preprocessing")({"image": case})
    prepared = prepare(read_channels(scans), description.preprocessing)
    assert data["image"].shape == prepared.array.shape
    assert np.abs(data["image"].numpy() - prepared.array).max() < 1e-4

    # Any smooth logits will do; those of a network need not be computed.
    random = np.random.default_rng(1)
    channels = len(description.labels) + (0 if description.multilabel else 1)
    logits = random.normal(size=(channels, *prepared.array.shape[1:])).astype(np.float32)
    pred = MetaTensor(torch.from_numpy(logits), meta=data["image"].meta)
    pred.applied_operations = data["image"].applied_operations
    parser.get_parsed_content("postprocessing")({"image": data["image"], "pred": pred})

    probabilities = to_probabilities(logits.copy(), description.multilabel)
    classes = restore(probabilities, prepared, description.multilabel)
    if description.one_piece:
        assert sum(keep_main_piece(classes, group) for group in description.pieces) > 0
    ours = np.array([0, *(label.value for label in description.labels)])[classes]
    [written] = (tmp_path / "out").glob("*.nii.gz")
    theirs = read_volume(written)
    assert len(np.unique(ours)) == len(description.labels) + 1
    assert theirs.array.dtype == (np.uint16 if ours.max() > 255 else np.uint8)
    assert (theirs.array != ours).mean() <= 0.001
    assert theirs.grid.same_as(read_volume(scans[0]).grid)
