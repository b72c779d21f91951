"""`run.py test` installs the system libraries that Qt needs, or says which are missing."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def qt(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    module = importlib.import_module("requirements.qt_libraries")
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    return module


class Computer:
    """An environment whose computer lacks libraries until apt-get installs them."""

    def __init__(self, *missing: str) -> None:
        self.missing = list(missing)
        self.commands: list[list[str]] = []

    def output(self, _: list[str]) -> str:
        return "\n".join(self.missing)

    def apt(self, command: list[str], **_: object) -> None:
        self.commands.append(command)
        if "install" in command:
            self.missing.clear()


def test_a_user_without_rights_is_told_the_libraries_and_the_command(
    qt: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qt.os, "geteuid", lambda: 1000, raising=False)
    text = qt.provide_qt_libraries(Computer("libEGL.so.1", "libxkbcommon.so.0"))
    assert "libEGL.so.1, libxkbcommon.so.0" in text
    assert "sudo apt install libegl1 libxkbcommon0" in text


def test_root_installs_only_what_is_missing(qt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    computer = Computer("libEGL.so.1")
    monkeypatch.setattr(qt.os, "geteuid", lambda: 0, raising=False)
    monkeypatch.setattr(qt.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(qt.subprocess, "run", computer.apt)
    assert qt.provide_qt_libraries(computer) == ""
    assert computer.commands[-1] == ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", "libegl1"]


def test_nothing_happens_where_nothing_is_missing(qt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    computer = Computer()
    monkeypatch.setattr(qt.subprocess, "run", computer.apt)
    assert qt.provide_qt_libraries(computer) == ""
    assert computer.commands == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for Linux libraries")
def test_libraries_are_found_by_loading_them(qt: ModuleType) -> None:
    command = [sys.executable, "-c", qt.TRY_LIBRARIES, "libc.so.6", "libno-such-thing.so.9"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["libno-such-thing.so.9"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux libraries")
def test_every_library_that_the_qt_wheel_needs_is_in_the_list(qt: ModuleType) -> None:
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
    assert outside <= set(qt.QT_LIBRARIES)
