"""Which widget goes with which type of field, and what the connection does to the widget, as in Slicer."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from harness.program.parameter_fields import Choice, Decimals, Field, SingleStep


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
