"""The files of a network are read once when a model is renewed or taken in, however often it is opened on the way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from bundle_files import describe, make_bundle, make_bundle_of_bytes

from mimseg.bundle import checked_folder, documents
from mimseg.bundle.archive import export_zip, import_model
from mimseg.bundle.reader import open_bundle
from mimseg.bundle.update import update_description
from mimseg.errors import UserError


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was read to be hashed, by its name."""
    counts: Counter[str] = Counter()
    original = checked_folder.sha256_of

    def count(path: Path) -> str:
        counts[path.name] += 1
        return original(path)

    monkeypatch.setattr(checked_folder, "sha256_of", count)
    monkeypatch.setattr(documents, "sha256_of", count)
    return counts


def test_renewing_and_importing_a_model_hash_its_network_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: Counter[str]
) -> None:
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / "models"))
    folder = make_bundle_of_bytes(tmp_path / "model")
    hashed.clear()
    renewed = update_description(folder, describe(title="Another title"))
    assert hashed["model.onnx"] == hashed["model.safetensors"] == 1
    assert renewed == open_bundle(folder)
    archive = export_zip(folder, tmp_path)
    for source in (folder, archive):
        hashed.clear()
        taken = import_model(source, replace=True)
        assert hashed["model.onnx"] == hashed["model.safetensors"] == 1
        assert taken == open_bundle(taken.path)
    hashed.clear()
    open_bundle(archive)
    assert hashed["model.onnx"] == hashed["model.safetensors"] == 1


@pytest.mark.train
def test_a_written_model_is_hashed_once(tmp_path: Path, hashed: Counter[str]) -> None:
    pytest.importorskip("torch")
    bundle = make_bundle(tmp_path / "model")
    assert set(hashed.values()) == {1}
    assert bundle == open_bundle(tmp_path / "model")


def test_a_damaged_model_is_not_renewed_and_is_named_itself(tmp_path: Path) -> None:
    folder = make_bundle_of_bytes(tmp_path / "model")
    (folder / "models" / "model.onnx").write_bytes(b"other")
    with pytest.raises(UserError, match=r"changed since it was written") as fault:
        update_description(folder, describe())
    assert f"The model {folder} is damaged" in fault.value.message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
