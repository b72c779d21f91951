"""From other programs' weights to a DICOM segmentation, and from our pre-training to nnU-Net, through every step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")
pytestmark = pytest.mark.train

from dicom_files import by_highdicom, oblique_series  # noqa: E402
from synthetic import write_dataset  # noqa: E402

from mimseg.cli.main import main  # noqa: E402
from mimseg.data.labels.labelmaps import read_labelmap  # noqa: E402

QUICK = ("--window", "16,16,16", "--batch", "2", "--device", "cpu", "--precision", "32-true")
# A run of mimseg to which PyTorch and MONAI are not there.
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = sys.modules["monai"] = None
from mimseg.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def run_command(capsys: pytest.CaptureFixture[str], *arguments: Any) -> dict[str, Any]:
    code = main([*map(str, arguments), "--json-lines"])
    output = capsys.readouterr().out.splitlines()
    assert code == 0, output[-1]
    return json.loads(output[-1])


def published_network(window: tuple[int, int, int], width: int, heads: int, depth: int) -> Any:
    """A Primus of the published class with random weights."""
    pytest.importorskip("timm", reason="dynamic_network_architectures needs timm")
    primus = pytest.importorskip(
        "dynamic_network_architectures.architectures.primus", reason="dynamic_network_architectures is not installed"
    )
    torch.manual_seed(0)
    return primus.Primus(1, width, (8, 8, 8), 1, depth, heads, window, init_values=0.1, scale_attn_inner=True)


def write_checkpoint(path: Path, network: Any, window: tuple[int, int, int]) -> None:
    """As nnssl writes one of a network; the plan's names are those of the class."""
    plan = {
        "architecture_plans": {"arch_class_name": "PrimusM", "arch_kwargs": None, "arch_kwargs_requiring_import": None},
        "pretrain_plan": {
            "configurations": {
                "onemmiso": {
                    "spacing": [1.0, 1.0, 1.0],
                    "patch_size": list(window),
                    "use_mask_for_norm": [False],
                    "normalization_schemes": ["ZScoreNormalization"],
                }
            }
        },
        "pretrain_num_input_channels": 1,
        "recommended_downstream_patchsize": list(window),
        "key_to_encoder": network.key_to_encoder,
        "key_to_stem": network.key_to_stem,
        "keys_to_in_proj": list(network.keys_to_in_proj),
        "key_to_lpe": network.key_to_lpe,
    }
    content = {
        "network_weights": network.state_dict(),
        "nnssl_adaptation_plan": plan,
        "trainer_name": "BaseEvaMAETrainer",
    }
    torch.save(content, path)


def test_a_checkpoint_of_nnssl_becomes_a_model_that_writes_dicom_without_pytorch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    network = published_network((16, 16, 16), 48, 2, 3)
    write_checkpoint(tmp_path / "Primus-MAE.pth", network, (16, 16, 16))
    run, model = tmp_path / "encoder", tmp_path / "model"
    told = run_command(capsys, "models", "import", tmp_path / "Primus-MAE.pth", run, "--heads", 2, "--modality", "CT")
    assert len(set(told["encoder_tensors"].split(" of "))) == 1
    data = write_dataset(tmp_path / "data", 3)
    run_command(
        capsys,
        "finetune",
        data,
        "-o",
        model,
        "--init",
        run,
        "--steps",
        2,
        "--no-measure",
        "--validations",
        1,
        "--feature-size",
        8,
        *QUICK,
    )
    description = json.loads((model / "segmentation.json").read_text(encoding="utf-8"))
    assert description["network"]["name"].startswith("primus")
    oblique_series(tmp_path / "scan")
    for output in ("result.dcm", "result.nii.gz"):
        command = [sys.executable, "-c", WITHOUT_TORCH, "segment", str(tmp_path / "scan"), "-m", str(model)]
        subprocess.run([*command, "-o", str(tmp_path / output)], check=True, timeout=300)
    expected = read_labelmap(tmp_path / "result.nii.gz")
    assert expected.array.any()
    found = by_highdicom(tmp_path / "result.dcm", expected.grid)
    values = np.unique(expected.array)
    assert np.array_equal(found, np.searchsorted(values, expected.array) + int(values[0] > 0))


def test_nnunet_takes_two_steps_from_what_was_pretrained_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("nnunetv2", reason="nnunetv2 is not installed: pip install nnunetv2==2.8.1")
    data = write_dataset(tmp_path / "data", 2)
    arguments = ("--network", "primus-s", "--spacing", "1,1,1", "--modality", "MR", "--steps", 1, *QUICK)
    run_command(capsys, "pretrain", data / "imagesTr", "-o", tmp_path / "run", *arguments)
    weights = tmp_path / "weights.pth"
    run_command(capsys, "models", "export", tmp_path / "run", weights, "--format", "nnssl", "--classes", 2)
    script = str(Path(__file__).with_name("nnunet_steps.py"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script, str(tmp_path / "nnU-Net"), str(weights)],
        capture_output=True, text=True, timeout=900, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["missing"] == []
    assert told["loaded"] == told["given"] > 100
    assert told["epochs"] == 1
    assert told["changed"] > 100
    assert told["finite"]


def test_without_a_decoder_only_the_encoder_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_dataset(tmp_path / "data", 2)
    arguments = ("--network", "primus-tiny", "--spacing", "1,1,1", "--modality", "MR", "--steps", 1, *QUICK)
    run_command(capsys, "pretrain", data / "imagesTr", "-o", tmp_path / "run", *arguments)
    names = []
    for number, more in enumerate(((), ("--classes", 3))):
        path = tmp_path / f"{number}.pth"
        run_command(capsys, "models", "export", tmp_path / "run", path, "--format", "nnssl", *more)
        content = torch.load(path, weights_only=True)
        names.append(set(content["network_weights"]))
    assert {name.partition(".")[0] for name in names[0]} == {"eva", "down_projection"}
    assert {name.partition(".")[0] for name in names[1] - names[0]} == {"up_projection", "mask_token"}
    assert main(["models", "export", str(tmp_path / "run"), str(tmp_path / "x.zip"), "--classes", "3"]) == 2
    assert "--classes" in capsys.readouterr().err
