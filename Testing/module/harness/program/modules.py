"""`slicer.modules`: the loaded modules, as far as slicer-core has their logic."""

from __future__ import annotations

from typing import Any

from harness.errors import NotOffered
from PySide6 import QtCore
from PySide6.QtCore import Signal


class qSlicerModuleManager(QtCore.QObject):
    """Says which modules are loaded."""

    moduleAboutToBeUnloaded = Signal(str)

    def modulesNames(self) -> list:
        """Return the modules' names."""
        import slicer

        return [each.name for each in vars(slicer.modules).values() if isinstance(each, qSlicerLoadableModule)]

    def module(self, name: str) -> Any:
        """Return a module by its name, or None."""
        import slicer

        return vars(slicer.modules).get(name.lower())


class qSlicerLoadableModule:
    """A loaded module: its logic, and its widget where the harness has one."""

    def __init__(self, name: str, logic: Any = None, path: str = "", widget: Any = None) -> None:
        self.name, self.path = name, path
        self._logic, self._widget = logic, widget

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name} ({name} at: {id(self):#x})"

    def logic(self) -> Any:
        """Return the module's VTK logic."""
        if self._logic is None:
            raise NotOffered(f"the logic of the module {self.name}")
        return self._logic

    def widgetRepresentation(self) -> Any:
        """Return the module's panel."""
        if self._widget is None:
            raise NotOffered(f"the panel of the module {self.name}")
        return self._widget


class qSlicerScriptedLoadableModule(qSlicerLoadableModule):
    """A loaded module that is written in Python."""


class Modules:
    """`slicer.modules`."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"module 'modules' has no attribute '{name}'")


class Recorder:
    """Keeps what was called, for a widget of Slicer that a test only watches. Only the listed methods exist."""

    def __init__(self, *methods: str) -> None:
        self.calls: list[tuple] = []
        for name in methods:
            setattr(self, name, lambda *arguments, name=name: self.calls.append((name, *arguments)))


class SegmentEditorPanel:
    """The Segment Editor module's panel, as far as it is handed a segmentation."""

    def __init__(self) -> None:
        self.editor = Recorder("setSegmentationNode", "setSourceVolumeNode", "setMRMLSegmentEditorNode")

    def self(self) -> SegmentEditorPanel:
        """Return the Python side."""
        return self


# Module -> class of its logic in slicer-core.
LOGICS = {
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Colors": "vtkSlicerColorLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Models": "vtkSlicerModelsLogic",
}


def build_modules(scene: Any, application_logic: Any) -> Modules:
    """Return the modules whose logic slicer-core has."""
    import slicer

    modules = Modules()
    for name, class_name in LOGICS.items():
        if not hasattr(slicer, class_name):
            continue
        logic = getattr(slicer, class_name)()
        if hasattr(logic, "SetMRMLApplicationLogic"):
            logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
        application_logic.SetModuleLogic(name, logic)
        setattr(modules, name.lower(), qSlicerLoadableModule(name, logic))
    for name in ("Data", "Welcome"):
        setattr(modules, name.lower(), qSlicerLoadableModule(name))
    modules.segmenteditor = qSlicerLoadableModule("SegmentEditor", widget=SegmentEditorPanel())
    return modules
