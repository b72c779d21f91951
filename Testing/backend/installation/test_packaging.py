"""The wheel and the source archive hold the package, its licence and the shipped models."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODEL_FILE = "shipped_models/some-model/segmentation.json"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling, which builds the package, is not installed"
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the backend beside an empty folder of models, as in a clone."""
    ignored = shutil.ignore_patterns("__pycache__", "dist", "build")
    shutil.copytree(ROOT / "backend", tmp_path / "clone" / "backend", ignore=ignored)
    (tmp_path / "clone" / "Resources" / "Models").mkdir(parents=True)
    return tmp_path / "clone"


def add_model(checkout: Path) -> None:
    """Put a model of one file in the folder of shipped models, and a file that is no model."""
    folder = checkout / "Resources" / "Models" / "some-model"
    folder.mkdir()
    (folder / "segmentation.json").write_text("{}", encoding="utf-8")
    (folder.parent / "README.md").write_text("models", encoding="utf-8")


def build(backend: Path, target: str, output: Path) -> Path:
    """Build one distribution and return its path."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(output)]
    result = subprocess.run(command, cwd=backend, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return next(output.glob("*.whl" if target == "wheel" else "*.tar.gz"))


def test_the_wheel_holds_package_licence_and_models(checkout: Path, tmp_path: Path) -> None:
    add_model(checkout)
    names = zipfile.ZipFile(build(checkout / "backend", "wheel", tmp_path / "dist")).namelist()
    files = ("__init__.py", "py.typed", "bundle/documents/onnx_readme.md", MODEL_FILE)
    assert {f"mimseg/{file}" for file in files} <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("mimseg/shipped_models") and name.endswith("README.md")]


def test_the_wheel_is_built_without_any_model(checkout: Path, tmp_path: Path) -> None:
    names = zipfile.ZipFile(build(checkout / "backend", "wheel", tmp_path / "dist")).namelist()
    assert "mimseg/__main__.py" in names
    assert not [name for name in names if "shipped_models" in name]


def test_a_wheel_made_from_the_source_archive_holds_the_models_too(checkout: Path, tmp_path: Path) -> None:
    add_model(checkout)
    archive = build(checkout / "backend", "sdist", tmp_path / "dist")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "unpacked", **({"filter": "data"} if sys.version_info >= (3, 12) else {}))
    source = next((tmp_path / "unpacked").iterdir())
    names = zipfile.ZipFile(build(source, "wheel", tmp_path / "second")).namelist()
    assert f"mimseg/{MODEL_FILE}" in names


def test_both_copies_of_the_licence_are_the_same() -> None:
    assert (ROOT / "LICENSE").read_bytes() == (ROOT / "backend" / "LICENSE").read_bytes()
