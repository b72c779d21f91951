"""The module `qt`: classes by name; what is not listed raises."""

from __future__ import annotations

from typing import Any

from harness.pythonqt.api import SPECS
from harness.pythonqt.signals import DeclaredSignal as Signal  # noqa: F401 - qt.Signal


class Slot:
    """`qt.Slot`: a decorator that changes nothing here."""

    __module__ = "PythonQt.QtCore"

    def __init__(self, *types: Any) -> None:
        self._types = types

    def __call__(self, function: Any) -> Any:
        return function


def qVersion() -> str:
    """Return Qt's version."""
    from PySide6 import QtCore

    return QtCore.qVersion()


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name not in SPECS or SPECS[name].module != "qt":
        raise AttributeError(f"module 'qt' has no attribute '{name}'")
    from harness.pythonqt.wrapping import class_for

    return class_for(name)
