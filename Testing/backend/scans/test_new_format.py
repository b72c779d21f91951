"""A further export format is one file and one line in the table of formats; nothing else knows the formats."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from segment_tools import write_scan
from tiny_model import write_tiny_bundle

from mimseg import formats
from mimseg.cli.main import main
from mimseg.data import writers
from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing

FILE = """
import json
import numpy as np

def write(path, drawn):
    counts = {label.name: int(np.count_nonzero(drawn.labels == label.value)) for label in drawn.table}
    path.write_text(json.dumps({"size": list(drawn.grid.size), "voxels": counts}), encoding="utf-8")
"""
LINE = '    Format(".counts.json", "Voxels of each structure", image=False, labels=False, writer="counts"),\n'


@pytest.fixture
def counts_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table as it is with that line in its source, and the file where writers are looked for."""
    folder = tmp_path / "writers"
    folder.mkdir()
    (folder / "counts.py").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(writers, "__path__", [*writers.__path__, str(folder)])
    source = Path(formats.__file__).read_text(encoding="utf-8")
    before, after = source.split("FORMATS = (\n", 1)
    changed = types.ModuleType(formats.__name__)
    monkeypatch.setitem(sys.modules, "mimseg.formats", changed)
    exec(compile(f"{before}FORMATS = (\n{LINE}{after}", formats.__file__, "exec"), vars(changed))
    for name in ("FORMATS", "IMAGES", "LABELS_READ", "LABELS_WRITTEN"):
        monkeypatch.setattr(formats, name, getattr(changed, name))


@pytest.mark.usefixtures("counts_format")
def test_scans_are_exported_in_a_format_that_was_added(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = write_tiny_bundle(tmp_path / "tiny", Preprocessing("RAS", None, Intensity("window", 0, 100)))
    expected, _ = write_scan(tmp_path / "scan.nrrd")
    given = ["segment", str(tmp_path / "scan.nrrd"), "--model", str(model), "--device", "cpu", "--quiet"]
    assert main([*given, "-o", str(tmp_path / "one.counts.json")]) == 0
    assert main([*given, "-o", str(tmp_path / "many"), "--format", ".counts.json"]) == 0
    content = json.loads((tmp_path / "one.counts.json").read_text(encoding="utf-8"))
    assert content["size"] == list(expected.shape)
    assert sorted(content["voxels"].values()) == sorted(int(np.count_nonzero(expected == value)) for value in (3, 7))
    (file,) = (tmp_path / "many").glob("[!.]*")
    assert file.name == "scan_segmentation.counts.json"
    assert json.loads(file.read_text(encoding="utf-8")) == content
    assert main(["segment", "--help"]) == 0
    assert ".counts.json" in capsys.readouterr().out
