"""Models as zip files, and refusing whatever could harm."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import stat
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_files import make_bundle_of_bytes, onnx_bytes, safetensors_bytes, shared_bundle
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings

from mimseg.bundle import archive
from mimseg.bundle.archive import export_zip, import_model
from mimseg.bundle.documents import write_hashes
from mimseg.bundle.foreign_files import check_checkpoint, check_onnx, check_safetensors
from mimseg.bundle.reader import open_bundle
from mimseg.errors import UserError

Entries = dict[str, bytes]


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


def pack(path: Path, entries: Entries, top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(top + name, content)
    return path


def with_hashes(tmp_path: Path, entries: Entries) -> Entries:
    """The entries with a `sha256.json` that fits them, as an attacker would write it."""
    folder = tmp_path / "hashing"
    for name, content in entries.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "sha256.json").unlink(missing_ok=True)
    write_hashes(folder)
    return {**entries, "sha256.json": (folder / "sha256.json").read_bytes()}


def assert_refused(path: Path, models: Path, code: str = "unsafe-archive") -> UserError:
    """Import fails with that code, and nothing is left anywhere."""
    around = set(models.parent.parent.rglob("*"))
    with pytest.raises(UserError) as fault:
        import_model(path)
    assert fault.value.code == code, fault.value.message
    assert fault.value.hint
    assert list(models.iterdir()) == []
    assert set(models.parent.parent.rglob("*")) == around
    return fault.value


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


class Harmful:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def checkpoint_bytes(pickled: bytes, extra: Entries | None = None) -> bytes:
    """The zip that torch.save writes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in {"a/data.pkl": pickled, "a/version": b"3\n", "a/data/0": b"xx", **(extra or {})}.items():
            file.writestr(name, content)
    return stream.getvalue()


HARMLESS = b"\x80\x02}q\x00."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_with_code_is_refused_and_not_run(
    tmp_path: Path, models: Path, entries: Entries, protocol: int
) -> None:
    mark = tmp_path / "was-run"
    harmful = pickle.dumps({"weight": Harmful(mark)}, protocol)
    for number, content in enumerate((harmful, checkpoint_bytes(harmful))):
        packed = with_hashes(tmp_path, {**entries, "models/model.pt": content})
        assert_refused(pack(tmp_path / f"{number}.zip", packed), models, "unsafe-model")
    assert not mark.exists()


@pytest.mark.parametrize(
    "content",
    [
        checkpoint_bytes(b"cos\nsystem\n(S'true'\ntR."),
        checkpoint_bytes(b"\x80\x02ctorch.hub\nload\n."),
        checkpoint_bytes(b"\x80\x02ctorch\nHalfStorageX\n."),
        checkpoint_bytes(b"\x80\x02ctorch\nload\n."),
        checkpoint_bytes(b"\x80\x04\x8c\x02os\x8c\x06system\x93."),
        checkpoint_bytes(b"\x80\x02}b."),
        checkpoint_bytes(b"\x80\x02}q\x00"),
        checkpoint_bytes(b"\xff\xff"),
        checkpoint_bytes(b""),
        checkpoint_bytes(HARMLESS + b"cos\nsystem\n."),
        checkpoint_bytes(HARMLESS, {"b/data.pkl": HARMLESS}),
        checkpoint_bytes(HARMLESS, {"a/code/x.py": b""}),
        checkpoint_bytes(HARMLESS, {"a/constants.pkl": HARMLESS}),
        HARMLESS,
        HARMLESS + checkpoint_bytes(HARMLESS),
    ],
)
def test_a_checkpoint_of_more_than_tensors_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(UserError) as fault:
        check_checkpoint(path)
    assert fault.value.code == "unsafe-model"


def test_a_checkpoint_of_tensors_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(checkpoint_bytes(HARMLESS))
    check_checkpoint(path)


@pytest.mark.train
def test_checkpoints_that_torch_writes_are_taken_if_they_hold_tensors_only(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    kinds = (torch.float16, torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
    torch.save({f"layer{n}.weight": torch.ones(300, n + 1).to(kind) for n, kind in enumerate(kinds)}, path)
    check_checkpoint(path)
    for other in (torch.nn.Linear(2, 2), {"a": torch.nn.Parameter(torch.ones(2))}, {"device": torch.device("cpu")}):
        torch.save(other, path)
        with pytest.raises(UserError):
            check_checkpoint(path)
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError):
        check_checkpoint(path)


@pytest.mark.train
def test_a_real_model_passes_all_checks(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, models: Path) -> None:
    pytest.importorskip("torch")
    bundle = shared_bundle(tmp_path_factory.mktemp("model"))
    imported = import_model(export_zip(bundle.path, tmp_path))
    assert imported.identity == bundle.identity


def header(entry: Any, data: bytes = b"") -> bytes:
    text = json.dumps(entry).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (10**12).to_bytes(8, "little") + b"{}",
        header([]),
        header({}),
        header({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}, b"xxx"),
        header({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}, b"xxxxx"),
        header({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 2]}}, b"xx"),
        header({"a": {"dtype": "F16", "shape": [-2], "data_offsets": [0, -4]}}),
        header({"a": {"dtype": "OBJ", "shape": [2], "data_offsets": [0, 4]}}, b"xxxx"),
        header({"a": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}, b"xxx"),
        header({"a": {"dtype": "U8", "shape": [2]}}, b"xx"),
        header({n: {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]} for n in "ab"}, b"xx"),
    ],
)
def test_damaged_safetensors_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError):
        check_safetensors(path)
    path.write_bytes(safetensors_bytes({"a": np.ones(3, np.float32), "b": np.ones((2, 2), np.float16)}))
    check_safetensors(path)


@pytest.mark.parametrize("location", ["../model.safetensors", "/etc/passwd", "other.bin", "sub/model.safetensors"])
def test_a_network_that_reads_other_files_is_refused(tmp_path: Path, location: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes(location))
    with pytest.raises(UserError, match="another file"):
        check_onnx(path, "model.safetensors")


def test_a_network_of_foreign_operators_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_bytes("model.safetensors"))
    check_onnx(path, "model.safetensors")
    for content in (onnx_bytes("model.safetensors", "com.example"), b"", b"\xff" * 20, b"\x3a\x7fshort"):
        path.write_bytes(content)
        with pytest.raises(UserError):
            check_onnx(path, "model.safetensors")


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


CHECKS = {
    "model.pt": (check_checkpoint, checkpoint_bytes(HARMLESS)),
    "model.safetensors": (check_safetensors, safetensors_bytes({"a": np.ones(3, np.float32)})),
    "model.onnx": (lambda path: check_onnx(path, "model.safetensors"), onnx_bytes("model.safetensors")),
}


@hypothesis_settings(max_examples=200, deadline=None)
@given(strategies.data(), strategies.sampled_from(sorted(CHECKS)))
def test_no_damage_to_a_file_ends_in_anything_but_a_clear_refusal(data: strategies.DataObject, name: str) -> None:
    check, good = CHECKS[name]
    content = bytearray(good)
    for _ in range(data.draw(strategies.integers(1, 4))):
        content[data.draw(strategies.integers(0, len(content) - 1))] = data.draw(strategies.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content[: data.draw(strategies.integers(0, len(content)))])
        with contextlib.suppress(UserError):
            check(path)
