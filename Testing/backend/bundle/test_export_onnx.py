"""A model as ONNX: whoever follows its README, with NumPy and ONNX Runtime, gets what `mimseg segment` gives."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from segment_tools import Recorder, settings_for
from tiny_model import write_tiny_bundle

from mimseg.cli.main import main
from mimseg.commands.segment.run import segment
from mimseg.data.intensity import Intensity
from mimseg.data.labels.structures import Label
from mimseg.data.preprocessing import Preprocessing

onnxruntime = pytest.importorskip("onnxruntime", reason="the README's program runs on ONNX Runtime")
ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "Resources" / "SampleData" / "MNI152_T1.nii.gz"


def export(model: Path | str, folder: Path) -> Path:
    """The unpacked export."""
    assert main(["models", "export", str(model), str(folder / "o.zip"), "--format", "onnx", "--quiet"]) == 0
    with zipfile.ZipFile(folder / "o.zip") as archive:
        archive.extractall(folder)
    (found,) = folder.glob("*-onnx")
    return found


def by_readme(folder: Path, scan: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Labels `(i, j, k)` as the program in the README computes them; the scan's axes run to LPS, the model's to RAS."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(program, "README.md", "exec"), names)
    image = sitk.ReadImage(str(scan))
    assert np.array_equal(image.GetDirection(), np.eye(3).ravel())
    turned = sitk.GetArrayFromImage(image).T[::-1, ::-1].astype(np.float32)
    return names["segment"](turned[np.newaxis], image.GetSpacing())[::-1, ::-1]


def by_mimseg(model: Path | str, scan: Path, output: Path) -> np.ndarray:
    segment(settings_for(model, scan, output), Recorder())
    return sitk.GetArrayFromImage(sitk.ReadImage(str(output))).T


def write_blobs(path: Path, low: float, high: float) -> None:
    """A smooth scan, 0 at its border, with values from low to high, anisotropic voxels, axes along LPS."""
    generator = np.random.default_rng(3)
    axes = np.meshgrid(*(np.linspace(0, 1, n) for n in (25, 22, 13)), indexing="ij")
    waves = sum(np.sin(6 * (generator.uniform(0.5, 1.5) * a + generator.uniform())) for a in axes)
    values = low + (high - low) * (waves - waves.min()) / (waves.max() - waves.min())
    values[:3], values[:, -4:], values[..., :1] = 0, 0, 0
    image = sitk.GetImageFromArray(values.astype(np.float32).T)
    image.SetSpacing((0.8, 1.1, 2.3))
    sitk.WriteImage(image, str(path))


@pytest.mark.parametrize(
    ("intensity", "values", "options"),
    [
        (Intensity("window", 0, 100), (1, 100), {}),
        (Intensity("window", 0, 100), (1, 100), {"crop": True}),
        (Intensity("window", 0, 100), (1, 100), {"spacing": None}),
        (Intensity("percentile", 0, 900, 50.0, 800.0), (1, 1000), {}),
        (Intensity("zscore"), (100, 900), {"crop": True}),
        (Intensity("robust", -200, 300), (1, 900), {}),
        (Intensity("robust", -200, 300), (-1000, 900), {}),
        (Intensity("window", 0, 100), (1, 100), {"multilabel": True}),
    ],
)
def test_the_program_of_the_readme_gives_the_labels_of_segment(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    intensity: Intensity,
    values: tuple[float, float],
    options: dict[str, Any],
) -> None:
    spacing = options.get("spacing", (1.0, 1.5, 2.0))
    preprocessing = Preprocessing("RAS", spacing, intensity, options.get("crop", False))
    labels = (Label(1, "None", (1, 2, 3)), Label(3, "Grey", (1, 2, 3)), Label(7, "Bright", (1, 2, 3)))
    more = {"multilabel": True, "labels": labels} if options.get("multilabel") else {}
    model = write_tiny_bundle(tmp_path / "tiny", preprocessing=preprocessing, **more)
    write_blobs(tmp_path / "scan.nii.gz", *values)
    found = by_readme(export(model, tmp_path), tmp_path / "scan.nii.gz", monkeypatch)
    expected = by_mimseg(model, tmp_path / "scan.nii.gz", tmp_path / "result.nii.gz")
    assert {3, 7} <= set(np.unique(expected))
    assert float((found != expected).mean()) < 2e-4


def test_it_holds_for_the_shipped_model_and_a_piece_of_the_demo_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sitk.ReadImage(str(DEMO))
    piece = sitk.DICOMOrient(image, "LPS")[46:90, 87:147, 31:73]
    sitk.WriteImage(piece, str(tmp_path / "scan.nii.gz"))
    folder = export("hippocampus-mr", tmp_path)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "Research use only" in text
    assert "{{" not in text
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "LICENSE", "data_license.txt", "model.onnx", "model.safetensors")
    }
    found = by_readme(folder, tmp_path / "scan.nii.gz", monkeypatch)
    expected = by_mimseg("hippocampus-mr", tmp_path / "scan.nii.gz", tmp_path / "result.nii.gz")
    assert (expected > 0).sum() > 500
    assert float((found != expected).mean()) < 2e-4


def test_another_ending_than_zip_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_tiny_bundle(tmp_path / "tiny")
    assert main(["models", "export", str(model), str(tmp_path / "o.onnx"), "--format", "onnx"]) == 2
    assert ".zip" in capsys.readouterr().err
    assert not (tmp_path / "o.onnx").exists()
