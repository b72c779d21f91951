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
from harness import signals
from harness.api import SPECS, Spec
from harness.calling import Unfit, choose, is_wrapper, property_value, signatures
from harness.enums import enum_type, is_enum_value, wrap_enum
from harness.errors import NotOffered
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

# Written in this harness instead of PySide: class name -> class or {attribute: function}.
IMPLEMENTATIONS: dict[str, type] = {}
EXTRA_METHODS: dict[str, dict[str, Any]] = {}
SPELLINGS = {"exec_": "exec", "raise": "raise_"}  # PythonQt's -> PySide's
ALIASES = {"exec_": "exec", "raise_": "raise", "print_": "print"}  # also there when the second is

_classes: dict[str, type] = {}
_wrappers: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def implementation(name: str) -> type:
    """Return the PySide class, or this harness's, behind a class of Slicer's Python."""
    if name in IMPLEMENTATIONS:
        return IMPLEMENTATIONS[name]
    for module in (QtWidgets, QtGui, QtCore, QtUiTools):
        if hasattr(module, name):
            return getattr(module, name)
    raise NotOffered(name)


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
    known = _wrappers.get(key)
    if known is not None and known._qt is value:
        return known
    wrapper = object.__new__(class_of(value))
    adopt(wrapper, value)
    return wrapper


def adopt(wrapper: Any, native: Any) -> None:
    """Make a wrapper stand for a PySide object."""
    object.__setattr__(wrapper, "_qt", native)
    key = shiboken6.getCppPointer(native)[0] if isinstance(native, QtCore.QObject) else id(native)
    _wrappers[key] = wrapper


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


class builtin_qt_slot:
    """A method of a Qt object or class."""

    __module__ = "builtins"

    def __init__(self, owner: Any, cls: type, name: str) -> None:
        self._owner, self._cls, self._name = owner, cls, name

    def __repr__(self) -> str:
        if self._owner is None:
            return f"<unbound qt slot {self._name} of {self._cls.__name__} type>"
        return f"<qt slot {self._name} of {self._cls.__name__} instance at {id(self._owner):#x}>"

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, builtin_qt_slot) and self._name == other._name
        return same and self._owner is other._owner and self._cls is other._cls

    def __hash__(self) -> int:
        return hash((id(self._owner), self._cls, self._name))

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if keywords:
            raise ValueError(
                f"Called {self._name}(...) with keyword arguments, but called slot does not support kwargs."
            )
        name = self._name
        extra = extra_method(self._cls, name)
        if extra is not None:
            return extra(*((self._owner,) if self._owner is not None else ()), *arguments)
        native_class = self._cls._native
        if self._owner is not None and not alive(self._owner):
            raise ValueError(f"Trying to call '{name}' on a destroyed {self._cls.__name__} object")
        function = getattr(native_class, SPELLINGS.get(name, name))
        if self._owner is not None:
            target = getattr(self._owner._qt, SPELLINGS.get(name, name))
            return wrap(call(target, function, arguments, name))
        if isinstance(inspect.getattr_static(native_class, SPELLINGS.get(name, name)), staticmethod):
            return wrap(call(function, function, arguments, name))
        if arguments and is_wrapper(arguments[0]) and isinstance(arguments[0]._qt, native_class):
            return wrap(call(native_base_method(arguments[0]._qt, function), function, arguments[1:], name))
        raise ValueError(f"Called {self._cls.__name__}.{name} without an object: {arguments!r}")


def native_base_method(native: Any, function: Any) -> Any:
    """Return a base class's method bound to an object, for `qt.QWidget.resizeEvent(self, event)`."""
    return lambda *arguments: function(native, *arguments)


def call(target: Any, described: Any, arguments: tuple, name: str) -> Any:
    """Call PySide with converted arguments.

    Raises:
        ValueError: the arguments fit no overload.
    """
    overloads = signatures(described)
    chosen = choose(overloads, arguments, bound=True) if overloads else [unwrap(value) for value in arguments]
    if chosen is None:
        available = "\n".join(f"{name}{overload}" for overload in overloads)
        if len(overloads) == 1:
            counted = len(arguments) in (len(overloads[0].parameters) - 1, len(overloads[0].parameters))
            problem = "wrong arguments" if counted else "wrong number of arguments"
            raise ValueError(f"Called {available} with {problem}: {arguments!r}")
        raise ValueError(
            f"Could not find matching overload for given arguments:\n{arguments!r}\n"
            f" The following slots are available:\n{available}\n"
        )
    try:
        return target(*chosen)
    except TypeError as error:
        raise ValueError(f"Called {name} with wrong arguments: {arguments!r} ({error})") from error


def extra_method(cls: type, name: str) -> Any:
    """Return a method that this harness gives a class itself."""
    for one in (cls._spec.name, *(base.__name__ for base in cls._native.__mro__)):
        if name in EXTRA_METHODS.get(one, {}):
            return EXTRA_METHODS[one][name]
    return None


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


def is_python_subclass(cls: type) -> bool:
    """Say whether a class is written in Python on top of a wrapped one."""
    return "_spec" not in cls.__dict__


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
