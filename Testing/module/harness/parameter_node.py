"""`slicer.parameterNodeWrapper`: typed fields of a parameter node, bound to widgets; the part the module uses.

Written anew from Slicer's behaviour. Which widget goes with which type, and what each connection does to the widget
(a spin box gets the range of its field, or all integers), is Slicer's. Types and widgets that are missing raise.
"""

from __future__ import annotations

import enum
import pathlib
import types
import typing
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
import vtk
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


class Connector:
    """A widget and the field it shows."""

    def __init__(self, widget: Any, read: Callable, write: Callable, signal: str) -> None:
        self.widget, self.read, self.write, self.signal = widget, read, write, signal
        self.callback: Callable | None = None

    def changed(self) -> None:
        """The user changed the widget."""
        if self.callback:
            self.callback()

    def listen(self, callback: Callable | None) -> None:
        """Call back on changes, or no more."""
        self.callback = callback
        bound = getattr(self.widget, self.signal)
        if callback is None:
            bound.disconnect(self.changed)
        else:
            bound.connect(self.changed)


def connector(widget: Any, field: Field) -> Connector:
    """Return the connection of a widget with a field, as Slicer pairs them.

    Raises:
        RuntimeError: Slicer has no such pair.
    """
    kind = widget._spec.name if hasattr(widget, "_spec") else type(widget).__name__
    make = None
    if field.is_node:
        make = {"qMRMLNodeComboBox": node_selector}.get(kind)
    elif field.is_path():
        make = {"ctkPathLineEdit": path_edit}.get(kind)
    elif kind == "QComboBox":
        make = combo_box
    else:
        make = PAIRS.get((kind, field.type))
    if make is None or type(widget).__name__ != kind:
        raise RuntimeError(
            f"Unable to create GUI connector from datatype '{field.type}' to widget type '{type(widget)}'"
        )
    return make(widget, field)


def of_property(name: str, signal: str) -> Callable[[Any, Field], Connector]:
    """Return what connects a widget by one of its properties."""

    def make(widget: Any, field: Field) -> Connector:
        return Connector(widget, lambda: getattr(widget, name), lambda value: setattr(widget, name, value), signal)

    return make


def spin_box(widget: Any, field: Field) -> Connector:
    """Connect a number, and give the widget the field's limits."""
    unbounded = (-(2**31), 2**31 - 1) if field.type is int else (float("-inf"), float("inf"))
    low, high = unbounded
    for each in field.annotations:
        low = getattr(each, "minimum", low)
        high = getattr(each, "maximum", high)
        if isinstance(each, Decimals):
            widget.decimals = each.value
        elif isinstance(each, SingleStep):
            widget.singleStep = each.value
    if type(widget).__name__ in ("QSlider", "ctkSliderWidget") and unbounded in ((low, high),):
        raise RuntimeError("Cannot have a connection to ctkSliderWidget where the float types is unbounded.")
    widget.minimum, widget.maximum = low, high
    return of_property("value", "valueChanged")(widget, field)


def checkable_button(widget: Any, field: Field) -> Connector:
    """Connect a push button, which becomes checkable."""
    widget.checkable = True
    return of_property("checked", "toggled")(widget, field)


def combo_box(widget: Any, field: Field) -> Connector:
    """Connect a choice; the list is filled anew."""
    choice = next((each for each in field.annotations if isinstance(each, Choice)), None)
    if isinstance(field.type, type) and issubclass(field.type, enum.Enum):
        label = getattr(field.type, "label", lambda value: value.name)
        values, labels = list(field.type), [label(value) for value in field.type]
    elif choice is not None:
        values, labels = choice.choices, [str(value) for value in choice.choices]
    else:
        raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
    widget.clear()
    for text in labels:
        widget.addItem(text)

    def write(value: Any) -> None:
        widget.currentIndex = values.index(value)

    return Connector(widget, lambda: values[widget.currentIndex], write, "currentIndexChanged")


def text_edit(widget: Any, field: Field) -> Connector:
    """Connect a text of several lines."""
    return Connector(widget, widget.toPlainText, widget.setPlainText, "textChanged")


def path_edit(widget: Any, field: Field) -> Connector:
    """Connect a path."""

    def write(value: Any) -> None:
        widget.currentPath = str(value)

    return Connector(widget, lambda: field.type(widget.currentPath), write, "currentPathChanged")


def node_selector(widget: Any, field: Field) -> Connector:
    """Connect a node; the selector lists the field's type."""
    widget.nodeTypes = [field.type.__name__]
    return Connector(widget, widget.currentNode, widget.setCurrentNode, "currentNodeChanged")


PAIRS: dict[tuple[str, type], Callable[[Any, Field], Connector]] = {
    ("QCheckBox", bool): of_property("checked", "stateChanged"),
    ("QPushButton", bool): checkable_button,
    ("QSpinBox", int): spin_box,
    ("QSlider", int): spin_box,
    ("QDoubleSpinBox", float): spin_box,
    ("ctkSliderWidget", float): spin_box,
    ("QLineEdit", str): of_property("text", "textChanged"),
    ("QTextEdit", str): text_edit,
}


class Wrapped:
    """What every wrapped class has besides its fields."""

    allParameters: dict[str, Field]

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        if prefix:
            raise NotOffered("a parameter node's prefix")
        self.parameterNode = parameterNode
        self._connections: dict[int, dict[str, Connector]] = {}
        self._next_tag = 0
        self._updating = False
        for field in self.allParameters.values():
            if not parameterNode.HasParameter(field.name):
                field.write(parameterNode, field.default)

    def getValue(self, name: str) -> Any:
        """Return a field's value by name."""
        self._check(name)
        return self.allParameters[name].read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        """Set a field by name."""
        self._check(name)
        self.allParameters[name].write(self.parameterNode, value)

    def default(self, name: str) -> Default:
        """Return a field's default."""
        self._check(name)
        return Default(self.allParameters[name].default)

    def _check(self, name: str) -> None:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")

    def connectGui(self, gui: Any) -> None:
        """Bind every widget that has the property SlicerParameterName.

        Returns nothing, as in Slicer (Base/Python/slicer/parameterNodeWrapper/wrapper.py), so that
        `disconnectGui` of what it "returned" unbinds nothing. `connectParametersToGui` returns the tag.
        """
        import qt

        widgets = gui.findChildren(qt.QWidget) if hasattr(gui, "findChildren") else list(vars(gui).values())
        named = {}
        for widget in widgets:
            if hasattr(widget, "property") and widget.property("SlicerParameterName"):
                named[widget.property("SlicerParameterName")] = widget
        self.connectParametersToGui(named)

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Bind fields to widgets."""
        for name in mapping:
            self._check(name)
        made = {name: connector(widget, self.allParameters[name]) for name, widget in mapping.items()}
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._connections[tag] = made
        for name, each in made.items():
            each.write(self.getValue(name))
            each.listen(self._from_widget(name, each))
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._to_widgets())
        return tag

    def _from_widget(self, name: str, each: Connector) -> Callable[[], None]:
        def changed() -> None:
            with slicer.util.NodeModify(self):
                if not self._updating:
                    self.setValue(name, each.read())

        return changed

    def _to_widgets(self) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                self._write_widgets()
        finally:
            self._updating = False

    def _write_widgets(self) -> None:
        for made in self._connections.values():
            for name, each in made.items():
                each.write(self.getValue(name))

    def disconnectGui(self, tag: int | None) -> None:
        """Unbind what connectParametersToGui bound."""
        if tag is None and self._connections:
            warnings.warn(
                "disconnectGui(None) unbinds nothing, and connectGui returns None: bind by connectParametersToGui",
                stacklevel=2,
            )
        for each in self._connections.pop(tag, {}).values():
            each.listen(None)

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        """Observe the node."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        """Observe the node no more."""
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self) -> int:
        """Hold the node's events back."""
        return self.parameterNode.StartModify()

    def EndModify(self, before: int) -> int:
        """Let the node's events go."""
        return self.parameterNode.EndModify(before)

    def Modified(self) -> None:
        """Say that the node changed."""
        self.parameterNode.Modified()


def parameterNodeWrapper(classtype: Any = None) -> Any:
    """Make a class of typed fields one that reads and writes a parameter node."""
    if classtype is None:
        return parameterNodeWrapper
    fields = {}
    for name, declared in typing.get_type_hints(classtype, include_extras=True).items():
        fields[name] = Field(name, declared, classtype.__dict__.get(name))
        setattr(classtype, name, accessor(name))
    reserved = [name for name in vars(Wrapped) if name in classtype.__dict__ and not name.startswith("__")]
    if reserved:
        raise ValueError(f"Cannot use reserved name '{reserved[0]}' in a parameterNodeWrapper")
    for name, member in vars(Wrapped).items():
        if name == "__init__" or not name.startswith("__"):
            setattr(classtype, name, member)
    classtype.allParameters = fields
    return classtype


def accessor(name: str) -> property:
    """Return the property of one field."""
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))
