"""Models as zip files, and refusing whatever could harm."""

from __future__ import annotations

import json
import re
import stat
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from archive_files import Entries, assert_refused, pack, with_hashes
from bundle_files import make_bundle_of_bytes, onnx_bytes, safetensors_bytes, shared_bundle
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings

from mimseg.bundle import archive
from mimseg.bundle.archive import export_zip, import_model
from mimseg.bundle.documents import write_hashes
from mimseg.bundle.reader import open_bundle
from mimseg.errors import UserError

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for the user's models."""
    folder = tmp_path / "user" / "models"
    folder.mkdir(parents=True)
    monkeypatch.setenv("MIMSEG_MODELS", str(folder))
    return folder


@pytest.fixture
def entries(tmp_path: Path) -> Entries:
    """The files of a good model."""
    folder = make_bundle_of_bytes(tmp_path / "source")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_model_survives_export_and_import(tmp_path: Path, models: Path) -> None:
    folder = make_bundle_of_bytes(tmp_path / "Äpfel und Birnen")
    first = export_zip(folder, tmp_path)
    assert first.name == "test-model-1.2.3.zip"
    imported = import_model(first)
    assert imported.path == models / "test-model"
    assert imported.identity == open_bundle(folder).identity
    assert export_zip(imported.path, tmp_path / "new" / "again.ZIP").read_bytes() == first.read_bytes()
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_can_be_imported_too(tmp_path: Path, models: Path) -> None:
    folder = make_bundle_of_bytes(tmp_path / "anything")
    assert import_model(folder).path == models / "test-model"
    assert open_bundle(folder)


def test_a_zip_opens_without_being_imported(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(models.parent))
    bundle = open_bundle(export_zip(make_bundle_of_bytes(tmp_path / "model"), tmp_path))
    assert bundle.onnx_path.is_file()
    assert bundle.path.parent == models.parent
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK")
    before = set(models.parent.iterdir())
    with pytest.raises(UserError):
        open_bundle(broken)
    assert set(models.parent.iterdir()) == before


def test_a_name_that_is_taken_stays_unless_told_otherwise(tmp_path: Path, models: Path) -> None:
    import_model(make_bundle_of_bytes(tmp_path / "one", version="1.0.0"))
    newer = make_bundle_of_bytes(tmp_path / "two", version="2.0.0")
    with pytest.raises(UserError) as fault:
        import_model(newer)
    assert fault.value.code == "model-exists"
    assert open_bundle(models / "test-model").description.version == "1.0.0"
    assert import_model(newer, replace=True).description.version == "2.0.0"
    assert [path.name for path in models.iterdir()] == ["test-model"]


def test_an_export_replaces_an_export_and_no_other_file(tmp_path: Path) -> None:
    model = make_bundle_of_bytes(tmp_path / "tiny")
    target = tmp_path / "tiny.zip"
    export_zip(model, target)
    first = target.read_bytes()
    assert export_zip(model, target).read_bytes() == first
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("holiday.jpg", b"sea")
    for content in (target.read_bytes(), b"no zip at all"):
        target.write_bytes(content)
        with pytest.raises(UserError, match="no exported model"):
            export_zip(model, target)
        assert target.read_bytes() == content


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    folder = make_bundle_of_bytes(tmp_path / "model")
    with pytest.raises(UserError, match="zip"):
        export_zip(folder, tmp_path / "model.tar")
    (folder / "LICENSE").write_text("changed")
    with pytest.raises(UserError) as fault:
        export_zip(folder, tmp_path / "model.zip")
    assert fault.value.code == "model-damaged"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "name",
    [
        "../evil.json",
        "configs/../../evil.json",
        "/etc/evil.json",
        "//server/share/evil.json",
        "C:/evil.json",
        "C:evil.json",
        "..\\evil.json",
        "docs\\..\\..\\evil.md",
        "docs//x.md",
        "./x.md",
        "docs/x.md\x00.png",
        "docs/x.md:stream",
        "docs/\n.md",
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, models: Path, entries: Entries, name: str) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as file:
        for good, content in entries.items():
            file.writestr(good, content)
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name
        file.writestr(entry, b"x")
    assert_refused(path, models)


def test_links_and_devices_are_refused(tmp_path: Path, models: Path, entries: Entries) -> None:
    for number, kind in enumerate((stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR)):
        path = pack(tmp_path / f"{number}.zip", entries)
        with zipfile.ZipFile(path, "a") as file:
            entry = zipfile.ZipInfo("docs/link.md")
            entry.external_attr = (kind | 0o777) << 16
            file.writestr(entry, "/etc/passwd")
        assert_refused(path, models)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["segmentation.json", "Segmentation.JSON", "docs/readme.MD"])
def test_names_that_occur_twice_are_refused(tmp_path: Path, models: Path, entries: Entries, name: str) -> None:
    path = pack(tmp_path / "model.zip", entries)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, b"{}")
    assert_refused(path, models)


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path, models: Path, entries: Entries) -> None:
    bomb = {**entries, "docs/bomb.txt": bytes(20_000_000)}
    assert "docs/bomb.txt" in assert_refused(pack(tmp_path / "model.zip", bomb), models).message


def test_a_bomb_is_refused_by_its_total_size(
    tmp_path: Path, models: Path, entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LARGEST_UNPACKED", sum(map(len, entries.values())) - 1)
    assert_refused(pack(tmp_path / "model.zip", entries), models)


def test_a_bomb_is_refused_by_its_number_of_files(tmp_path: Path, models: Path, entries: Entries) -> None:
    many = {**entries, **{f"docs/{number}.txt": b"x" for number in range(archive.MOST_FILES)}}
    assert_refused(pack(tmp_path / "model.zip", many), models)


def test_an_entry_larger_than_it_says_is_refused(tmp_path: Path, models: Path, entries: Entries) -> None:
    path = pack(tmp_path / "model.zip", {**entries, "docs/a.txt": bytes(5000)})
    content = path.read_bytes()
    size = (5000).to_bytes(4, "little")
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (50).to_bytes(4, "little")))
    assert_refused(path, models, "bad-archive")


@pytest.mark.parametrize(
    "name",
    [
        "configs/run.py",
        "scripts/__init__.py",
        "models/other.pt",
        "models/model.pkl",
        "models/model.pth",
        "models/model.ts",
        "models/model.bin",
        "model.exe",
        "docs/page.html",
        "docs/sub/x.md",
        "configs/inference.yaml",
        "configs/logging.conf",
    ],
)
def test_unknown_kinds_of_files_are_refused(tmp_path: Path, models: Path, entries: Entries, name: str) -> None:
    assert_refused(pack(tmp_path / "model.zip", with_hashes(tmp_path, {**entries, name: b"x"})), models)


def test_a_folder_with_unknown_kinds_of_files_is_refused(tmp_path: Path, models: Path) -> None:
    folder = make_bundle_of_bytes(tmp_path / "model")
    (folder / "hook.py").write_text("raise SystemExit")
    write_hashes(folder)
    assert_refused(folder, models)


def test_an_encrypted_entry_is_refused(tmp_path: Path, models: Path, entries: Entries) -> None:
    path = pack(tmp_path / "model.zip", {"docs/a.txt": b"x", **entries})
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    assert_refused(path, models)


@pytest.mark.parametrize("name", ["models/model.safetensors", "segmentation.json", "docs/README.md"])
def test_a_changed_file_is_refused(tmp_path: Path, models: Path, entries: Entries, name: str) -> None:
    changed = {**entries, name: entries[name] + b" "}
    assert_refused(pack(tmp_path / "model.zip", changed), models, "model-damaged")


def test_a_zip_that_is_no_model_is_refused(tmp_path: Path, models: Path, entries: Entries) -> None:
    assert_refused(pack(tmp_path / "photos.zip", {"docs/a.png": b"x"}), models, "not-a-model")
    assert_refused(pack(tmp_path / "empty.zip", {}), models, "not-a-model")
    good = pack(tmp_path / "good.zip", entries).read_bytes()
    for number, content in enumerate((b"", b"PK\x03\x04", b"no zip", good[: len(good) // 2])):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(content)
        assert_refused(path, models, "bad-archive")


def test_a_foreign_monai_bundle_is_refused_and_its_configuration_not_run(tmp_path: Path, models: Path) -> None:
    mark = tmp_path / "was-run"
    evil = json.dumps({"imports": [f"$open({str(mark)!r}, 'w')"], "run": [f"$open({str(mark)!r}, 'w')"]}).encode()
    bundle = {"configs/metadata.json": b"{}", "configs/inference.json": evil, "models/model.pt": b"x"}
    assert_refused(pack(tmp_path / "spleen.zip", bundle, "spleen_ct_segmentation/"), models, "not-a-model")
    assert not mark.exists()


def test_the_configuration_of_a_foreign_model_is_replaced(tmp_path: Path, models: Path, entries: Entries) -> None:
    mark = tmp_path / "was-run"
    evil = json.dumps({"imports": [f"$open({str(mark)!r}, 'w')"]}).encode()
    harmful = {**entries, "configs/inference.json": evil, "configs/metadata.json": evil, "configs/train.json": evil}
    bundle = import_model(pack(tmp_path / "model.zip", with_hashes(tmp_path, harmful), "top/"))
    configs = {path.name: path.read_bytes() for path in (bundle.path / "configs").iterdir()}
    assert configs == {name: entries[f"configs/{name}"] for name in ("inference.json", "metadata.json")}
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("models/model.onnx", onnx_bytes("model.safetensors", sizes=(1, 3, 32, 24, 16)), "input .*32, 24, 16"),
        ("models/model.onnx", onnx_bytes("model.safetensors", sizes=(2, 3, 16, 24, 16)), "input .*2, 16, 24, 16"),
        ("models/model.onnx", onnx_bytes("model.safetensors", sizes=(1, 4, 16, 24, 16)), "output .*4, 16, 24, 16"),
        ("models/model.onnx", onnx_bytes("model.safetensors", first=0), "does not hold w"),
        ("models/model.onnx", onnx_bytes("model.safetensors", name="v.safetensors"), "does not hold v"),
        ("models/model.safetensors", safetensors_bytes({"w": np.ones(2, np.float32)}), "does not hold w"),
        ("models/model.safetensors", safetensors_bytes({"w": np.ones((3, 2), np.float16)}), "does not hold w"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(
    tmp_path: Path, models: Path, entries: Entries, name: str, content: bytes, fault: str
) -> None:
    packed = pack(tmp_path / "model.zip", with_hashes(tmp_path, {**entries, name: content}))
    assert re.search(fault, assert_refused(packed, models, "bad-model").message)


def test_the_models_that_come_with_mimseg_agree_with_themselves(models: Path) -> None:
    for folder in sorted((REPOSITORY / "Resources" / "Models").glob("*/")):
        assert import_model(folder).description.name == folder.name


@pytest.mark.train
def test_a_real_model_passes_all_checks(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, models: Path) -> None:
    pytest.importorskip("torch")
    bundle = shared_bundle(tmp_path_factory.mktemp("model"))
    imported = import_model(export_zip(bundle.path, tmp_path))
    assert imported.identity == bundle.identity


@hypothesis_settings(max_examples=60, deadline=None)
@given(strategies.data())
def test_no_damage_to_a_zip_ends_in_anything_but_a_clear_refusal(data: strategies.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIMSEG_MODELS", f"{folder}/models")
        path = export_zip(make_bundle_of_bytes(Path(folder) / "model"), Path(folder))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(strategies.integers(1, 4))):
            content[data.draw(strategies.integers(0, len(content) - 1))] = data.draw(strategies.integers(0, 255))
        path.write_bytes(content[: data.draw(strategies.integers(len(content) // 2, len(content)))])
        try:
            import_model(path)
        except UserError:
            assert not list(Path(folder, "models").glob("*"))
