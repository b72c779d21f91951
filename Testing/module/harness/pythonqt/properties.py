"""Properties of Qt objects as attributes."""

from __future__ import annotations

import inspect
from typing import Any

from harness.errors import NotOffered
from harness.pythonqt.calling import Unfit, property_value
from harness.pythonqt.enums import is_enum_value
from harness.pythonqt.natives import alive
from PySide6 import QtCore

# PySide makes its enums when they are first named; a property whose enum nobody has named yet cannot be read.
for _enum in dir(QtCore.Qt):
    getattr(QtCore.Qt, _enum)


def is_method_too(cls: type, name: str) -> bool:
    """Say whether PySide has a method beside the signal of the same name, as QProcess.error."""
    native = inspect.getattr_static(cls._native, name, None)
    own = getattr(cls._native, "ownSignals", {})
    if name in own.values() or any(signature.startswith(name + "(") for signature in own):
        return False
    return native is not None and not isinstance(native, QtCore.Signal)


def read_property(wrapper: Any, name: str) -> Any:
    """Return a property's value.

    Raises:
        ValueError: the object is destroyed.
        NotOffered: Qt 6 or this harness has no such property.
    """
    from harness.pythonqt.wrapping import wrap

    if not alive(wrapper):
        kind = type(wrapper).__name__
        raise ValueError(f"Trying to read property '{name}' from a destroyed {kind} object")
    if wrapper._qt.metaObject().indexOfProperty(name) < 0:
        raise NotOffered(f"{wrapper._spec.name}.{name}")
    value = wrap(wrapper._qt.property(name))
    return int(value) if is_enum_value(value) else value


def write_property(wrapper: Any, name: str, value: Any) -> None:
    """Set a property.

    Raises:
        AttributeError: it is read only, or the value does not fit.
        ValueError: the object is destroyed.
    """
    kind = wrapper._spec.properties[name]
    cls = type(wrapper).__name__
    if not alive(wrapper):
        raise ValueError(f"Trying to set property '{name}' on a destroyed {cls} object")
    index = wrapper._qt.metaObject().indexOfProperty(name)
    if kind.endswith("(read only)"):
        raise AttributeError(f"Property '{name}' of {cls} object is not writable")
    if index < 0:
        raise NotOffered(f"{wrapper._spec.name}.{name}")
    try:
        converted = property_value(value, kind)
    except Unfit:
        converted = Unfit
    if converted is Unfit or not wrapper._qt.setProperty(name, converted):
        raise AttributeError(
            f"Property '{name}' of type '{kind}' does not accept an object of type {type(value).__name__} ({value!r})"
        )
