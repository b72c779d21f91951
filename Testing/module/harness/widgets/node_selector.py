"""The combo boxes that list nodes of a scene."""

from __future__ import annotations

from typing import Any

import shiboken6
import vtk
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal


def stored(name: str) -> Any:
    """Return the getter of a property that is only kept."""
    return lambda self: self._values[name]


def storing(name: str) -> Any:
    """Return the setter of a property after which the list is made anew."""

    def setter(self: Any, value: Any) -> None:
        self._values[name] = list(value) if isinstance(value, (list, tuple)) else value
        self._changed()

    return setter


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A list of the scene's nodes of some types."""

    nodeChanged = Signal(object)
    nodeValid = Signal(bool)
    currentNodeIDChanged = Signal(str)
    nodeAddedSignal = Signal(object)
    nodeAddedByUserSignal = Signal(object)
    nodeRemovedSignal = Signal(object)
    ownSignals = {  # noqa: RUF012
        "currentNodeChanged(vtkMRMLNode*)": "nodeChanged",
        "currentNodeChanged(bool)": "nodeValid",
        "nodeAdded(vtkMRMLNode*)": "nodeAddedSignal",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUserSignal",
        "nodeAboutToBeRemoved(vtkMRMLNode*)": "nodeRemovedSignal",
    }

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {
            "nodeTypes": [],
            "hideChildNodeTypes": [],
            "noneEnabled": False,
            "noneDisplay": "None",
            "addEnabled": True,
            "removeEnabled": True,
            "editEnabled": False,
            "renameEnabled": False,
            "baseName": "",
            "showHidden": False,
            "showChildNodeTypes": True,
            "selectNodeUponCreation": True,
            "interactionNodeSingletonTag": "",
        }
        self._attributes: list[tuple[str, str, str | None]] = []
        self._scene: Any = None
        self._tags: list[tuple[Any, int]] = []
        self._nodes: list[Any] = []
        self._current: Any = None
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox(self)
        layout.addWidget(self._combo)
        self._combo.activated.connect(self._chosen)
        self.destroyed.connect(self._forget_scene)

    def mrmlScene(self) -> Any:
        """Return the scene."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """List the nodes of a scene."""
        if scene is self._scene:
            return
        self._forget_scene()
        self._scene = scene
        if scene is not None:
            import slicer

            events = slicer.vtkMRMLScene
            for event, handler in (
                (events.NodeAddedEvent, self._added),
                (events.NodeAboutToBeRemovedEvent, self._about_to_be_removed),
                (events.NodeRemovedEvent, self._removed),
                (events.EndBatchProcessEvent, self._changed),
                (events.EndCloseEvent, self._changed),
            ):
                handler = self._with_node(handler)
                self._tags.append((scene, scene.AddObserver(event, handler)))
        self._changed()

    def _with_node(self, handler: Any) -> Any:
        @vtk.calldata_type(vtk.VTK_OBJECT)
        def forward(caller: Any, event: str, node: Any = None) -> None:
            if shiboken6.isValid(self):
                handler(node)
            else:
                self._forget_scene()

        return forward

    def _forget_scene(self, *_: Any) -> None:
        for scene, tag in self._tags:
            scene.RemoveObserver(tag)
        self._tags = []
        self._scene = None

    def _listed(self, node: Any) -> bool:
        types = self._values["nodeTypes"]
        exact = not self._values["showChildNodeTypes"]
        fits = any(node.GetClassName() == kind if exact else node.IsA(kind) for kind in types)
        hidden = node.GetHideFromEditors() and not self._values["showHidden"]
        if not fits or hidden or any(node.IsA(kind) for kind in self._values["hideChildNodeTypes"]):
            return False
        for kind, name, value in self._attributes:
            found = node.GetAttribute(name)
            if node.IsA(kind) and (found is None or (value is not None and found != value)):
                return False
        return True

    def _added(self, node: Any) -> None:
        if self._scene is not None and not self._scene.IsBatchProcessing() and self._listed(node):
            self._tags.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._with_node(self._changed))))
            self._changed()
            self.nodeAddedSignal.emit(node)

    def _about_to_be_removed(self, node: Any) -> None:
        if any(node is each for each in self._nodes):
            self.nodeRemovedSignal.emit(node)

    def _removed(self, node: Any) -> None:
        """List the nodes again; as QComboBox does, choose what took the place of a chosen row that is gone."""
        if node is self._current and len(self._nodes) > 1 and not self._scene.IsBatchProcessing():
            place = self._nodes.index(node)
            self._nodes.pop(place)
            self._show(self._nodes[min(place, len(self._nodes) - 1)])
        self._changed()

    def _changed(self, *_: Any) -> None:
        """List the nodes again."""
        before = self._nodes
        all_nodes = []
        if self._scene is not None:
            all_nodes = [self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes())]
        self._nodes = [node for node in all_nodes if self._listed(node)]
        current = self._current if any(self._current is node for node in self._nodes) else None
        # QComboBox chooses the first entry when there was none.
        if current is None and self._nodes and not self._values["noneEnabled"] and (not before or self._current):
            current = self._nodes[0]
        self._show(current)

    def _show(self, current: Any) -> None:
        self._combo.blockSignals(True)
        self._combo.clear()
        if self._values["noneEnabled"]:
            self._combo.addItem(self._values["noneDisplay"])
        self._combo.addItems([node.GetName() or "" for node in self._nodes])
        offset = 1 if self._values["noneEnabled"] else 0
        places = [i for i, node in enumerate(self._nodes) if node is current]
        self._combo.setCurrentIndex(places[0] + offset if places else offset - 1)
        self._combo.blockSignals(False)
        if current is not self._current:
            self._current = current
            self.nodeChanged.emit(current)
            self.nodeValid.emit(current is not None)
            self.currentNodeIDChanged.emit(current.GetID() if current is not None else "")

    def _chosen(self, index: int) -> None:
        index -= 1 if self._values["noneEnabled"] else 0
        self._show(self._nodes[index] if index >= 0 else None)

    def currentNode(self) -> Any:
        """Return the chosen node."""
        return self._current

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node; one that is not listed leaves nothing chosen."""
        self._show(node if any(node is each for each in self._nodes) else None)

    def setCurrentNodeID(self, node_id: str) -> None:
        """Choose a node by its ID."""
        self.setCurrentNode(next((node for node in self._nodes if node.GetID() == node_id), None))

    def setCurrentNodeIndex(self, index: int) -> None:
        """Choose a node by its place."""
        self._show(self._nodes[index] if 0 <= index < len(self._nodes) else None)

    def nodeFromIndex(self, index: int) -> Any:
        """Return the node at a place."""
        return self._nodes[index] if 0 <= index < len(self._nodes) else None

    def nodeCount(self) -> int:
        """Return how many are listed."""
        return len(self._nodes)

    def addNode(self, kind: str | None = None) -> Any:
        """Add a node of the first type to the scene."""
        kind = kind or self._values["nodeTypes"][0]
        name = self._scene.GenerateUniqueName(self._values["baseName"] or kind.removeprefix("vtkMRML"))
        node = self._scene.AddNewNodeByClass(kind, name)
        if self._values["selectNodeUponCreation"]:
            self._show(node)
        self.nodeAddedByUserSignal.emit(node)
        return node

    def removeCurrentNode(self) -> None:
        """Remove the chosen node from the scene."""
        self._scene.RemoveNode(self._current)

    def addAttribute(self, kind: str, name: str, value: str | None = None) -> None:
        """List only nodes with an attribute."""
        self._attributes.append((kind, name, value))
        self._changed()

    nodeTypes = Property("QStringList", stored("nodeTypes"), storing("nodeTypes"))
    hideChildNodeTypes = Property("QStringList", stored("hideChildNodeTypes"), storing("hideChildNodeTypes"))
    noneEnabled = Property(bool, stored("noneEnabled"), storing("noneEnabled"))
    noneDisplay = Property(str, stored("noneDisplay"), storing("noneDisplay"))
    addEnabled = Property(bool, stored("addEnabled"), storing("addEnabled"))
    removeEnabled = Property(bool, stored("removeEnabled"), storing("removeEnabled"))
    editEnabled = Property(bool, stored("editEnabled"), storing("editEnabled"))
    renameEnabled = Property(bool, stored("renameEnabled"), storing("renameEnabled"))
    baseName = Property(str, stored("baseName"), storing("baseName"))
    showHidden = Property(bool, stored("showHidden"), storing("showHidden"))
    showChildNodeTypes = Property(bool, stored("showChildNodeTypes"), storing("showChildNodeTypes"))
    selectNodeUponCreation = Property(bool, stored("selectNodeUponCreation"), storing("selectNodeUponCreation"))
    interactionNodeSingletonTag = Property(
        str, stored("interactionNodeSingletonTag"), storing("interactionNodeSingletonTag")
    )

    def _id(self) -> str:
        return self._current.GetID() if self._current is not None else ""

    currentNodeID = Property(str, _id, setCurrentNodeID)
    currentNodeId = Property(str, _id, setCurrentNodeID)


class qMRMLCheckableNodeComboBox(qMRMLNodeComboBox):
    """A list of nodes, each with a check mark; marks start unset."""

    checkedNodesChanged = Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._checked: list[Any] = []

    def _changed(self, *_: Any) -> None:
        super()._changed()
        kept = [node for node in getattr(self, "_checked", []) if any(node is each for each in self._nodes)]
        if len(kept) != len(getattr(self, "_checked", [])):
            self._checked = kept
            self.checkedNodesChanged.emit()

    def checkedNodes(self) -> list:
        """Return the checked nodes in the list's order."""
        return [node for node in self._nodes if any(node is each for each in self._checked)]

    def uncheckedNodes(self) -> list:
        """Return the other nodes."""
        return [node for node in self._nodes if not any(node is each for each in self._checked)]

    def allChecked(self) -> bool:
        """Say whether every node is checked."""
        return not self.uncheckedNodes()

    def noneChecked(self) -> bool:
        """Say whether no node is checked."""
        return not self._checked

    def checkState(self, node: Any) -> QtCore.Qt.CheckState:
        """Return a node's mark."""
        checked = any(node is each for each in self._checked)
        return QtCore.Qt.CheckState.Checked if checked else QtCore.Qt.CheckState.Unchecked

    def setCheckState(self, node: Any, state: int) -> None:
        """Set a node's mark."""
        checked = any(node is each for each in self._checked)
        if bool(int(state)) == checked or not any(node is each for each in self._nodes):
            return
        self._checked = [each for each in self._checked if each is not node]
        if int(state):
            self._checked.append(node)
        self.checkedNodesChanged.emit()

    def check(self, node: Any) -> None:
        """Set a node's mark."""
        self.setCheckState(node, 2)

    def uncheck(self, node: Any) -> None:
        """Remove a node's mark."""
        self.setCheckState(node, 0)


IMPLEMENTED = (qMRMLNodeComboBox, qMRMLCheckableNodeComboBox)
