"""The main job by the commands of the README: unlabelled scans, pre-training, fine-tuning, model, labelmap, scores."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("torch")
pytestmark = [pytest.mark.train, pytest.mark.slow]

from synthetic import write_dataset  # noqa: E402

SMALL = [
    "--hidden-size", "48", "--mlp-size", "48", "--heads", "3", "--layers", "3", "--feature-size", "8",
    "--device", "cpu", "--precision", "32-true",
]  # fmt: skip


def mimseg(*arguments: object, code: int = 0) -> list[dict]:
    """Events of one command."""
    done = subprocess.run(
        [sys.executable, "-m", "mimseg", *map(str, arguments), "--json-lines"],
        capture_output=True,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == code, done.stderr.decode()[-3000:] + done.stdout.decode()[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def read(path: Path) -> tuple[np.ndarray, sitk.Image]:
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), image


def test_from_unlabelled_scans_to_a_scored_labelmap_on_synthetic_scans(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 8)
    run, model, out = tmp_path / "run", tmp_path / "Balls and blocks", tmp_path / "out"
    events = mimseg("pretrain", data / "imagesTr", "-o", run, "--steps", 20, "--batch", 4, "--window", "24,24,24",
                    "--decoder-size", 48, "--decoder-heads", 3, *SMALL)  # fmt: skip
    losses = [e["value"] for e in events if e.get("name") == "validation_loss"]
    assert losses[-1] < losses[0]
    assert {"curves.png", "log.csv", "reconstruction.png"} <= {path.name for path in run.iterdir()}

    events = mimseg("finetune", data, "-o", model, "--init", run, "--steps", 140, "--learning-rate", "3e-3",
                    "--validation", "case_6,case_7")  # fmt: skip
    assert events[-1]["validation_dice"] > 0.6
    description = json.loads((model / "segmentation.json").read_text(encoding="utf-8"))
    assert description["name"] == "balls-and-blocks"
    assert len(description["scores"]["validation"]) == 4  # two cases, two structures
    assert len(description["training"]["transfer"]["loaded"]) > 20
    everything = "".join(p.read_text(encoding="utf-8", errors="ignore") for p in model.rglob("*") if p.is_file())
    assert str(tmp_path) not in everything
    assert "case_6" not in everything

    inputs = [data / "imagesTr" / f"case_{n}.nii.gz" for n in (6, 7)]
    mimseg("segment", *inputs, "--model", model, "-o", out, "--format", ".nii.gz", "--table", tmp_path / "volumes.csv")
    for path in inputs:
        (labels, result), (_, scan) = read(out / path.name.replace(".nii", "_segmentation.nii")), read(path)
        assert set(np.unique(labels)) == {0, 1, 2}
        assert result.GetSize() == scan.GetSize()
        np.testing.assert_allclose(result.GetDirection(), scan.GetDirection())
    mimseg("evaluate", "--pred", out, "--ref", data / "labelsTr", "-o", tmp_path / "report")
    with open(tmp_path / "report.csv", newline="", encoding="utf-8") as stream:
        measured = [float(row["dice"]) for row in csv.DictReader(stream) if row["class"].startswith("label")]
    # Scored in training by torch in memory; here by OpenVINO from file to file.
    stored = [row["dice"] for row in description["scores"]["validation"]]
    assert sorted(measured) == pytest.approx(sorted(stored), abs=0.01)


def test_a_stopped_fine_tuning_becomes_a_model_of_its_best_weights(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 6)
    arguments = ["finetune", data, "-o", tmp_path / "model", "--init", "none", "--window", "16,16,16", *SMALL]
    with subprocess.Popen(
        [sys.executable, "-m", "mimseg", *map(str, arguments), "--minutes", "10", "--json-lines", "--stop-with-stdin"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        for line in process.stdout:
            if json.loads(line).get("name") == "loss":
                break
        process.stdin.close()  # as Slicer's Stop does, and Slicer's end
        events = [json.loads(line) for line in process.stdout]
    assert process.returncode == 130
    assert events[-1]["code"] == "stopped"
    assert not (tmp_path / "model").exists()

    refused = mimseg("finetune", data, "-o", tmp_path / "model", "--init", "none", "--minutes", 10, code=2)
    assert "unfinished training" in refused[-1]["message"]
    differing = mimseg(*arguments, "--batch", 3, "--finish", code=2)
    assert "batch" in differing[-1]["message"]
    finished = mimseg(*arguments, "--finish")
    assert finished[-1]["steps"] >= 10
    assert (tmp_path / "model" / "models" / "model.onnx").is_file()


def test_the_pipeline_on_real_hippocampi_beats_a_blank_network(tmp_path: Path, shared_data: Path) -> None:
    data = shared_data / "hippocampus"
    splits = data / "splits.json"
    (tmp_path / "two.json").write_text(json.dumps(json.loads(splits.read_text(encoding="utf-8"))["validation"][:2]))
    window = ["--window", "40,56,40", "--spacing", "1"]
    mimseg("pretrain", data / "imagesTr", "--cases", f"{splits}:few_shot.seed0.20", "-o", tmp_path / "run",
           "--steps", 10, "--batch", 4, *window, *SMALL)  # fmt: skip
    events = mimseg("finetune", data, "-o", tmp_path / "model", "--init", tmp_path / "run", "--steps", 60,
                    "--cases", f"{splits}:few_shot.seed0.10", "--validation", tmp_path / "two.json",
                    "--device", "cpu", "--precision", "32-true")  # fmt: skip
    assert events[-1]["validation_dice"] > 0.3  # a blank network gets 0, a trained one far more than this
