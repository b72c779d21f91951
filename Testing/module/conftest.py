"""Qt without a screen and a stand-in for Slicer; tests are skipped with the reason where these cannot run."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
MODULE = REPOSITORY / "MIMSegment" / "MIMSegment.py"
for _folder in (HERE, MODULE.parent):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))

import harness  # noqa: E402 - found through the path above
from harness import inside_slicer  # noqa: E402


def why_not() -> str:
    """Return why Slicer's stand-in cannot run here, or nothing."""
    if inside_slicer.running():
        return ""
    try:
        import slicer_core  # noqa: F401
    except ImportError as error:
        return f"slicer-core cannot be imported ({error}): pip install slicer-core"
    try:
        from PySide6 import QtWidgets  # noqa: F401
    except ImportError as error:
        return f"Qt cannot be imported ({error}): pip install PySide6-Essentials, and see `python run.py test`"
    return ""


REASON = why_not()
if not REASON:
    harness.install()


@pytest.fixture(scope="session")
def slicer() -> Any:
    """`slicer`, or a skip with the reason."""
    if REASON:
        pytest.skip(REASON)
    import slicer

    return slicer


@pytest.fixture
def scene(slicer: Any) -> Iterator[Any]:
    """An empty scene; an exception that a slot, timer or observer swallowed fails the test."""
    harness.exceptions().clear()
    slicer.mrmlScene.Clear(0)
    yield slicer.mrmlScene
    slicer.mrmlScene.Clear(0)
    gc.collect()
    swallowed = list(harness.exceptions())
    harness.exceptions().clear()
    assert not swallowed, f"a slot raised: {swallowed!r}"


@pytest.fixture
def volume(slicer: Any, scene: Any) -> Any:
    """A small oblique, anisotropic CT-like volume node."""
    import vtk

    random = np.random.default_rng(3)
    array = random.integers(-200, 400, (18, 20, 22)).astype(np.int16)
    node = slicer.util.addVolumeFromArray(array, name="Scan")
    angle = np.deg2rad(10)
    matrix = vtk.vtkMatrix4x4()
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    directions = rotation @ np.diag([-1.5, -1.25, 2.0])
    for row in range(3):
        for column in range(3):
            matrix.SetElement(row, column, float(directions[row, column]))
        matrix.SetElement(row, 3, float((30.0, 20.0, -10.0)[row]))
    node.SetIJKToRASMatrix(matrix)
    return node


@pytest.fixture
def open_module(slicer: Any, scene: Any) -> Iterator[Callable[[], Any]]:
    """Return what opens the module's panel; it is closed after the test."""
    opened = []

    def make() -> Any:
        opened.append(harness.openModule(MODULE))
        return opened[-1]

    yield make
    for widget in opened:
        harness.closeModule(widget)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for everything, with the tiny model as the only one of the user's."""
    from logic_tools import FOLDER
    from tiny_model import write_tiny_bundle

    path = tmp_path / FOLDER
    (path / "models").mkdir(parents=True)
    (path / "temporary").mkdir()
    write_tiny_bundle(path / "models" / "tiny")
    monkeypatch.setenv("MIMSEG_MODELS", str(path / "models"))
    monkeypatch.setattr("MIMSegmentLib.Process.BackendRun.temporaryParent", lambda: str(path / "temporary"))
    return path


@pytest.fixture
def make_logic(scene: Any, folder: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Any]]:
    """Return what makes a Logic and a Recorder of what it tells; nothing of a run may be left after the test."""
    from logic_tools import Recorder
    from MIMSegmentLib.Logic import Logic

    made = []

    def make(backend: Any = None) -> Any:
        made.append(Logic(scene, backend, str(folder / "data")))
        return made[-1], Recorder(made[-1])

    yield make
    for logic in made:
        logic.shutdown()
        assert not logic.running
    assert os.listdir(folder / "temporary") == []
    faults = [record.getMessage() for record in caplog.get_records("call") if record.levelname == "ERROR"]
    assert not faults, "a function connected to a signal failed"


@pytest.fixture
def logic(make_logic: Callable[..., Any]) -> Any:
    """A Logic with the real backend, and a Recorder."""
    return make_logic()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, slicer: Any, scene: Any, open_module: Callable) -> Any:
    """The module's widget with the real backend; the panel is its attribute."""
    from panel_tools import open_panel

    return open_panel(monkeypatch, tmp_path, open_module)


@pytest.fixture
def panel(opened: Any) -> Any:
    """The panel of `opened`."""
    return opened.panel


@pytest.fixture
def scan(panel: Any, scene: Any) -> Any:
    """An oblique volume, chosen in the panel."""
    from logic_tools import add_volume

    node = add_volume(scene)
    panel.ui.inputVolumeSelector.setCurrentNode(node)
    return node


class ModuleWithoutSlicer(pytest.Module):
    """A test file where Slicer's stand-in cannot run: when it cannot be imported, it is skipped with the reason."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Return the tests that need no Slicer."""
        try:
            return super().collect()
        except self.CollectError:
            pytest.skip(REASON, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Let files that import Slicer's modules be skipped where there is no Slicer."""
    return ModuleWithoutSlicer.from_parent(parent, path=module_path) if REASON else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the module's tests, each with the reason, where Qt or slicer-core cannot run."""
    if not REASON:
        return
    for item in items:
        if HERE in Path(str(item.fspath)).parents and "slicer" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=REASON))
