"""Methods of Qt objects and classes, called as PythonQt calls them."""

from __future__ import annotations

import inspect
from typing import Any

from harness.pythonqt.calling import choose, is_wrapper, signatures
from harness.pythonqt.natives import SPELLINGS, alive, extra_method, unwrap


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
        from harness.pythonqt.wrapping import wrap

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
