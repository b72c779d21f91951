"""The scripted module that module-life.txt was recorded with, made anew from what the recording shows of it."""

from typing import Annotated

import slicer
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class FactsModule(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "FactsModule"


@parameterNodeWrapper
class FactsParams:
    inputVolume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    threshold: Annotated[float, WithinRange(-100, 500)] = 100
    count: int = 3
    on: bool = False
    name: str = "n"
    mode: Annotated[str, Choice(["a", "b"])] = "b"


class FactsModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.calls = []
        self._parameterNode = None
        self._tag = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/FactsModule.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = FactsModuleLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onEndClose)
        self.ui.applyButton.connect("clicked(bool)", lambda on: self.calls.append(("apply", on)))
        self.initializeParameterNode()

    # As in Slicer's template of a scripted module

    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, node):
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._tag)
        self._parameterNode = node
        if self._parameterNode:
            self._tag = self._parameterNode.connectGui(self.ui)

    def cleanup(self):
        self.removeObservers()

    def enter(self):
        self.calls.append("enter")
        self.initializeParameterNode()

    def exit(self):
        self.calls.append("exit")
        if self._parameterNode:
            self._parameterNode.disconnectGui(self._tag)
            self._tag = None

    def onStartClose(self, caller, event):
        self.calls.append("startclose")
        self.setParameterNode(None)

    def onEndClose(self, caller, event):
        self.calls.append("endclose")
        if self.parent.isEntered:
            self.initializeParameterNode()


class FactsModuleLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return FactsParams(super().getParameterNode())


class FactsModuleTest(ScriptedLoadableModuleTest):
    def runTest(self):
        self.delayDisplay("test")
