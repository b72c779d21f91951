import os

import qt
from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Panel.RunStatus import RunStatus
from MIMSegmentLib.Panel.RunTab import RunTab
from MIMSegmentLib.Panel.Segment.ModelFit import bestFor, doubtsOf, needsBox
from MIMSegmentLib.Panel.Segment.ResultSection import ResultSection
from MIMSegmentLib.Panel.Segment.StructuresSection import StructuresSection
from MIMSegmentLib.Process.Command import SegmentOptions, chosen
from MIMSegmentLib.Scene.RegionBox import RegionBox
from MIMSegmentLib.Scene.VolumeFacts import factsOf
from MIMSegmentLib.Signal import Signal

DEVICES = ("auto", "cpu", "gpu")


class SegmentTab(RunTab):
    """Volume, model, boxes, device -> Segment; what the result holds.

    Signals: deviceChanged(), it also holds for the other tabs.
    """

    def __init__(self, ui, logic, desktop, catalog, setup):
        status = RunStatus(ui.segmentProgressBar, ui.segmentStatusLabel)
        super().__init__(ui, logic, desktop, catalog, setup, status)
        self.deviceChanged = Signal("deviceChanged")
        self.structures = StructuresSection(ui)
        self.structures.changed.connect(self.update)
        self.result = ResultSection(ui, logic, desktop, status)
        self._filling = False
        # The user chose the model: it stays, whatever the volume.
        self._picked = False
        self._why = ""
        # A result that came while another module was shown.
        self._late = None
        for text in (_("Automatic"), _("Processor (CPU)"), _("Graphics card (GPU)")):
            ui.deviceSelector.addItem(text)
        ui.inputVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onVolumeChanged)
        ui.inputVolumeSelector.connect("nodeAdded(vtkMRMLNode*)", self.onVolumeLoaded)
        ui.modelSelector.connect("currentIndexChanged(int)", self.onModelChosen)
        ui.deviceSelector.connect("currentIndexChanged(int)", self.onDeviceChosen)
        ui.roiSelector.connect("checkedNodesChanged()", self.showHints)
        ui.moreVolumesSelector.connect("checkedNodesChanged()", self.update)
        ui.addRoiButton.connect("clicked()", self.onAddBox)
        ui.segmentButton.connect("clicked()", self.onSegment)
        ui.modelSelector.connect("activated(int)", self.onModelPicked)
        catalog.changed.connect(self.showModels)
        catalog.examined.connect(self.update)
        self.showModels()

    # -- parameters

    def setParameters(self, parameters):
        """Follow these parameters (None: none) from now on."""
        self.parameters = parameters
        self.structures.setParameters(parameters)
        if parameters is None:
            return
        self.ui.deviceSelector.setCurrentIndex(DEVICES.index(parameters.device) if parameters.device in DEVICES else 0)
        self.showModels()
        node, self._late = self._late, None
        if node is not None and self.logic.scene.contains(node):
            self.result.choose(node)
        self.result.show()
        self.update()

    def onDeviceChosen(self, index):
        if self.parameters is not None and index >= 0:
            self.parameters.device = DEVICES[index]
        self.deviceChanged.emit()

    # -- models

    def showModels(self):
        """The models of this computer, with the remembered one chosen, or the one that the user chose before."""
        remembered = self.parameters.modelName if self.parameters is not None else ""
        names = [model["name"] for model in self.catalog.segmenters]
        # An empty scene remembers none.
        keep = os.path.isabs(self.modelName) or (self._picked and remembered not in names)
        wanted = self.modelName if keep and self.modelName in names else remembered
        if wanted not in names:
            self._picked = False
        self._filling = True
        self.ui.modelSelector.clear()
        for model in self.catalog.segmenters:
            self.ui.modelSelector.addItem(model["title"], model["name"])
        if names:
            self.ui.modelSelector.setCurrentIndex(names.index(wanted) if wanted in names else 0)
        self._filling = False
        self.onModelChosen(self.ui.modelSelector.currentIndex)
        self.pickModel()

    def chooseModel(self, name):
        """Select a model by its name; it stays, whatever volume is chosen then."""
        index = self.ui.modelSelector.findData(name)
        self.onModelPicked(index)
        if index >= 0:
            self.ui.modelSelector.setCurrentIndex(index)

    @property
    def modelName(self):
        return self.ui.modelSelector.currentData or ""

    def onModelPicked(self, index):
        self._picked, self._why = True, ""

    def onModelChosen(self, index):
        if self._filling:
            return
        # Paths of this computer, of unfinished models, do not belong into a scene that may be passed on.
        if self.parameters is not None and self.modelName and not os.path.isabs(self.modelName):
            self.parameters.modelName = self.modelName
        self.structures.expect(self.modelName)
        if self.modelName:
            self.catalog.show(self.modelName, self.showCard)
        else:
            self.ui.modelCardLabel.text = _("No model yet: import one on the Models tab, or train one.")
        self.update()

    def showCard(self, name, facts):
        """Show the card of the chosen model; a late answer about another one is dropped."""
        if name != self.modelName:
            return
        self.ui.modelCardLabel.text = Texts.modelCard(facts, self.logic.expectedSeconds(name, bool(self.boxes())))
        self.structures.show(name, [label["name"] for label in facts["description"]["labels"]])
        self.update()

    # -- volumes and boxes

    def onVolumeChanged(self, node):
        self._why = ""
        if self.parameters is not None:
            # Before the model: each change of a parameter writes all of them back to the widgets, and this slot comes
            # before the one that writes the volume to the parameters.
            self.parameters.inputVolume = node
        self.pickModel()
        self.update()

    def onVolumeLoaded(self, node):
        """Choose what is loaded while nothing is chosen; later, since it has no voxels yet."""
        qt.QTimer.singleShot(0, self.chooseFirstVolume)

    def chooseFirstVolume(self):
        if self.parameters is not None and self.ui.inputVolumeSelector.currentNode() is None:
            node = self.logic.scene.firstVolume()
            if node is not None:
                self.ui.inputVolumeSelector.setCurrentNode(node)

    def onAddBox(self):
        node = RegionBox(self.logic.scene.scene).add(
            self.ui.inputVolumeSelector.currentNode(), self.catalog.fieldOfView(self.modelName)
        )
        self.ui.roiSelector.setCheckState(node, qt.Qt.Checked)
        self.showHints()

    def boxes(self):
        """The checked boxes."""
        return list(self.ui.roiSelector.checkedNodes())

    def volumes(self):
        """The volumes to segment, the chosen one first."""
        first = self.ui.inputVolumeSelector.currentNode()
        others = [node for node in self.ui.moreVolumesSelector.checkedNodes() if node is not first]
        return ([first] if first else []) + others

    def doubts(self):
        """Why the model does not fit the volumes, a list of `Doubt`."""
        facts = self.catalog.facts(self.modelName)
        if facts is None:
            return []
        boxes = bool(self.boxes())
        return [doubt for node in self.volumes() for doubt in doubtsOf(facts["description"], factsOf(node), boxes)]

    def needsBox(self):
        """True if a volume is much larger than what the model was made for, and no box is checked."""
        facts = self.catalog.facts(self.modelName)
        if facts is None or self.boxes():
            return False
        return any(needsBox(facts["description"], factsOf(node)) for node in self.volumes())

    def pickModel(self):
        """Choose the model that fits the volume, unless the one that is chosen does, or the user chose it."""
        node = self.ui.inputVolumeSelector.currentNode()
        if node is None or self._picked or os.path.isabs(self.modelName):
            return
        volume = factsOf(node)
        models = {model["name"]: model for model in self.catalog.usable}
        current = models.get(self.modelName)
        if current is not None and not doubtsOf(current, volume, hasBoxes=True):
            return
        name, why = bestFor(models.values(), volume)
        if name:
            self.chooseModel(name)
            self._picked, self._why = False, why

    def missingChannels(self):
        """What a model of several channels still lacks, as text."""
        channels = self.catalog.channels(self.modelName)
        if len(channels) < 2 or len(self.volumes()) == len(channels):
            return ""
        return _("This model needs {count} volumes of one case: {names}. Check the others below Options.").format(
            count=len(channels), names=", ".join(channels)
        )

    # -- run

    def onSegment(self):
        if self.logic.work.command == "segment":
            self.ui.segmentButton.enabled = False
            self.logic.cancel("segment")
            return
        doubts = self.doubts()
        impossible = [doubt.sentence for doubt in doubts if doubt.impossible]
        if impossible:
            self.status.fail(impossible[0], _("Choose a model that was made for such scans."), "models")
        elif not doubts or self.desktop.confirm(_questionOf(doubts)):
            self.segment()

    def segment(self):
        """Run with what is chosen, once it can."""
        leftOut = self.structures.leftOut()
        channels = len(self.catalog.channels(self.modelName))
        options = chosen(
            SegmentOptions,
            self.parameters,
            model=self.modelName,
            labels=tuple(self.structures.kept()) if leftOut else (),
            leftOut=tuple(leftOut),
            quick=self.parameters.quick and self.catalog.quickMode(self.modelName) is not None,
            doubts=" ".join(doubt.sentence for doubt in self.doubts()),
        )
        volumes = [tuple(self.volumes())] if channels > 1 else self.volumes()
        boxes = self.boxes()
        self.whenInstalled("segment", lambda options: self.logic.segment(volumes, options, boxes), options)

    def showResult(self, result):
        """A run is done: choose its first segmentation."""
        node = result["segmentations"][0] if result["segmentations"] else None
        self.result.choose(node)
        # Without parameters nothing keeps the choice: those of the scene would bring back an older result.
        self._late = node if self.parameters is None else None
        RegionBox.outline(self.boxes())
        name = node.GetName() if node is not None else ""
        if not name and result.get("sequences"):
            name = result["sequences"][0].GetName()
        text = _("Done: {name}").format(name=name)
        if result.get("seconds") is not None and result.get("device"):
            text = _("Done in {duration} on {device}: {name}").format(
                duration=Texts.durationText(result["seconds"]), device=str(result["device"]).upper(), name=name
            )
        if result.get("failures"):
            text += " " + _("No result for: {names}").format(names=", ".join(result["failures"]))
        self.status.end(text)
        self.catalog.show(self.modelName, self.showCard)

    def sceneClosed(self):
        """What was said of nodes that are gone does not stay on the screen."""
        self._why, self._late = "", None
        self.structures.sceneClosed()
        if not self.logic.work.command:
            self.status.end("")

    # -- what can be clicked

    def update(self, *_ignored):
        """Enable what can be done now, and say why the rest cannot."""
        running = self.logic.work.command
        some = bool(self.structures.kept()) or not self.structures.known
        ready = bool(self.volumes() and self.modelName and some and not self.missingChannels())
        self.ui.segmentButton.text = _("Cancel") if running == "segment" else _("Segment")
        self.ui.segmentButton.enabled = running == "segment" or (ready and not running)
        self.result.update()
        quick = self.catalog.quickMode(self.modelName)
        self.ui.quickCheckBox.enabled = quick is not None
        self.ui.quickCheckBox.text, self.ui.quickCheckBox.toolTip = Texts.quickText(quick)
        self.ui.segmentDeviceLabel.text = Texts.deviceText(self.catalog.examination, self.deviceChoice)
        self.showHints()

    def showHints(self):
        """Say what is missing before Segment, or what it waits for."""
        running = self.logic.work.command
        if running == "segment":
            return
        if running:
            text = Texts.waitingText(running)
        elif self.ui.inputVolumeSelector.currentNode() is None:
            text = _("Load a scan (or the demo volume in Sample Data) and choose it above.")
        elif self.missingChannels():
            text = self.missingChannels()
        elif self.needsBox():
            text = _("This scan is larger than what the model was made for. Click Add box, once for each structure.")
        else:
            doubts = [doubt.sentence for doubt in self.doubts()]
            text = doubts[0] if doubts else ""
        if not running:
            leftOut = self.structures.leftOut()
            # Their list lies below Options, out of sight.
            omitted = _("Left out: {names}.").format(names=", ".join(leftOut)) if leftOut else ""
            text = " ".join(part for part in (self._why, text, omitted) if part)
        self.ui.segmentHintLabel.text = text
        self.ui.segmentHintLabel.visible = bool(text)


def _questionOf(doubts):
    reasons = "\n".join(doubt.sentence for doubt in doubts)
    return reasons + "\n\n" + _("The result will most likely be wrong, and will be marked. Segment all the same?")
