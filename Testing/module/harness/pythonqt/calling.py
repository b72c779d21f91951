"""Calling PySide with the arguments that PythonQt would accept, and refusing those that it refuses."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from harness.pythonqt.enums import is_enum_value, value_of
from PySide6 import QtCore, QtGui
from shibokensupport.signature import get_signature

EXACT, CLOSE, CONVERTED, LAX = 0, 1, 2, 10


class Unfit(Exception):
    """The value does not fit the parameter."""


def signatures(function: Callable) -> list[inspect.Signature]:
    """Return the overloads of a PySide or Python callable."""
    found = inspect.signature(function) if isinstance(function, types.FunctionType) else get_signature(function)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def choose(overloads: list[inspect.Signature], arguments: tuple, bound: bool) -> list | None:
    """Return the arguments converted for the overload that fits best, or None."""
    best: tuple[int, list] | None = None
    for signature in overloads:
        parameters = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
        if bound and parameters and parameters[0].name == "self":
            parameters = parameters[1:]
        variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
        needed = [p for p in parameters if p.default is p.empty and p.kind is not inspect.Parameter.VAR_POSITIONAL]
        if len(arguments) < len(needed) or (len(arguments) > len(parameters) and not variadic):
            continue
        try:
            fitted = [
                fit(value, parameters[min(i, len(parameters) - 1)].annotation) for i, value in enumerate(arguments)
            ]
        except Unfit:
            continue
        cost = sum(part[0] for part in fitted)
        if best is None or cost < best[0]:
            best = (cost, [part[1] for part in fitted])
    return None if best is None else best[1]


def fit(value: Any, wanted: Any) -> tuple[int, Any]:
    """Return how far a value is from a parameter's type, and the value converted to it.

    Raises:
        Unfit: PythonQt would refuse the value.
    """
    from harness.pythonqt.natives import unwrap

    if wanted in (Any, object, inspect.Parameter.empty) or isinstance(wanted, (typing.TypeVar, str)):
        return CLOSE, unwrap(value)
    origin = typing.get_origin(wanted)
    if origin in (typing.Union, types.UnionType):
        return fit_union(value, typing.get_args(wanted))
    if origin is not None:
        return fit_container(value, origin, typing.get_args(wanted))
    if wanted is types.NoneType:
        if value is None:
            return EXACT, None
        raise Unfit
    if wanted in SCALARS:
        return SCALARS[wanted](value)
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return fit_enum(value, wanted)
    return fit_object(value, wanted)


def fit_union(value: Any, options: tuple) -> tuple[int, Any]:
    """Return the best fit among several types."""
    fits = []
    for option in options:
        try:
            fits.append(fit(value, option))
        except Unfit:
            continue
    if not fits:
        raise Unfit
    return min(fits, key=lambda part: part[0])


def fit_container(value: Any, origin: Any, inner: tuple) -> tuple[int, Any]:
    """Fit a list, tuple, dictionary or callable."""
    from harness.pythonqt.natives import unwrap

    if origin in (dict, collections.abc.Mapping):
        if isinstance(value, dict):
            return EXACT, unwrap(value)
        raise Unfit
    if origin is collections.abc.Callable:
        if callable(value):
            return EXACT, value
        raise Unfit
    if not isinstance(value, (list, tuple)):
        raise Unfit
    element = inner[0] if inner else Any
    return EXACT, [fit(part, element)[1] for part in value]


def fit_str(value: Any) -> tuple[int, Any]:
    """Fit a QString: everything but Qt objects is converted."""
    if isinstance(value, str):
        return EXACT, value
    if isinstance(value, bytes):
        return CONVERTED, value.decode(errors="replace")
    if is_wrapper(value):
        raise Unfit
    return LAX, str(value)


def fit_bool(value: Any) -> tuple[int, Any]:
    """Fit a bool: everything but Qt objects has a truth value."""
    if isinstance(value, bool):
        return EXACT, value
    if is_wrapper(value):
        raise Unfit
    return LAX, bool(value)


def fit_int(value: Any) -> tuple[int, Any]:
    """Fit an int: numbers only, cut off after the point."""
    if isinstance(value, (bool, int, float)):
        return (EXACT if type(value) is int else CLOSE), int(value)
    raise Unfit


def fit_float(value: Any) -> tuple[int, Any]:
    """Fit a double: numbers only."""
    if isinstance(value, (bool, int, float)):
        return (EXACT if isinstance(value, float) else CLOSE), float(value)
    raise Unfit


def fit_bytes(value: Any) -> tuple[int, Any]:
    """Fit bytes: text is encoded."""
    if isinstance(value, bytes):
        return EXACT, value
    if isinstance(value, str):
        return CONVERTED, value.encode()
    raise Unfit


def fit_byte_array(value: Any) -> tuple[int, Any]:
    """Fit a QByteArray."""
    if is_wrapper(value) and isinstance(value._qt, QtCore.QByteArray):
        return EXACT, value._qt
    cost, data = fit_bytes(value)
    return CLOSE + cost, QtCore.QByteArray(data)


def fit_enum(value: Any, wanted: type) -> tuple[int, Any]:
    """Fit an enumeration: its own values and plain numbers."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit
    own = is_enum_value(value) and type(value)._members is wanted
    try:
        return (EXACT if own else CONVERTED), wanted(int(value))
    except ValueError:
        raise Unfit from None


def fit_object(value: Any, wanted: Any) -> tuple[int, Any]:
    """Fit an instance of a Qt or VTK class."""
    if not isinstance(wanted, type):
        raise Unfit
    inner = value._qt if is_wrapper(value) else value
    if isinstance(inner, wanted):
        return (EXACT if type(inner) is wanted else CLOSE), inner
    if wanted is QtGui.QColor and is_enum_value(value):
        return CONVERTED, QtGui.QColor(QtCore.Qt.GlobalColor(int(value)))
    if wanted is QtGui.QKeySequence and isinstance(value, str):
        return CONVERTED, QtGui.QKeySequence(value)
    if wanted is QtGui.QIcon and isinstance(inner, QtGui.QPixmap):
        return CONVERTED, QtGui.QIcon(inner)
    raise Unfit


def is_wrapper(value: Any) -> bool:
    """Say whether a value stands for a Qt object."""
    return hasattr(type(value), "_spec")


SCALARS: dict[Any, Callable[[Any], tuple[int, Any]]] = {
    str: fit_str,
    bool: fit_bool,
    int: fit_int,
    float: fit_float,
    bytes: fit_bytes,
    bytearray: fit_bytes,
    QtCore.QByteArray: fit_byte_array,
}


def property_value(value: Any, kind: str) -> Any:
    """Return a value converted to a property's recorded type.

    Raises:
        Unfit: Slicer refuses the value.
    """
    from harness.pythonqt.natives import unwrap

    if kind in PROPERTY_TYPES:
        return SCALARS[PROPERTY_TYPES[kind]](value)[1]
    if kind == "QStringList":
        if not isinstance(value, (list, tuple)):
            raise Unfit
        return [fit_str(part)[1] for part in value]
    if isinstance(value, int):
        return int(value)
    return value_of(value) if isinstance(value, enum.Enum) else unwrap(value)


PROPERTY_TYPES = {"QString": str, "bool": bool, "int": int, "double": float, "float": float}
