"""`run.py test` installs the system libraries that Qt needs, or says which are missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    specification = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    return module


class Computer:
    """An environment whose computer lacks libraries until apt-get installs them."""

    def __init__(self, *missing: str) -> None:
        self.missing = list(missing)
        self.commands: list[list[str]] = []

    def missing_libraries(self) -> list[str]:
        return list(self.missing)

    def apt(self, command: list[str], **_: object) -> None:
        self.commands.append(command)
        if "install" in command:
            self.missing.clear()


def test_a_user_without_rights_is_told_the_libraries_and_the_command(
    run: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run.os, "geteuid", lambda: 1000, raising=False)
    text = run.provide_qt_libraries(Computer("libEGL.so.1", "libxkbcommon.so.0"))
    assert "libEGL.so.1, libxkbcommon.so.0" in text
    assert "sudo apt install libegl1 libxkbcommon0" in text


def test_root_installs_only_what_is_missing(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    computer = Computer("libEGL.so.1")
    monkeypatch.setattr(run.os, "geteuid", lambda: 0, raising=False)
    monkeypatch.setattr(run.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(run.subprocess, "run", computer.apt)
    assert run.provide_qt_libraries(computer) == ""
    assert computer.commands[-1] == ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", "libegl1"]


def test_nothing_happens_where_nothing_is_missing(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    computer = Computer()
    monkeypatch.setattr(run.subprocess, "run", computer.apt)
    assert run.provide_qt_libraries(computer) == ""
    assert computer.commands == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for Linux libraries")
def test_libraries_are_found_by_loading_them(run: ModuleType) -> None:
    command = [sys.executable, "-c", run.TRY_LIBRARIES, "libc.so.6", "libno-such-thing.so.9"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["libno-such-thing.so.9"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux libraries")
def test_every_library_that_the_qt_wheel_needs_is_in_the_list(run: ModuleType) -> None:
    pyside = pytest.importorskip("PySide6", exc_type=ImportError)
    import shutil

    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    library = Path(pyside.__file__).parent / "Qt" / "lib"
    needed = set()
    for name in ("libQt6Core.so.6", "libQt6Gui.so.6", "libQt6Widgets.so.6", "libQt6UiTools.so.6", "libQt6DBus.so.6"):
        lines = subprocess.run(["objdump", "-p", library / name], capture_output=True, text=True, check=True).stdout
        needed |= {line.split()[1] for line in lines.splitlines() if "NEEDED" in line}
    # The C library's own, the compiler's, zlib and glib's second library come with every system or with the others.
    basic = ("libc.", "libm.", "libdl.", "libpthread.", "librt.", "ld-linux", "libgcc_s", "libstdc++", "libz.")
    outside = {name for name in needed if not name.startswith((*basic, "libQt6", "libicu", "libgthread-2.0"))}
    assert outside <= set(run.QT_LIBRARIES)
