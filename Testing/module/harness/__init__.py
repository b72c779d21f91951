"""A test double of 3D Slicer's Python: `qt`, `ctk` and `slicer` over PySide6 (offscreen) and the slicer-core wheel.

README.md says what it is held to, and its limits. `install()` puts the modules where the module's code finds them.
"""

from __future__ import annotations

import importlib
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import inside_slicer

_app: Any = None


def install() -> None:
    """Make `qt`, `ctk` and `slicer` importable; once for a process, and not inside Slicer, which has its own."""
    global _app
    if _app is not None or inside_slicer.running():
        return
    from harness import ctk, qt
    from harness.errors import keep_uncaught
    from harness.program import parameter_node, scripted_module
    from harness.program.application import start
    from harness.program.dicom import ctkDICOMDatabase
    from harness.program.modules import build_modules, qSlicerScriptedLoadableModule
    from harness.program.subject_hierarchy import observe
    from harness.pythonqt.api import SPECS
    from harness.pythonqt.wrapping import class_for
    from harness.widgets import qt_additions

    sys.modules["qt"], sys.modules["ctk"] = qt, ctk
    import slicer
    import slicer.util  # slicer-core's own, which is Slicer's
    import vtk

    keep_uncaught()
    qt_additions.apply()
    _app = start()
    slicer.app = _app
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    logic = slicer.vtkMRMLApplicationLogic() if not hasattr(slicer, "vtkSlicerApplicationLogic") else None
    logic = logic or slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    _app._qt.logic = logic
    vtk.vtkObject.GlobalWarningDisplayOff()  # some logics look for Slicer's share folder, which the wheel has not
    slicer.modules = build_modules(scene, logic)
    vtk.vtkObject.GlobalWarningDisplayOn()
    observe(scene)
    slicer.dicomDatabase = ctkDICOMDatabase()
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr, i18n.translate = lambda text: text, lambda context, text: text
    for name, module in (
        ("i18n", i18n),
        ("ScriptedLoadableModule", scripted_module),
        ("parameterNodeWrapper", parameter_node),
    ):
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)
    slicer.__path__.append(str(Path(__file__).parent / "slicer"))  # slicer.packaging, once it is imported
    sys.modules["SampleData"] = sample_data()
    for name, spec in SPECS.items():
        if spec.module == "slicer":
            setattr(slicer, name, class_for(name))
    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule


def sample_data() -> types.ModuleType:
    """Return a stand-in for the module SampleData that keeps what is registered."""
    module = types.ModuleType("SampleData")

    class SampleDataLogic:
        """Keeps the registered sources."""

        registered: list[dict] = []  # noqa: RUF012

        @staticmethod
        def registerCustomSampleDataSource(
            category: str = "Custom",
            sampleName: str | None = None,
            uris: Any = None,
            fileNames: Any = None,
            nodeNames: Any = None,
            customDownloader: Any = None,
            thumbnailFileName: str | None = None,
            loadFileTypes: Any = None,
            loadFiles: Any = None,
            loadFileProperties: Any = None,
            checksums: Any = None,
        ) -> None:
            """Register a source: the parameters are Slicer's, which has none for a description."""
            SampleDataLogic.registered.append({name: value for name, value in locals().items() if value is not None})

    module.SampleDataLogic = SampleDataLogic
    return module


def openModule(path: Path | str) -> Any:
    """Load a scripted module's file, build its panel and enter it; return the module's widget object.

    Args:
        path: The module's `.py` file, as `MIMSegment/MIMSegment.py`.
    """
    if inside_slicer.running():
        return inside_slicer.open_module(path)
    import slicer
    from harness.program.modules import qSlicerScriptedLoadableModule
    from harness.program.scripted_module import ModuleParent

    path = Path(path).resolve()
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    python = importlib.import_module(name)
    parent = ModuleParent(name, str(path))
    description = getattr(python, name)(parent)
    setattr(slicer.modules, name + "Instance", description)
    panel = slicer.qSlicerScriptedLoadableModuleWidget()
    panel.setMRMLScene(slicer.mrmlScene)
    panel.objectName = name + "ModuleWidget"
    setattr(slicer.modules, name.lower(), qSlicerScriptedLoadableModule(name, path=str(path), widget=panel))
    widget = getattr(python, name + "Widget")(panel)
    panel._qt.python = widget
    setattr(slicer.modules, name + "Widget", widget)
    widget.setup()
    slicer.util.mainWindow().moduleSelector().selectModule(name)
    return widget


def closeModule(widget: Any) -> None:
    """Leave a module, clean it up and destroy its panel."""
    if inside_slicer.running():
        inside_slicer.close_module(widget)
        return
    import slicer

    name = widget.moduleName
    selector = slicer.util.mainWindow().moduleSelector()
    if selector.selectedModule == name:
        selector.selectModule("Welcome")
    slicer.app.moduleManager()._qt.moduleAboutToBeUnloaded.emit(name)
    for attribute in (name + "Widget", name + "Instance", name.lower()):
        if attribute in vars(slicer.modules):
            delattr(slicer.modules, attribute)
    widget.parent.delete()


def waitUntil(condition: Callable[[], Any], timeout: float = 10.0) -> bool:
    """Run the event loop until a condition holds; False when it does not within the seconds given."""
    if inside_slicer.running():
        return inside_slicer.wait_until(condition, timeout)
    from PySide6 import QtCore

    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        QtCore.QCoreApplication.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 20)
        time.sleep(0.005)
    return True


def screenshot(widget: Any, path: Path | str, width: int | None = None) -> None:
    """Draw a widget into a PNG file, as high as it wants to be."""
    if inside_slicer.running():
        inside_slicer.screenshot(widget, path)
        return
    native = widget._qt
    width = width or max(native.sizeHint().width(), 480)
    native.resize(width, max(native.sizeHint().height(), native.minimumSizeHint().height()))
    native.show()
    waitUntil(lambda: False, 0.1)
    height = native.heightForWidth(width) if native.hasHeightForWidth() else native.sizeHint().height()
    native.resize(width, max(height, native.minimumSizeHint().height()))
    waitUntil(lambda: False, 0.1)
    if not native.grab().save(str(path)):
        raise OSError(f"cannot write {path}")
    native.hide()


def exceptions() -> list[BaseException]:
    """Return the exceptions that slots, timers and observers swallowed; the list may be cleared."""
    from harness.errors import swallowed

    return swallowed
