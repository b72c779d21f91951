"""Installing packages by slicer.packaging (3D Slicer 5.12 and newer), and where that is not to be used."""

import os
from pathlib import Path

import pytest
from logic_tools import FOLDER, read_json

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")

from install_tools import SLICER, Computer, package
from MIMSegmentLib.Process.Install import Install


@pytest.fixture
def make_computer(slicer, tmp_path):
    made = []

    def make(packages):
        made.append(Computer(tmp_path / FOLDER, packages))
        return made[-1]

    yield make
    for computer in made:
        computer.install.cancel()


class Packaging:
    """Stands for slicer.packaging."""

    def __init__(self, computer):
        self.computer = computer
        self.calls = []
        self.code = 0

    def pip_install(
        self,
        requirements,
        constraints=None,
        no_deps_requirements=None,
        skip_packages=None,
        blocking=True,
        show_progress=True,
        requester=None,
        parent=None,
        logCallback=None,
        completedCallback=None,
    ):
        import qt

        assert not blocking
        lines = Path(constraints).read_text(encoding="utf-8").split()
        self.calls.append((requirements, lines, requester))
        if isinstance(self.code, Exception):
            raise self.code
        packages = read_json(self.computer.path)["packages"]
        for entry in packages:
            if self.code == 0:
                entry.update(state="works")
        self.computer.set(packages=packages)
        logCallback("Collecting")
        qt.QTimer.singleShot(10, lambda: completedCallback(self.code))


def test_slicers_own_installer_is_used_where_there_is_one(make_computer):
    computer = make_computer([*SLICER, package("openvino", "missing")])
    packaging = Packaging(computer)
    computer.install = Install(computer.backend, packaging=lambda: packaging)
    computer.listen(computer.install)
    computer.install.installForSegmenting()
    assert computer.wait() == ("finished", "segment")
    ((requirements, lines, requester),) = packaging.calls
    assert requirements[-1] == "openvino>=1.0"
    assert "--no-deps" in requirements
    assert "numpy==2.4.6" in lines
    assert requester == "MIMSegment"
    assert ("message", "Collecting") in computer.events
    assert computer.calls == []


@pytest.mark.parametrize("code", [1, RuntimeError("another installation is in progress")])
def test_a_failure_of_slicers_own_installer_is_told(make_computer, code):
    computer = make_computer([*SLICER, package("openvino", "missing")])
    packaging = Packaging(computer)
    packaging.code = code
    computer.install = Install(computer.backend, packaging=lambda: packaging)
    computer.listen(computer.install)
    computer.install.installForSegmenting()
    name, message, hint = computer.wait()
    assert name == "failed"
    assert message
    assert hint


def test_a_python_of_the_users_is_equipped_by_its_own_pip(make_computer):
    computer = make_computer([*SLICER, package("openvino", "missing")])
    packaging = Packaging(computer)
    computer.backend.interpreter = computer.backend.python()
    computer.backend._startupEnvironment = lambda: dict(os.environ)
    computer.install = Install(computer.backend, packaging=lambda: packaging)
    computer.listen(computer.install)
    computer.install.installForSegmenting()
    assert computer.wait() == ("finished", "segment")
    assert packaging.calls == []
    assert len(computer.calls) == 1
