from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class MIMSegment(ScriptedLoadableModule):
    """Segment CT and MR volumes, fine-tune and pre-train models, all on this computer."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "MIMSegment"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["The MIMSegment developers"]
        self.parent.helpText = _(
            "Choose a volume and a model, then click Segment. Fine-tune teaches a model your own structures from"
            " labeled cases; Pre-train learns from scans without labels. Nothing leaves this computer."
            " Research use only: not a medical device."
            ' See the <a href="https://github.com/MIMSegment/SlicerMIMSegment">documentation and tutorial</a>.'
        )
        self.parent.acknowledgementText = _(
            "Method: Chen et al., Masked Image Modeling Advances 3D Medical Image Analysis, WACV 2023;"
            " Hatamizadeh et al., UNETR: Transformers for 3D Medical Image Segmentation, WACV 2022."
            " Sample data: MNI ICBM152 template, copyright McConnell Brain Imaging Centre, McGill University."
        )
        slicer.app.connect("startupCompleted()", onStartup)


def onStartup():
    """Offer the demo volume; remove what runs of a Slicer that was killed have left: it holds scans of patients."""
    from MIMSegmentLib.Process.BackendRun import removeLeftOvers

    registerSampleData()
    removeLeftOvers()


def registerSampleData():
    """Offer the demo volume in Sample Data."""
    from MIMSegmentLib.Scene.DemoVolume import registerDemoVolume

    registerDemoVolume(Path(__file__).resolve().parent)


class MIMSegmentLogic(ScriptedLoadableModuleLogic):
    """The panel's work without the panel; `MIMSegmentLogic().logic` has one method for each button."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        from MIMSegmentLib.Logic import Logic

        self.logic = Logic()

    def getParameterNode(self, fresh=False):
        """Return what the user chose, as saved with the scene.

        :param fresh: read it anew, for a scene that was just closed or loaded.
        """
        from MIMSegmentLib.Parameters import parametersOf

        return parametersOf(super().getParameterNode(), fresh)


class MIMSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Builds the panel and passes on what Slicer tells a module; MIMSegmentLib.Panel.Widget does the rest."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from MIMSegmentLib.Panel.Widget import Widget

        self.uiWidget = slicer.util.loadUI(self.resourcePath("UI/MIMSegment.ui"))
        self.layout.addWidget(self.uiWidget)
        self.ui = slicer.util.childWidgetVariables(self.uiWidget)
        self.uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = MIMSegmentLogic()
        self.panel = Widget(self.ui, self.logic.logic, self.logic.getParameterNode)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        # A reload while the module is shown builds the panel, but does not enter it.
        if self.parent.isEntered:
            self.panel.enter()

    def cleanup(self):
        self.removeObservers()
        if self.panel:
            self.panel.cleanup()
            self.uiWidget.setMRMLScene(None)

    def enter(self):
        if self.panel:
            self.panel.enter()

    def exit(self):
        if self.panel:
            self.panel.exit()

    def onSceneStartClose(self, caller, event):
        self.panel.sceneStartClose()

    def onSceneEndClose(self, caller, event):
        self.panel.sceneEndClose(self.parent.isEntered)

    def onSceneStartImport(self, caller, event):
        self.panel.sceneStartImport()

    def onSceneEndImport(self, caller, event):
        self.panel.sceneEndImport(self.parent.isEntered)


class MIMSegmentTest(ScriptedLoadableModuleTest):
    """Runs inside Slicer (Reload and Test, or ctest); Testing/module holds the tests that need no Slicer."""

    def setUp(self):
        slicer.mrmlScene.Clear()

    def runTest(self):
        from MIMSegmentLib.SelfTest import SelfTest

        self.setUp()
        SelfTest(self).run()
