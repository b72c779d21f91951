"""Signals and connections as PythonQt has them."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import types
import weakref
from collections.abc import Callable
from typing import Any

import shiboken6
from harness.errors import NotOffered, guarded
from PySide6 import QtCore

# Signals of Qt 5 that Qt 6 has no more: the one that replaces it, and the arguments that remain.
REPLACED = {
    ("QSpinBox", "valueChanged(QString)"): ("textChanged(QString)", 1),
    ("QDoubleSpinBox", "valueChanged(QString)"): ("textChanged(QString)", 1),
    ("QComboBox", "currentIndexChanged(QString)"): ("currentTextChanged(QString)", 1),
    ("QComboBox", "activated(QString)"): ("textActivated(QString)", 1),
    ("QProcess", "finished(int)"): ("finished(int,QProcess::ExitStatus)", 1),
    ("QButtonGroup", "buttonClicked(int)"): ("idClicked(int)", 1),
}

# (address of the sender, signature) -> [(callable, the slot that PySide calls)]
_connections: dict[tuple[int, str], list[tuple[Any, Callable]]] = {}


def normalized(signature: str) -> str:
    """Return a signal's signature without spaces."""
    return re.sub(r"\s+", "", signature)


def fitting_arguments(slot: Any, arguments: tuple) -> tuple:
    """Return the arguments that a slot gets: a Python function or method with fewer parameters gets fewer."""
    if not isinstance(slot, (types.FunctionType, types.MethodType)):
        return arguments
    parameters = inspect.signature(slot).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return arguments
    takes = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    return arguments[:takes]


def call_slot(slot: Any, arguments: tuple) -> None:
    """Call a slot with what it takes; an exception in it is printed and kept."""
    guarded(lambda: slot(*fitting_arguments(slot, arguments)))


def connect(sender: Any, signature: str, slot: Any) -> bool:
    """Connect a signal, named with its arguments, to a callable; False when there is no such signal."""
    from harness.pythonqt.wrapping import wrap

    if not isinstance(signature, (str, bytes)):
        raise ValueError(f"Could not find matching overload for given arguments:\n{(signature, slot)!r}\n")
    signature = normalized(signature if isinstance(signature, str) else signature.decode())
    if signature not in sender._spec.signals.get(signature.partition("(")[0], []):
        print(
            f"PythonQt: QObject::connect() signal '{signature}' does not exist on {sender._spec.name}", file=sys.stderr
        )
        return False
    if not callable(slot):
        return True  # recorded: PythonQt accepts it, and fails when the signal comes
    real, count = REPLACED.get((sender._spec.name, signature), (signature, None))

    def forward(*arguments: Any) -> None:
        call_slot(slot, tuple(wrap(value) for value in arguments[:count]))

    # PySide cuts the arguments to what the slot takes, and would give one of `*arguments` none of those with defaults.
    attach(sender._qt, real, forward)
    key = (shiboken6.getCppPointer(sender._qt)[0], signature)
    if key not in _connections:
        _connections[key] = []
        sender._qt.destroyed.connect(functools.partial(_connections.pop, key, None))
    _connections[key].append((slot, functools.partial(detach, real, forward)))
    return True


def attach(qt_object: QtCore.QObject, signature: str, slot: Callable) -> None:
    """Connect in PySide: by signature, or by name where the signal is declared in this harness."""
    own = getattr(type(qt_object), "ownSignals", {}).get(signature)
    if own is not None:
        getattr(qt_object, own).connect(slot)
    elif qt_object.metaObject().indexOfSignal(signature) < 0:  # else PySide would make one up for a Python class
        raise NotOffered(f"the signal {type(qt_object).__name__}.{signature}")
    else:
        QtCore.QObject.connect(qt_object, QtCore.SIGNAL(signature), slot)


def detach(signature: str, slot: Callable, qt_object: QtCore.QObject) -> None:
    """Disconnect in PySide."""
    own = getattr(type(qt_object), "ownSignals", {}).get(signature)
    if own is not None:
        getattr(qt_object, own).disconnect(slot)
    else:
        QtCore.QObject.disconnect(qt_object, QtCore.SIGNAL(signature), slot)


def disconnect(sender: Any, signature: str, slot: Any = None) -> bool:
    """Disconnect one callable, or all of a signal; False when it was not connected."""
    key = (shiboken6.getCppPointer(sender._qt)[0], normalized(signature))
    present = _connections.get(key, [])
    going = [pair for pair in present if slot is None or pair[0] == slot]
    if slot is not None:
        going = going[:1]
    for pair in going:
        present.remove(pair)
        pair[1](sender._qt)
    return bool(going)


class BoundSignal:
    """A signal of one object, as in `button.clicked`."""

    def __init__(self, sender: Any, name: str) -> None:
        self._sender, self._name = sender, name
        self._signatures = sender._spec.signals[name]

    def __repr__(self) -> str:
        return f"<qt signal {self._name} of {type(self._sender).__name__} instance at {id(self._sender):#x}>"

    def connect(self, slot: Any) -> bool:
        """Connect the first recorded overload, with all its arguments."""
        return connect(self._sender, self._signatures[0], slot)

    def disconnect(self, slot: Any = None) -> bool:
        """Disconnect a callable, or everything."""
        if slot is not None:
            return disconnect(self._sender, self._signatures[0], slot)
        results = [disconnect(self._sender, signature) for signature in self._signatures]  # each one
        return any(results)

    def emit(self, *arguments: Any) -> None:
        """Emit the signal; a bool that is left out is False."""
        from harness.pythonqt.natives import unwrap

        signature = self._signatures[0]
        own = getattr(type(self._sender._qt), "ownSignals", {}).get(signature)
        types_text = signature.partition("(")[2].rstrip(")")
        if not arguments and types_text == "bool":
            arguments = (False,)
        native = getattr(self._sender._qt, own or self._name)
        if own is None and types_text:
            native = native[types_text]
        native.emit(*(unwrap(value) for value in arguments))

    __call__ = emit


class DeclaredSignal:
    """`qt.Signal` in a Python class: exists without Qt's connections, so the string form does not find it."""

    def __init__(self, *types_: Any) -> None:
        self._types = types_

    def __set_name__(self, owner: type, name: str) -> None:
        self._attribute = "_signal_" + name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self._attribute not in instance.__dict__:
            instance.__dict__[self._attribute] = PythonSignal(instance, self._attribute.removeprefix("_signal_"))
        return instance.__dict__[self._attribute]


class PythonSignal:
    """The signal of one object of a Python class."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = weakref.ref(owner), name
        self._slots: list[Any] = []

    def __repr__(self) -> str:
        owner = self._owner()
        return f"<qt signal {self._name} of {type(owner).__name__} instance at {id(owner):#x}>"

    def connect(self, slot: Any) -> bool:
        """Add a slot."""
        self._slots.append(slot)
        return True

    def disconnect(self, slot: Any = None) -> bool:
        """Remove a slot, or all."""
        found = [each for each in self._slots if slot is None or each == slot]
        self._slots = [each for each in self._slots if each not in found]
        return bool(found)

    def emit(self, *arguments: Any) -> None:
        """Call every slot."""
        for slot in list(self._slots):
            call_slot(slot, arguments)

    __call__ = emit


for _class in (BoundSignal, DeclaredSignal, PythonSignal):  # the names that Slicer shows
    _class.__name__ = _class.__qualname__ = "Signal"
    _class.__module__ = "QtCore"
