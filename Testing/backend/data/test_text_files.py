"""Label files as people's programs on Windows write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mimseg.data.labels.regions import read_regions
from mimseg.data.labels.structures import read_labels
from mimseg.errors import UserError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_label_files_are_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    text = '[{"value": 1, "name": "Größe", "values": [1, 2]}]'
    (tmp_path / "labels.json").write_text(text, encoding=encoding)
    assert [label.name for label in read_labels(tmp_path / "labels.json")] == ["Größe"]
    assert read_regions(tmp_path / "labels.json") == ((1, 2),)


@pytest.mark.parametrize("content", [b"\x00\x01\x02\xff" * 40, b"", b"[{", b"\xff\xfe\x00"])
def test_what_is_no_label_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.json").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_labels(tmp_path / "labels.json")
    assert caught.value.code == "bad-labels"
    assert "labels.json" in caught.value.message
