"""Model bundles: opening them whole or damaged, and finding them by name and by path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_files import describe, make_bundle_of_bytes

from mimseg.bundle.locations import find_bundle, list_bundles, shipped_folder, user_folder
from mimseg.bundle.reader import open_bundle
from mimseg.errors import UserError


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the user's models."""
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


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
        "import mimseg.bundle.archive, mimseg.commands.models.collection; open_bundle(Path(sys.argv[1]));"
        "sys.exit([name for name in ('torch', 'monai', 'onnx', 'safetensors', 'scipy') if name in sys.modules] or 0)"
    )
    source = str(Path(sys.modules["mimseg"].__file__ or "").parents[1])
    environment = {**os.environ, "PYTHONPATH": source}
    result = subprocess.run(
        [sys.executable, "-c", program, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
