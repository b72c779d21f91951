"""`slicer.app`, the main window and what else belongs to a running Slicer."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.errors import NotOffered
from harness.program.file_io import qSlicerIOManager
from harness.program.modules import qSlicerModuleManager
from harness.pythonqt import wrapping
from harness.pythonqt.natives import IMPLEMENTATIONS
from harness.widgets.mrml_widgets import qMRMLWidget
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

TEMPORARY = tempfile.TemporaryDirectory(prefix="Slicer-harness-")


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The panel of a scripted module."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.entered = False
        self.python: Any = None
        QtWidgets.QVBoxLayout(self)

    def self(self) -> Any:
        """Return the Python side."""
        return self.python

    def reload(self) -> None:
        """Build the panel anew from the module that is loaded now; `enter` is not called."""
        import slicer

        name = self.python.moduleName
        widget = getattr(sys.modules[name], name + "Widget")(self.python.parent)
        self.python = widget
        setattr(slicer.modules, name + "Widget", widget)
        widget.setup()

    isEntered = Property(bool, lambda self: self.entered)


class qSlicerApplication(QtWidgets.QApplication):
    """The application, in testing mode."""

    startupCompleted = Signal()

    def __init__(self, arguments: list[str]) -> None:
        super().__init__(arguments)
        self._modules = qSlicerModuleManager(self)
        self._io = qSlicerIOManager()
        self._layouts = qSlicerLayoutManager()
        self.logic: Any = None
        self.startup_environment = dict(os.environ)

    def testingEnabled(self) -> bool:
        """Say that message boxes do not wait."""
        return True

    def mrmlScene(self) -> Any:
        """Return the scene."""
        import slicer

        return slicer.mrmlScene

    def applicationLogic(self) -> Any:
        """Return the application's logic."""
        return self.logic

    def coreIOManager(self) -> qSlicerIOManager:
        """Return what reads and writes files."""
        return self._io

    ioManager = coreIOManager

    def layoutManager(self) -> qSlicerLayoutManager:
        """Return the stand-in for the views."""
        return self._layouts

    def moduleManager(self) -> qSlicerModuleManager:
        """Return the list of modules."""
        return self._modules

    def settings(self) -> QtCore.QSettings:
        """Return the settings, in a temporary file."""
        return QtCore.QSettings()

    userSettings = settings

    def startupEnvironment(self) -> Any:
        """Return the environment in which the application was started."""
        return StartupEnvironment(self.startup_environment)

    def pauseRender(self) -> None:
        """Do nothing: there are no views."""

    resumeRender = pauseRender

    def moduleDocumentationUrl(self, name: str) -> str:
        """Return a page's address."""
        return f"https://slicer.readthedocs.io/en/latest/user_guide/modules/{name.lower()}.html"

    documentationBaseUrl = Property(str, lambda self: "https://slicer.readthedocs.io/en/latest/")
    majorVersion = Property(int, lambda self: 5)
    minorVersion = Property(int, lambda self: 13)
    os = Property(str, lambda self: "linux")
    platform = Property(str, lambda self: "linux-amd64")
    revision = Property(str, lambda self: "34908")
    slicerHome = Property(str, lambda self: TEMPORARY.name)
    temporaryPath = Property(str, lambda self: TEMPORARY.name)
    isInstalled = Property(bool, lambda self: False)


class StartupEnvironment:
    """The part of QProcessEnvironment that slicer.util.startupEnvironment uses."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables

    def keys(self) -> tuple:
        """Return the names."""
        return tuple(self._variables)

    def value(self, name: str) -> str:
        """Return one value."""
        return self._variables[name]


class qSlicerLayoutManager:
    """Views do not exist here: a layout can be set and read, nothing is drawn."""

    __slots__ = ("layout",)

    def __init__(self) -> None:
        self.layout = 0

    def __repr__(self) -> str:
        return f"qSlicerLayoutManager (qSlicerLayoutManager at: {id(self):#x})"

    def setLayout(self, layout: int) -> None:
        """Set the layout's number."""
        self.layout = int(layout)

    def sliceViewNames(self) -> tuple:
        """Return the names of the slice views."""
        return ("Red", "Green", "Yellow")

    def resetSliceViews(self) -> None:
        """Do nothing."""

    def resetThreeDViews(self) -> None:
        """Do nothing."""


class qSlicerModuleSelectorToolBar(QtWidgets.QWidget):
    """Where the user chooses a module."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._selected = "Welcome"

    def selectModule(self, name: str) -> None:
        """Leave one module and enter another."""
        import slicer

        if name.lower() not in vars(slicer.modules):
            raise NotOffered(f"the module {name}")
        if name == self._selected:
            return
        before = getattr(slicer.modules, self._selected + "Widget", None)
        if before is not None:
            before.parent._qt.entered = False
            before.exit()
        self._selected = name
        after = getattr(slicer.modules, name + "Widget", None)
        if after is not None:
            after.parent._qt.entered = True
            after.enter()

    selectedModule = Property(str, lambda self: self._selected)


class qSlicerAppMainWindow(QtWidgets.QMainWindow):
    """The main window, never shown."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self._selector = qSlicerModuleSelectorToolBar(self)
        self._selector.setObjectName("ModuleSelectorToolBar")

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        """Return the module selector."""
        return self._selector


def start() -> Any:
    """Make the application, its settings and its main window; return the wrapped application."""
    folder = Path(TEMPORARY.name)
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, str(folder))
    for one in (
        qSlicerApplication,
        qSlicerAppMainWindow,
        qSlicerModuleSelectorToolBar,
        qSlicerModuleManager,
        qSlicerScriptedLoadableModuleWidget,
    ):
        IMPLEMENTATIONS[one.__name__] = one
    native = qSlicerApplication(["Slicer", "--testing"])
    native.setApplicationName("Slicer")
    native.setApplicationVersion("5.13.0-2026-08-21")
    native.setOrganizationName("slicer.org")
    native.setStyle("Fusion")
    native.setQuitOnLastWindowClosed(False)
    application = wrapping.wrap(native)
    window = qSlicerAppMainWindow()
    native.main_window = window
    return application
