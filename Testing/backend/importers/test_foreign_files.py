"""Checkpoints, safetensors and networks of others: whatever could harm is refused without being run."""

from __future__ import annotations

import contextlib
import json
import pickle
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_files import HARMLESS, Entries, assert_refused, checkpoint_bytes, pack, with_hashes
from bundle_files import make_bundle_of_bytes, onnx_bytes, safetensors_bytes
from hypothesis import given, strategies
from hypothesis import settings as hypothesis_settings

from mimseg.bundle.foreign_files import check_checkpoint, check_safetensors
from mimseg.bundle.foreign_network import check_onnx
from mimseg.errors import UserError


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


class Harmful:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


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


def test_packed_tensors_are_taken_but_not_a_small_file_that_fills_the_memory(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(20_000).astype(np.float16).tobytes()
    for content, taken in ((noise, True), (bytes(10**6), False)):
        path = tmp_path / "model.pt"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a/data.pkl", HARMLESS)
            file.writestr("a/data/0", content)
        with contextlib.nullcontext() if taken else pytest.raises(UserError, match="tensors-only"):
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
