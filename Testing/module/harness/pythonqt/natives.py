"""What stands behind the classes and objects of PythonQt: classes and objects of PySide6 or of this harness."""

from __future__ import annotations

import weakref
from typing import Any

import shiboken6
from harness.errors import NotOffered
from harness.pythonqt.calling import is_wrapper
from harness.pythonqt.enums import is_enum_value
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

# Written in this harness instead of PySide: class name -> class or {attribute: function}.
IMPLEMENTATIONS: dict[str, type] = {}
EXTRA_METHODS: dict[str, dict[str, Any]] = {}
SPELLINGS = {"exec_": "exec", "raise": "raise_"}  # PythonQt's -> PySide's
ALIASES = {"exec_": "exec", "raise_": "raise", "print_": "print"}  # also there when the second is
# Address of the C++ object, or of PySide's -> its wrapper.
WRAPPERS: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def implementation(name: str) -> type:
    """Return the PySide class, or this harness's, behind a class of Slicer's Python."""
    if name in IMPLEMENTATIONS:
        return IMPLEMENTATIONS[name]
    for module in (QtWidgets, QtGui, QtCore, QtUiTools):
        if hasattr(module, name):
            return getattr(module, name)
    raise NotOffered(name)


def adopt(wrapper: Any, native: Any) -> None:
    """Make a wrapper stand for a PySide object."""
    object.__setattr__(wrapper, "_qt", native)
    key = shiboken6.getCppPointer(native)[0] if isinstance(native, QtCore.QObject) else id(native)
    WRAPPERS[key] = wrapper


def unwrap(value: Any) -> Any:
    """Return what PySide understands instead of a wrapper."""
    if is_wrapper(value):
        return None if not alive(value) else value._qt
    if is_enum_value(value):
        return int(value)
    if isinstance(value, (list, tuple)):
        return [unwrap(part) for part in value]
    if isinstance(value, dict):
        return {key: unwrap(part) for key, part in value.items()}
    return value


def alive(wrapper: Any) -> bool:
    """Say whether the C++ object still exists."""
    return shiboken6.isValid(wrapper._qt)


def extra_method(cls: type, name: str) -> Any:
    """Return a method that this harness gives a class itself."""
    for one in (cls._spec.name, *(base.__name__ for base in cls._native.__mro__)):
        if name in EXTRA_METHODS.get(one, {}):
            return EXTRA_METHODS[one][name]
    return None


def is_python_subclass(cls: type) -> bool:
    """Say whether a class is written in Python on top of a wrapped one."""
    return "_spec" not in cls.__dict__


def describe(wrapper: Any) -> str:
    """Return the text that Slicer's Python shows for an object."""
    name = wrapper._spec.name
    if not alive(wrapper):
        return f"{name} ({name} at: 0x(nil))"
    native = wrapper._qt
    if isinstance(native, QtWidgets.QWidget):
        named = f', name="{native.objectName()}"' if native.objectName() else ""
        return f"{native.metaObject().className()}({id(native):#x}{named}) "
    inside = name if is_python_subclass(type(wrapper)) else value_text(native)
    return f"{type(wrapper).__name__} ({inside} at: {id(native):#x})"


def value_text(native: Any) -> str:
    """Return how a value type is printed."""
    if isinstance(native, QtCore.QByteArray):
        return native.data().decode(errors="replace") + ","
    if isinstance(native, QtCore.QObject):
        return native.metaObject().className()
    text = repr(native)
    return text[text.find("(") + 1 : -1] + "," if "(" in text else text
