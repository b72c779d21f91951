"""The names with which each recording began, and the classes that it used without showing them."""

from __future__ import annotations

import functools
import gc
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any
from unittest import mock

UNKNOWN_CHILD = """<ui version="4.0"><class>b</class>
<widget class="QWidget" name="b"><widget class="unknownEdit" name="n"/></widget>
<customwidgets><customwidget><class>unknownEdit</class><extends>QLineEdit</extends></customwidget></customwidgets>
</ui>"""
UNKNOWN_TOP = '<ui version="4.0"><class>b</class><widget class="nowhereWidget" name="b"/></ui>'


def starting_names(file: str, recordings: Path, folder: Path) -> dict[str, Any]:
    """Return the names with which a recording began.

    Args:
        file: The recording.
        recordings: The folder of the recordings.
        folder: An empty folder for what it writes.
    """
    import ctk
    import harness
    import numpy as np
    import qt
    import slicer
    import vtk

    log: list = []
    if file == "behaviour-2":
        for name, text in (("bad.ui", UNKNOWN_CHILD), ("bad2.ui", "<ui"), ("bad3.ui", UNKNOWN_TOP)):
            (folder / name).write_text(text)
    if file == "module-life":
        harness.openModule(recordings / "FactsModule" / "FactsModule.py")
        slicer.util.selectModule("Data")
        slicer.modules.FactsModuleWidget.calls.clear()
    modules = (ctk, functools, gc, os, qt, slicer, sys, threading, time, vtk, weakref)
    return {
        **{module.__name__.rpartition(".")[2]: module for module in modules},
        "np": np,
        "log": log,
        "C": functools.partial(Slots, log),
        "c": Slots(log),
        "o": observer(slicer, vtk),
        "pump": lambda milliseconds: harness.waitUntil(lambda: False, milliseconds / 1000),
        "tryp": patched,
        "var": lambda *a: log.append(a),
        **(subclasses(qt) if file == "behaviour-1" else {}),
    }


class Slots:
    """Slots of every shape, which write what they get into the log."""

    def __init__(self, log: list) -> None:
        self.log = log

    def none(self) -> None:
        self.log.append(("none",))

    def one(self, a: Any) -> None:
        self.log.append(("one", a))

    def opt(self, a: Any = None) -> None:
        self.log.append(("opt", a))

    def two(self, a: Any, b: Any) -> None:
        self.log.append(("two", a, b))

    def var(self, *a: Any) -> None:
        self.log.append(("var", *a))

    def boom(self) -> None:
        raise RuntimeError("boom")


Slots.__name__ = "C"  # as the recording shows it


def patched(target: Any, name: str) -> Any:
    """Patch a name and call it, or return why that fails."""
    try:
        with mock.patch.object(target, name, mock.Mock(return_value="patched")):
            return getattr(target, name)()
    except Exception as error:
        return repr(error)


def observer(slicer: Any, vtk: Any) -> Any:
    """Return what keeps the events that it gets."""

    class Observer(slicer.util.VTKObservationMixin):
        def __init__(self) -> None:
            super().__init__()
            self.n: list = []

        def cb(self, caller: Any, event: str) -> None:
            self.n.append((caller.GetClassName(), event))

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def cbn(self, caller: Any, event: str, node: Any) -> None:
            self.n.append((event, node.GetClassName()))

    return Observer()


def subclasses(qt: Any) -> dict[str, Any]:
    """Return Python subclasses of Qt's classes."""

    class W(qt.QWidget):
        """Keeps its events."""

        def __init__(self, *arguments: Any) -> None:
            qt.QWidget.__init__(self, *arguments)
            self.hits: list = []

        def resizeEvent(self, event: Any) -> None:
            self.hits.append(("resize", event.size().width()))

        def closeEvent(self, event: Any) -> None:
            self.hits.append("close")

    class W2(qt.QWidget):
        """Writes to a read-only property."""

        def __init__(self) -> None:
            qt.QWidget.__init__(self)
            self.x = 1

    class W3(qt.QWidget):
        """Sets an attribute before Qt's constructor."""

        def __init__(self) -> None:
            self.before = 1
            qt.QWidget.__init__(self)

    class EF(qt.QObject):
        """Counts the events it filters."""

        def __init__(self) -> None:
            qt.QObject.__init__(self)
            self.seen = 0

        def eventFilter(self, watched: Any, event: Any) -> bool:
            self.seen += 1
            return False

    return {"W": W, "W2": W2, "W3": W3, "EF": EF}
