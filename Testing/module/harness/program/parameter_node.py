"""`slicer.parameterNodeWrapper`: typed fields of a parameter node, bound to widgets; the part the module uses.

Written anew from Slicer's behaviour. Which widget goes with which type, and what each connection does to the widget
(a spin box gets the range of its field, or all integers), is Slicer's. Types and widgets that are missing raise.
"""

from __future__ import annotations

import typing
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import slicer
import vtk
from harness.errors import NotOffered
from harness.program.parameter_connectors import Connector, connector
from harness.program.parameter_fields import Choice, Decimals, Default, Field, Maximum, Minimum, SingleStep, WithinRange

__all__ = [
    "Choice",
    "Decimals",
    "Default",
    "Maximum",
    "Minimum",
    "SingleStep",
    "WithinRange",
    "parameterNodeWrapper",
]


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
        # As in Slicer, values are read again only when the node says that it was modified: a reference to a node that
        # was not there when it was read stays None.
        self._values = {name: field.read(parameterNode) for name, field in self.allParameters.items()}
        reference = weakref.ref(self)
        tag = parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: reread(reference()))
        weakref.finalize(self, parameterNode.RemoveObserver, tag)

    def getValue(self, name: str) -> Any:
        """Return a field's value by name."""
        self._check(name)
        return self._values[name]

    def setValue(self, name: str, value: Any) -> None:
        """Set a field by name."""
        self._check(name)
        with slicer.util.NodeModify(self.parameterNode):
            self.allParameters[name].write(self.parameterNode, value)
            self._values[name] = self.allParameters[name].read(self.parameterNode)

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
        """Unbind what connectParametersToGui bound; as in Slicer, its observer of the node stays."""
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


def reread(wrapped: Any) -> None:
    """Read all fields from the node."""
    if wrapped is not None:
        wrapped._values = {name: field.read(wrapped.parameterNode) for name, field in wrapped.allParameters.items()}


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
