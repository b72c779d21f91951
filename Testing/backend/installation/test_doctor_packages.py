"""What `mimseg doctor` says of packages: working, old, half installed, crashing, hanging; and what mimseg requires."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import mimseg
from mimseg import stopping
from mimseg.computer import packages, probe
from mimseg.computer.packages import Requirement, import_elsewhere, inspect_packages, is_older
from mimseg.computer.speed import Speed, measure_speed
from mimseg.errors import Stopped

SOURCE = Path(mimseg.__file__).parents[1]
BODIES = {
    "fine": "__version__ = '2.0'\nprint('hello from the import')",
    "old": "__version__ = '1.4'",
    "raising": "raise OSError('[WinError 126] a DLL was not found')",
    "crashing": "import os; os.abort()",
    "leaving": "import sys; sys.exit(3)",
    "unfinished": "",
    "unlisted": "__version__ = '3.1'",
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages in every state, on the search path of this process and its children."""
    for name, body in BODIES.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(body)
    (tmp_path / "emptied").mkdir()
    versions = dict.fromkeys((*BODIES, "emptied", "gone"), "2.0") | {"old": "1.4", "unfinished": None}
    for name, version in versions.items():
        if name == "unlisted":
            continue
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}"] + ([f"Version: {version}"] if version else [])
        (folder / "METADATA").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(SOURCE)]))
    return tmp_path


def requirement(name: str, minimum: str = "1.5") -> Requirement:
    return Requirement(name, name, minimum, "train")


def test_packages_that_crash_raise_or_are_half_installed_are_told_apart(site: Path):
    names = ["fine", "crashing", "raising", "leaving", "old", "unfinished", "unlisted", "emptied", "gone", "absent"]
    found = {each.name: each for each in inspect_packages([requirement(name) for name in names])}
    assert {name: each.state for name, each in found.items()} == {
        "fine": "works",
        "crashing": "broken",
        "raising": "broken",
        "leaving": "broken",
        "old": "too old",
        "unfinished": "broken",
        "unlisted": "works",
        "emptied": "broken",
        "gone": "broken",
        "absent": "missing",
    }
    assert found["fine"].version == "2.0"
    assert found["unlisted"].version == "3.1"
    assert "DLL was not found" in found["raising"].fault
    assert "ended the process" in found["crashing"].fault
    assert "files are missing" in found["gone"].fault
    assert "not finished" in found["unfinished"].fault


def test_quick_look_imports_nothing(site: Path):
    found = inspect_packages([requirement("crashing"), requirement("old"), requirement("absent")], try_import=False)
    assert [each.state for each in found] == ["installed", "too old", "missing"]


def test_package_that_hangs_is_given_up_and_the_next_one_is_tried(site: Path):
    (site / "hanging").mkdir()
    (site / "hanging" / "__init__.py").write_text("import time; time.sleep(60)")
    answers = import_elsewhere(["hanging", "fine"], timeout=1.0)
    assert "more than 1 s" in answers["hanging"]["error"]
    assert answers["fine"]["version"] == "2.0"


def test_stop_ends_the_child_and_the_examination(site: Path):
    (site / "hanging").mkdir()
    (site / "hanging" / "__init__.py").write_text("import time; time.sleep(60)")
    stopping.request()
    start = time.monotonic()
    try:
        with pytest.raises(Stopped):
            import_elsewhere(["hanging"])
    finally:
        stopping.clear()
    assert time.monotonic() - start < 5


def test_computer_without_a_usable_python_is_described_all_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages.sys, "executable", "/no/such/python")
    assert import_elsewhere(["numpy"]) == {}
    assert measure_speed() == Speed()


def test_versions_are_compared_by_their_numbers():
    assert is_older("2.7.1", "2.8")
    assert is_older("1.9", "1.26")
    assert not is_older("2.13.0+cpu", "2.8")
    assert not is_older("2.8", "2.8.0")
    assert not is_older("2026.4.1-22982-e213a147257", "2025.4")
    assert not is_older("unknown", "2.8")


def test_a_package_that_only_lacks_another_one_is_not_called_broken(site: Path):
    (site / "monai").mkdir()
    (site / "monai" / "__init__.py").write_text("__version__ = '1.6'\nimport einops_that_is_gone")
    (answer,) = import_elsewhere(["monai"]).values()
    assert "error" in answer
    (site / "monai" / "__init__.py").write_text("raise ImportError(\"from x import y (No module named 'einops').\")")
    (answer,) = import_elsewhere(["monai"]).values()
    assert answer["waits_for"] == "einops"
    (found,) = inspect_packages([Requirement("monai", "monai", "1.5.1", "train")])
    assert found.state == "installed"


def test_monai_is_tried_by_a_computation():
    pytest.importorskip("monai")
    assert probe.compute_monai(None) == {}


def test_openvino_is_tried_by_a_computation():
    class Wrong:
        """OpenVINO whose results are zeros."""

        def __getattr__(self, name: str) -> object:
            return self

        def __call__(self, *arguments: object, **options: object) -> object:
            return self

        def __getitem__(self, number: int) -> object:
            return self

        def tolist(self) -> list[list[float]]:
            return [[0, 0, 0, 0]]

    openvino = pytest.importorskip("openvino")
    assert probe.compute_openvino(openvino) == {}
    assert "wrong" in probe.compute_openvino(Wrong())["error"]
