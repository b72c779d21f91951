"""Qt objects as PythonQt shows them, around PySide6 objects.

Properties are attributes, unknown names raise, nothing new can be set, containers are tuples and enumerations ints.
"""

from __future__ import annotations

import enum
import inspect
import weakref
from dataclasses import replace
from typing import Any

import shiboken6
from harness.errors import NotOffered
from harness.pythonqt import signals
from harness.pythonqt.api import SPECS, Spec
from harness.pythonqt.calling import is_wrapper
from harness.pythonqt.enums import enum_type, wrap_enum
from harness.pythonqt.natives import (
    ALIASES,
    EXTRA_METHODS,
    SPELLINGS,
    WRAPPERS,
    adopt,
    alive,
    describe,
    extra_method,
    implementation,
    is_python_subclass,
    unwrap,
)
from harness.pythonqt.properties import is_method_too, read_property, write_property
from harness.pythonqt.slots import builtin_qt_slot, call
from PySide6 import QtCore

_classes: dict[str, type] = {}


def class_for(name: str) -> type:
    """Return the wrapping class of a recorded or listed class."""
    if name not in _classes:
        spec = SPECS[name]
        body = {"_spec": spec, "_native": implementation(name), "__module__": module_of(name, spec)}
        _classes[name] = PythonQtClassWrapper(name, (PythonQtInstanceWrapper,), body)
    return _classes[name]


def module_of(name: str, spec: Spec) -> str:
    """Return the module that Slicer shows for a class."""
    if spec.module == "qt":
        module = implementation(name).__module__.rpartition(".")[2]
        return "PythonQt." + {"QtWidgets": "QtGui"}.get(module, module)
    if name.startswith("qSlicer"):
        return "PythonQt.private"
    return "PythonQt.CTKWidgets" if spec.module == "ctk" else "PythonQt.qMRMLWidgets"


def class_of(native: Any) -> type:
    """Return the wrapping class for a PySide object: its own, or one of its name with what the nearest offers."""
    for one in type(native).__mro__:
        if one.__name__ in SPECS and one is implementation(one.__name__):
            nearest = class_for(one.__name__)
            name = native.metaObject().className().rpartition(":")[2] if isinstance(native, QtCore.QObject) else None
            if name in (None, one.__name__) or name in SPECS:
                return nearest
            if name not in _classes:
                body = {"_spec": replace(nearest._spec, name=name), "_native": one, "__module__": "PythonQt.private"}
                _classes[name] = PythonQtClassWrapper(name, (PythonQtInstanceWrapper,), body)
            return _classes[name]
    raise NotOffered(f"objects of the class {type(native).__name__}")


def wrap(value: Any) -> Any:
    """Return a PySide value as Slicer's Python would show it."""
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return wrap_enum(value) if isinstance(value, enum.Enum) else value
    if isinstance(value, enum.Enum):
        return wrap_enum(value)
    if isinstance(value, (list, tuple)):
        return tuple(wrap(part) for part in value)
    if isinstance(value, dict):
        return {key: wrap(part) for key, part in value.items()}
    if not isinstance(value, shiboken6.Object):
        return value
    key = shiboken6.getCppPointer(value)[0] if isinstance(value, QtCore.QObject) else id(value)
    known = WRAPPERS.get(key)
    if known is not None and known._qt is value:
        return known
    wrapper = object.__new__(class_of(value))
    adopt(wrapper, value)
    return wrapper


class PythonQtClassWrapper(type):
    """The class of wrapped classes: methods, constants and patching at the class."""

    __module__ = "PythonQt"

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> PythonQtClassWrapper:
        """Make a wrapped class, or a Python subclass of one."""
        cls = super().__new__(mcs, name, bases, body)
        if "_spec" not in body and hasattr(cls, "_spec"):
            cls._overriding = None  # made when the first object is
        return cls

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("_") or "_spec" not in dir(cls):
            raise AttributeError(name)
        spec: Spec = cls._spec
        if name in spec.properties:
            return None
        return cls._member(None, name)

    def _member(cls, owner: Any, name: str) -> Any:
        """Return a method, constant or enumeration."""
        spec: Spec = cls._spec
        if extra_method(cls, name) is not None:
            return builtin_qt_slot(owner, cls, name)
        if not (spec.has(name) or spec.has(ALIASES.get(name, name))) or name.startswith("_"):
            raise AttributeError(f"{spec.name} has no attribute named '{name}'")
        native = getattr(cls._native, SPELLINGS.get(name, name), None)
        if native is None and spec.everything:
            raise AttributeError(f"{spec.name} has no attribute named '{name}'")
        if native is None:
            raise NotOffered(f"{spec.name}.{name}")
        if isinstance(native, type) and issubclass(native, enum.Enum):
            return enum_type(native)
        if isinstance(native, enum.Enum):
            return wrap_enum(native)
        if not callable(native):
            raise NotOffered(f"{spec.name}.{name}")
        return builtin_qt_slot(owner, cls, name)

    def __dir__(cls) -> list[str]:
        spec = getattr(cls, "_spec", None)
        own = list(super().__dir__())
        return own if spec is None else [*own, *spec.attributes, *spec.properties, *spec.signals]


class PythonQtInstanceWrapper(metaclass=PythonQtClassWrapper):
    """A Qt object."""

    __module__ = "PythonQt"

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        cls = type(self)
        if keywords:
            raise ValueError(
                f"Called {cls.__name__}(...) -> {cls.__name__} with keyword arguments,"
                " but called slot does not support kwargs."
            )
        native_class = cls._native
        try:
            native = call(overriding_class(cls, self), native_class, arguments, cls._spec.name)
        except NotImplementedError as error:
            raise ValueError(str(error)) from error
        adopt(self, native)
        if is_python_subclass(cls):
            native._python_wrapper = weakref.ref(self)

    def __getattr__(self, name: str) -> Any:
        if name in ("_qt", "_overriding") or (name.startswith("__") and name.endswith("__")):
            raise AttributeError(name)
        cls = type(self)
        spec: Spec = cls._spec
        name = "objectName" if name == "name" and "objectName" in spec.properties else name
        if name in spec.properties and name not in EXTRA_METHODS.get(spec.name, {}):
            return read_property(self, name)
        if not alive(self):
            if spec.has(name):
                return builtin_qt_slot(self, cls, name)
            raise AttributeError(f"{spec.name} has no attribute named '{name}'")
        if name in spec.signals and not is_method_too(cls, name):
            return signals.BoundSignal(self, name)
        try:
            return cls._member(self, name)
        except AttributeError:
            if isinstance(self._qt, QtCore.QObject) and name.encode() in [
                bytes(each.data()) for each in self._qt.dynamicPropertyNames()
            ]:
                return wrap(self._qt.property(name))
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        cls = type(self)
        spec: Spec = cls._spec
        name = "objectName" if name == "name" and "objectName" in spec.properties else name
        if isinstance(inspect.getattr_static(cls, name, None), staticmethod):
            raise AttributeError(f"Slot '{name}' can not be overwritten on {cls.__name__} object")
        if name in spec.properties:
            write_property(self, name, value)
            return
        if is_python_subclass(cls):
            object.__setattr__(self, name, value)
            return
        if spec.has(name) or name in spec.signals:
            raise AttributeError(f"Slot '{name}' can not be overwritten on {cls.__name__} object")
        if isinstance(self._qt, QtCore.QObject) and self._qt.property(name) is not None:
            self._qt.setProperty(name, unwrap(value))
            return
        raise AttributeError(
            f"'{name}' does not exist on {cls.__name__} and creating new attributes on C++ objects is not allowed"
        )

    def __delattr__(self, name: str) -> None:
        if is_python_subclass(type(self)) and name in self.__dict__:
            object.__delattr__(self, name)
            return
        raise AttributeError(f"Slot '{name}' can not be overwritten on {type(self).__name__} object")

    def __eq__(self, other: object) -> bool:
        if other is None:
            return not alive(self)
        if not is_wrapper(other):
            return bool(self._qt == other) if isinstance(self._qt, QtCore.QByteArray) else False
        if isinstance(self._qt, QtCore.QObject) or isinstance(other._qt, QtCore.QObject):
            return self._qt is other._qt
        return bool(self._qt == other._qt)

    def __hash__(self) -> int:
        return hash(id(self._qt))

    def __bool__(self) -> bool:
        return alive(self)

    def __add__(self, other: Any) -> Any:
        return wrap(self._qt + unwrap(other))

    def __sub__(self, other: Any) -> Any:
        return wrap(self._qt - unwrap(other))

    def __dir__(self) -> list[str]:
        return dir(type(self))

    def __repr__(self) -> str:
        return describe(self)

    def __str__(self) -> str:
        return str(self._qt.data()) if isinstance(self._qt, QtCore.QByteArray) else describe(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle '{type(self).__name__}' object")


def overriding_class(cls: type, wrapper: Any) -> type:
    """Return the PySide class to make: for a Python subclass, one whose virtual methods call the Python ones."""
    native = cls._native
    if not is_python_subclass(cls):
        return native
    if cls.__dict__.get("_overriding") is None:
        body = {}
        for one in reversed(cls.__mro__):
            if isinstance(one, PythonQtClassWrapper) and "_spec" not in one.__dict__:
                for name, member in one.__dict__.items():
                    if inspect.isfunction(member) and cls._spec.has(name) and hasattr(native, name):
                        body[name] = forwarding(name)
        type.__setattr__(cls, "_overriding", type(native)(cls.__name__, (native,), body))
    return cls.__dict__["_overriding"]


def forwarding(name: str) -> Any:
    """Return a PySide method that calls the Python subclass's."""
    from harness.errors import guarded

    def method(native: Any, *arguments: Any) -> Any:
        reference = getattr(native, "_python_wrapper", None)
        wrapper = reference() if reference else None
        if wrapper is None:
            return getattr(super(type(native), native), name)(*arguments)
        return unwrap(guarded(getattr(wrapper, name), *(wrap(value) for value in arguments)))

    return method
