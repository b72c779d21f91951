"""Enumerations as PythonQt has them: subclasses of int that print as their number."""

from __future__ import annotations

import enum
from typing import Any


class EnumType(type):
    """The class of an enumeration: its values are attributes, as in `qt.Qt.AlignmentFlag.AlignLeft`."""

    def __getattr__(cls, name: str) -> Any:
        members = cls.__dict__.get("_members")
        if members is not None and not name.startswith("_") and name in members.__members__:
            return cls(value_of(members[name]))
        raise AttributeError(f"type object '{cls.__name__}' has no attribute '{name}'")


def number(value: int) -> str:
    """Return how a value prints."""
    return int.__repr__(value)


def is_enum_value(value: Any) -> bool:
    """Say whether a value belongs to a wrapped enumeration."""
    return isinstance(type(value), EnumType)


_TYPES: dict[type, type] = {}


def value_of(member: Any) -> int:
    """Return the number of a PySide enumeration's member or flags."""
    return int(member.value)


def enum_type(members: Any) -> type:
    """Return the int subclass that stands for a PySide enumeration."""
    if members not in _TYPES:
        module = "PythonQt.QtCore" if "QtCore" in members.__module__ else "PythonQt.QtGui"
        body = {"_members": members, "__module__": module, "__repr__": number, "__str__": number}
        _TYPES[members] = EnumType(members.__name__, (int,), body)
    return _TYPES[members]


def wrap_enum(member: enum.Enum) -> Any:
    """Return a PySide enumeration's member as an int subclass."""
    return enum_type(type(member))(value_of(member))
