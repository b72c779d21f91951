"""What PythonQt and Slicer add to Qt's own classes, and what must not happen in a test."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import shiboken6
from harness.errors import guarded
from harness.pythonqt import natives, signals, wrapping
from harness.pythonqt.calling import is_wrapper
from PySide6 import QtCore, QtUiTools, QtWidgets

DIALOG_SECONDS = 10


def connect(*arguments: Any) -> bool:
    """Connect: (sender, signal, callable) or (sender, signal, receiver, slot)."""
    if len(arguments) == 3 and is_wrapper(arguments[0]) and callable(arguments[2]) and not is_wrapper(arguments[2]):
        return signals.connect(*arguments)
    if len(arguments) in (4, 5) and is_wrapper(arguments[2]):
        sender, signal, receiver, slot = arguments[:4]
        return signals.connect(sender, signal, named_slot(receiver, slot))
    if len(arguments) == 3 and is_wrapper(arguments[0]) and not is_wrapper(arguments[2]):
        return signals.connect(*arguments)
    raise ValueError(f"Could not find matching overload for given arguments:\n{arguments[1:]!r}\n")


def disconnect(*arguments: Any) -> bool:
    """Disconnect: (sender, signal), (sender, signal, callable) or (sender, signal, receiver, slot)."""
    if len(arguments) == 4:
        sender, signal, receiver, slot = arguments
        return signals.disconnect(sender, signal, named_slot(receiver, slot))
    if len(arguments) not in (2, 3):
        raise ValueError(f"Could not find matching overload for given arguments:\n{arguments[1:]!r}\n")
    return signals.disconnect(*arguments)


class NamedSlot:
    """A slot named by its signature; takes as many arguments as the signature has."""

    def __init__(self, receiver: Any, signature: str) -> None:
        self.method = getattr(receiver, signature.partition("(")[0])
        inside = signature.partition("(")[2].rstrip(")")
        self.count = len([part for part in inside.split(",") if part.strip()])

    def __call__(self, *arguments: Any) -> None:
        self.method(*arguments[: self.count])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NamedSlot) and self.method == other.method

    def __hash__(self) -> int:
        return hash(self.method)


def named_slot(receiver: Any, signature: str) -> NamedSlot:
    """Return a receiver's slot by its signature."""
    return NamedSlot(receiver, signature)


def find_children(parent: Any, kind: Any = "QObject", name: str = "") -> tuple:
    """Return all descendants of a class, by class or by its name."""
    wanted = kind if isinstance(kind, str) else kind._spec.name
    found = []
    waiting = list(reversed(parent._qt.children()))
    while waiting:
        child = waiting.pop()
        waiting += reversed(child.children())
        if child.inherits(wanted) and name in ("", child.objectName()):
            found.append(wrapping.wrap(child))
    return tuple(found)


def find_child(parent: Any, kind: Any = "QObject", name: str = "") -> Any:
    """Return the first descendant of a class and name, or None."""
    return next(iter(find_children(parent, kind, name)), None)


def children(parent: Any) -> tuple:
    """Return the children of the classes that are offered; Qt's internal ones are left out."""
    found = []
    for child in parent._qt.children():
        try:
            found.append(wrapping.wrap(child))
        except AttributeError:
            continue
    return tuple(found)


def delete(wrapper: Any) -> None:
    """Destroy the C++ object."""
    shiboken6.delete(wrapper._qt)


def delete_later(wrapper: Any) -> None:
    """Delete the object soon, but not while a dialog runs: there Slicer's outer event loop has to wait."""
    _doomed.append(wrapper._qt)
    QtCore.QTimer.singleShot(50, delete_doomed)


def delete_doomed() -> None:
    """Delete what was to be deleted later."""
    if _dialogs:
        QtCore.QTimer.singleShot(50, delete_doomed)
        return
    while _doomed:
        native = _doomed.pop()
        if shiboken6.isValid(native):
            shiboken6.delete(native)


_doomed: list[QtCore.QObject] = []
_dialogs: list[Any] = []


def class_name(wrapper: Any) -> str:
    """Return the C++ class."""
    native = wrapper._qt
    if isinstance(native, QtCore.QObject) and type(wrapper).__name__ == wrapper._spec.name:
        return native.metaObject().className()
    return type(wrapper).__name__


def execute(wrapper: Any) -> int:
    """Run a dialog that something closes; one that waits for a user fails."""
    waited = []

    def give_up() -> None:
        waited.append(True)
        wrapper._qt.done(0)

    timer = QtCore.QTimer()
    timer.setSingleShot(True)
    timer.timeout.connect(give_up)
    timer.start(DIALOG_SECONDS * 1000)
    _dialogs.append(wrapper)
    try:
        result = wrapper._qt.exec()
    finally:
        _dialogs.pop()
    timer.stop()
    if waited:
        raise RuntimeError(f"a dialog waited {DIALOG_SECONDS} s for a user: {wrapper._qt.windowTitle()!r}")
    return int(result)


def start_detached(program: str, arguments: Any = (), folder: str = "") -> bool:
    """Start a program that goes on alone."""
    return bool(QtCore.QProcess.startDetached(program, list(arguments), folder)[0])


def waits(name: str) -> Any:
    """Return a static function that would wait for a user: a test must patch it."""

    def refuse(*arguments: Any) -> Any:
        raise RuntimeError(f"{name}{arguments!r} would wait for a user; patch it in the test")

    return refuse


def single_shot(msec: Any, receiverOrCallable: Any, member: str | None = None) -> None:
    """Call something later (Slicer's own replacement of QTimer.singleShot)."""
    if isinstance(msec, (str, bytes)) or not isinstance(msec, (int, float)):
        raise ValueError(f"Could not find matching overload for given arguments:\n({msec!r},)\n")
    slot = named_slot(receiverOrCallable, member) if member is not None else receiverOrCallable
    if msec < 0:
        return
    timer = QtCore.QTimer()
    timer.setSingleShot(True)
    _waiting.append(timer)

    def fire() -> None:
        _waiting.remove(timer)
        guarded(slot)

    timer.timeout.connect(fire)
    timer.start(int(msec))


_waiting: list[QtCore.QTimer] = []


def load_ui(loader: Any, file: Any) -> Any:
    """Build the widgets of a .ui file; None when it cannot be read."""
    text = file._qt.readAll().data().decode("utf-8")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        print(f"Designer: {error}", file=sys.stderr)
        return None
    wires = take_connections(root)
    put_numbers_for_path_filters(root)
    native = QtUiTools.QUiLoader()
    for name, implementation in natives.IMPLEMENTATIONS.items():
        if re.match("ctk|qMRML", name):
            native.registerCustomWidget(implementation)
    buffer = QtCore.QBuffer()
    buffer.setData(ElementTree.tostring(root))
    buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
    try:
        made = native.load(buffer)
    except RuntimeError:
        return None
    by_name = {child.objectName(): child for child in [made, *made.findChildren(QtCore.QObject)]}
    for wire in wires:
        sender, receiver = (wrapping.wrap(by_name[wire[end]]) for end in ("sender", "receiver"))
        if not connect(sender, wire["signal"], receiver, wire["slot"]):
            raise RuntimeError(f"the .ui file connects {wire['signal']}, which {sender._spec.name} has not")
    for child in made.findChildren(QtWidgets.QWidget):
        if isinstance(child, natives.implementation("ctkCollapsibleButton")):
            child.hideContents()
        if child.toolTip() and not child.toolTip().startswith("<"):
            child.setToolTip(f"<p>{child.toolTip()}</p>")  # recorded: Slicer's tool tips are rich text
    return wrapping.wrap(made)


def take_connections(root: ElementTree.Element) -> list[dict]:
    """Remove the connections of a .ui file, some of which Qt alone cannot make, and return them."""
    connections = root.find("connections")
    if connections is None:
        return []
    root.remove(connections)
    return [{part.tag: part.text for part in each} for each in connections]


def put_numbers_for_path_filters(root: ElementTree.Element) -> None:
    """Replace ctkPathLineEdit's flags by their number, since Qt alone does not know them."""
    flags = natives.implementation("ctkPathLineEdit").Filters
    for each in root.iter("set"):
        if (each.text or "").startswith("ctkPathLineEdit::"):
            value = sum(int(flags[part.split("::")[1]]) for part in (each.text or "").split("|"))
            each.tag, each.text = "number", str(value)


METHODS: dict[str, dict[str, Any]] = {
    "QObject": {
        "connect": connect,
        "disconnect": disconnect,
        "findChildren": find_children,
        "findChild": find_child,
        "children": children,
        "delete": delete,
        "deleteLater": delete_later,
        "className": class_name,
        "inherits": lambda wrapper, name: wrapper._qt.inherits(name),
        "setProperty": lambda wrapper, name, value: wrapper._qt.setProperty(name, natives.unwrap(value)),
        "property": lambda wrapper, name: plain(wrapping.wrap(wrapper._qt.property(name))),
    },
    "QProcess": {"startDetached": start_detached},
    "QDialog": {"exec_": execute, "exec": execute},
    "QMessageBox": {
        name: waits(f"qt.QMessageBox.{name}") for name in ("question", "information", "warning", "critical", "about")
    },
    "QFileDialog": {
        name: waits(f"qt.QFileDialog.{name}")
        for name in ("getOpenFileName", "getOpenFileNames", "getSaveFileName", "getExistingDirectory")
    },
    "QInputDialog": {name: waits(f"qt.QInputDialog.{name}") for name in ("getText", "getInt", "getItem", "getDouble")},
    "QDesktopServices": {"openUrl": waits("qt.QDesktopServices.openUrl")},
    "QMenu": {"exec_": waits("qt.QMenu.exec_"), "exec": waits("qt.QMenu.exec")},
    "QUiLoader": {"load": load_ui},
}


def plain(value: Any) -> Any:
    """Return enumerations as plain numbers, as properties are."""
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def apply() -> None:
    """Give the classes their additions."""
    from harness.widgets import ctk_widgets, mrml_widgets, node_selector

    for one in (*ctk_widgets.IMPLEMENTED, *mrml_widgets.IMPLEMENTED, *node_selector.IMPLEMENTED):
        natives.IMPLEMENTATIONS[one.__name__] = one
    natives.EXTRA_METHODS.update(METHODS)
    type.__setattr__(wrapping.class_for("QTimer"), "singleShot", staticmethod(single_shot))
