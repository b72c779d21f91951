"""The typed fields of a parameter node: their annotations, and how values are stored as text or references."""

from __future__ import annotations

import enum
import pathlib
import types
import typing
from dataclasses import dataclass
from typing import Any

import slicer
from harness.errors import NotOffered


@dataclass
class Default:
    """The value of a field that was never set."""

    value: Any


@dataclass
class WithinRange:
    """A number between two bounds."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        """Refuse values outside."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within the range [{self.minimum}, {self.maximum}], got {value}")


@dataclass
class Minimum:
    """A number not below a bound."""

    minimum: float

    def validate(self, value: Any) -> None:
        """Refuse values below."""
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, got {value}")


@dataclass
class Maximum:
    """A number not above a bound."""

    maximum: float

    def validate(self, value: Any) -> None:
        """Refuse values above."""
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, got {value}")


@dataclass
class Choice:
    """One of several values."""

    choices: list

    def validate(self, value: Any) -> None:
        """Refuse other values."""
        if value not in self.choices:
            raise ValueError(f"Value must be one of {self.choices}, got {value}")


@dataclass
class Decimals:
    """The digits that a spin box shows."""

    value: int


@dataclass
class SingleStep:
    """The step of a spin box."""

    value: float


class Field:
    """One typed field: how its value is stored as text or as a node reference."""

    def __init__(self, name: str, declared: Any, default: Any) -> None:
        self.name = name
        self.type, self.annotations = split(declared)
        given = next((each.value for each in self.annotations if isinstance(each, Default)), None)
        self.default = default if default is not None else given
        self.is_node = isinstance(self.type, type) and issubclass(self.type, slicer.vtkMRMLNode)
        is_enum = isinstance(self.type, type) and issubclass(self.type, enum.Enum)
        if not (self.is_node or is_enum or self.type in (bool, int, float, str) or self.is_path()):
            raise Exception(f"Unable to create serializer for type: {self.type}")
        if self.default is None and not self.is_node:
            self.default = next(iter(self.type)) if is_enum else self.type()

    def is_path(self) -> bool:
        """Say whether the field is a path."""
        return isinstance(self.type, type) and issubclass(self.type, pathlib.PurePath)

    def write(self, node: Any, value: Any) -> None:
        """Store a value.

        Raises:
            TypeError: the value has another type.
            ValueError: the value is None, or a limit is broken.
        """
        if value is None and not self.is_node:
            raise ValueError("Value must not be None")
        wanted = (int, float) if self.type is float else self.type
        if value is not None and not isinstance(value, wanted):
            raise TypeError(f"Value of type '{type(value)}' is not an instance of {wanted}")
        for each in self.annotations:
            if hasattr(each, "validate"):
                each.validate(value)
        if self.is_node:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(self.name, value.name if isinstance(value, enum.Enum) else str(value))

    def read(self, node: Any) -> Any:
        """Return the stored value."""
        if not node.HasParameter(self.name):
            self.write(node, self.default)
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        if self.type is bool:
            return text == "True"
        return self.type[text] if issubclass(self.type, enum.Enum) else self.type(text)


def split(declared: Any) -> tuple[Any, list]:
    """Return a type without `Annotated` and `Optional`, and the annotations."""
    annotations: list = []
    if typing.get_origin(declared) is typing.Annotated:
        declared, *annotations = typing.get_args(declared)
    if typing.get_origin(declared) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(declared) if option is not types.NoneType]
        if len(options) != 1:
            raise NotOffered(f"a parameter of the type {declared}")
        declared = options[0]
    return declared, annotations
