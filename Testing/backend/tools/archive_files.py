"""Models as entries of a zip file, changed by hand, and what importing one must not do."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from mimseg.bundle.archive import import_model
from mimseg.bundle.documents import write_hashes
from mimseg.errors import UserError

Entries = dict[str, bytes]


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


def checkpoint_bytes(pickled: bytes, extra: Entries | None = None) -> bytes:
    """The zip that torch.save writes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, content in {"a/data.pkl": pickled, "a/version": b"3\n", "a/data/0": b"xx", **(extra or {})}.items():
            file.writestr(name, content)
    return stream.getvalue()


HARMLESS = b"\x80\x02}q\x00."
