from functools import partial

from slicer.i18n import tr as _

from MIMSegmentLib.Panel.Catalog import Catalog
from MIMSegmentLib.Panel.ComputerTab import ComputerTab
from MIMSegmentLib.Panel.Desktop import Desktop
from MIMSegmentLib.Panel.ExportSection import ExportSection
from MIMSegmentLib.Panel.Fields import followDeletion
from MIMSegmentLib.Panel.ModelsTab import ModelsTab
from MIMSegmentLib.Panel.Segment.SegmentTab import SegmentTab
from MIMSegmentLib.Panel.Setup import Setup
from MIMSegmentLib.Panel.Training.FinetuneTab import FinetuneTab
from MIMSegmentLib.Panel.Training.PretrainTab import PretrainTab
from MIMSegmentLib.Panel.Training.RankSection import RankSection
from MIMSegmentLib.Parameters import bind
from MIMSegmentLib.Process.Install import Install
from MIMSegmentLib.Process.Words import actionOf

PAGES = ("segment", "finetune", "pretrain", "models", "computer")
# Parameters that say how the user works, not what is in the scene: they outlive it.
HABITS = (
    "device", "exportSegNrrd", "exportNifti", "exportNrrd", "exportDicom", "finetuneMinutes", "ownScansMinutes",
    "pretrainMinutes",
)  # fmt: skip
# What packages are installed for, by the action of a remedy.
INSTALLS = {"install": "segment", "train": "train", "dicom": "dicom"}


class Widget:
    """The panel: builds the tabs, binds them to the parameters, and passes on what the logic tells.

    :param ui: the widgets of MIMSegment.ui.
    :param logic: a `Logic`.
    :param getParameters: returns the `Parameters` of the scene; its argument tells to read them anew.
    :param installer: an `Install`.
    :param desktop: dialogs, other modules, remembered settings.
    """

    def __init__(self, ui, logic, getParameters, installer=None, desktop=None):
        self.ui = ui
        self.logic = logic
        self.parameters = None
        self.desktop = desktop or Desktop()
        self.catalog = Catalog(logic)
        self.installer = installer or Install(logic.backend, confirm=self.desktop.confirm)
        self._getParameters = getParameters
        self._unbind = None
        # The scene was closed or loaded since the parameters were read.
        self._stale = False
        self._habits = {}
        self._boundWidgets = {
            widget.property("SlicerParameterName"): widget
            for widget in vars(ui).values()
            if widget.property("SlicerParameterName")
        }
        for selector in (
            ui.inputVolumeSelector, ui.segmentationSelector, ui.caseVolumeSelector, ui.caseSegmentationSelector
        ):  # fmt: skip
            followDeletion(selector)
        self._entered = False
        self._newModel = ""
        self.setup = Setup(self.installer, self.desktop, self.catalog)
        self.segmentTab = SegmentTab(ui, logic, self.desktop, self.catalog, self.setup)
        self.exportSection = ExportSection(ui, logic, self.desktop)
        self.finetuneTab = FinetuneTab(ui, logic, self.desktop, self.catalog, self.setup)
        self.rankSection = RankSection(ui, logic, self.desktop, self.catalog, self.setup)
        self.pretrainTab = PretrainTab(ui, logic, self.desktop, self.catalog, self.setup)
        self.modelsTab = ModelsTab(ui, logic, self.desktop, self.catalog)
        self.computerTab = ComputerTab(ui, logic, self.desktop, self.catalog, self.setup)
        self.tabs = (self.segmentTab, self.finetuneTab, self.rankSection, self.pretrainTab)
        # Tabs by the command whose progress and outcome they show.
        self._tabOf = {
            "segment": self.segmentTab,
            "check": self.finetuneTab,
            "plan": self.finetuneTab,
            "finetune": self.finetuneTab,
            "rank": self.rankSection,
            "pretrain": self.pretrainTab,
        }
        # By slot, for what comes without the name of its command.
        self._active = {}
        for slot in (logic.work, logic.training):
            for name in ("started", "announced", "progress", "warning", "metric", "finished", "failed", "stopped"):
                getattr(slot, name).connect(partial(getattr(self, f"_on{name.capitalize()}"), slot))
        logic.training.modelReady.connect(self._onModelReady)
        self.finetuneTab.cases.corrected.connect(self.segmentTab.result.onCorrected)
        self.finetuneTab.cases.corrected.connect(self.rankSection.onAdded)
        self.rankSection.corrected.connect(self.finetuneTab.cases.addCorrected)
        logic.message.connect(self.addToLog)
        self.installer.message.connect(self.addToLog)
        self.catalog.changed.connect(self._onModels)
        self.catalog.failed.connect(lambda _message, _hint: self.update())
        for tab in self.tabs:
            tab.status.remedied.connect(self._onRemedy)
        self.exportSection.remedied.connect(self._onRemedy)
        self.segmentTab.deviceChanged.connect(self.update)
        ui.tabWidget.connect("currentChanged(int)", self.onTabChanged)
        self.onTabChanged(ui.tabWidget.currentIndex)

    # -- what Slicer tells

    def enter(self):
        """The panel is shown."""
        self.connectParameters()
        self._onModels()
        if not self._entered:
            self._entered = True
            self.catalog.refresh()
            self.catalog.examine()
        self.finetuneTab.cases.show()
        self.update()

    def exit(self):
        """Another module is shown; a run goes on."""
        self.disconnectParameters()

    def sceneStartClose(self):
        """Forget the nodes; the logic stops what runs on them."""
        self.disconnectParameters()
        self._stale = True

    def sceneEndClose(self, shown):
        """Start with an empty scene."""
        self.segmentTab.sceneClosed()
        self.exportSection.sceneClosed()
        self.finetuneTab.sceneClosed()
        self.rankSection.sceneClosed()
        self.pretrainTab.sceneClosed()
        if self._habits:
            parameters = self._getParameters(True)
            for name, value in self._habits.items():
                setattr(parameters, name, value)
        if shown:
            self.connectParameters()
        self.update()

    def sceneStartImport(self):
        """A scene is being loaded: what the widgets lose meanwhile must not be written into it."""
        self.disconnectParameters()
        self._stale = True

    def sceneEndImport(self, shown):
        """Show what the loaded scene holds."""
        if shown:
            self.connectParameters()
        self.update()

    def cleanup(self):
        """Slicer closes, or the module is reloaded: nothing may go on."""
        self.disconnectParameters()
        self.installer.cancel()
        self.logic.shutdown()

    # -- parameters

    def connectParameters(self):
        """Bind the widgets to the parameters of the scene."""
        self.disconnectParameters()
        parameters = self._getParameters(self._stale)
        self._stale = False
        if not parameters.parameterNode.GetNodeReferenceID("inputVolume"):
            parameters.inputVolume = self.logic.scene.firstVolume()
        self.parameters = parameters
        self._unbind = bind(parameters, self._boundWidgets)
        for tab in self.tabs:
            tab.setParameters(parameters)

    def disconnectParameters(self):
        """Leave the parameters of the scene alone."""
        if self.parameters is None:
            return
        self._habits = {name: getattr(self.parameters, name) for name in HABITS}
        self._unbind()
        self.parameters = None
        for tab in self.tabs:
            tab.setParameters(None)

    # -- what the logic tells

    def _onStarted(self, slot, command):
        tab = self._active[slot] = self._tabOf[command]
        tab.status.begin(_("Starting"))
        tab.onStarted(command)
        self.update()

    def _onAnnounced(self, slot, fields):
        self._active[slot].onAnnounced(fields)

    def _onProgress(self, slot, phase, done, total, etaSeconds):
        self._active[slot].onProgress(phase, done, total, etaSeconds)

    def _onWarning(self, slot, code, message):
        self._active[slot].status.addWarning(message)
        self.addToLog(message)

    def _onMetric(self, slot, name, value, fields):
        self._active[slot].onMetric(name, value, fields)

    def _onFinished(self, slot, result):
        if slot is self.logic.training or result["command"] == "segment":
            # The user's layout again: a result is to be seen in 3D, too.
            self.desktop.hideChart()
        self._tabOf[result["command"]].showResult(result)
        if result["command"] == "finetune":
            self._newModel = result["model"]
            self.catalog.refresh()
        elif result["command"] == "pretrain":
            self.finetuneTab.showStarts()
        self.update()

    def _onFailed(self, slot, message, hint):
        if slot is self.logic.training:
            self.desktop.hideChart()
        self._active[slot].status.fail(message, hint, actionOf(slot.code))
        self.addToLog(f"{message} {hint}")
        self.update()

    def _onStopped(self, slot, command):
        if slot is self.logic.training:
            self.desktop.hideChart()
        self._tabOf[command].onStopped(command)
        self.update()

    def _onModelReady(self, path):
        self.catalog.lookForBestModels()

    def _onModels(self):
        """A model that was just trained is chosen for segmenting, once it is listed and the choice can be kept."""
        listed = any(model["name"] == self._newModel for model in self.catalog.usable)
        if listed and self.parameters is not None:
            self.segmentTab.chooseModel(self._newModel)
            self._newModel = ""

    def _onRemedy(self, action):
        """A remedy was clicked below a failure."""
        if action in INSTALLS:
            self.setup.install(INSTALLS[action])
        elif action == "box":
            self.segmentTab.onAddBox()
        if action in PAGES or action in INSTALLS:
            self.ui.tabWidget.setCurrentIndex(PAGES.index(action if action in PAGES else "computer"))

    # -- the panel itself

    def addToLog(self, text):
        """Append a line to the log."""
        self.ui.logEdit.appendPlainText(text)

    def onTabChanged(self, index):
        """Make the panel as high as the shown tab, not as the highest one."""
        for number, name in enumerate(PAGES):
            getattr(self.ui, f"{name}Content").visible = number == index

    def update(self):
        """Enable what can be done now, on every tab."""
        for tab in self.tabs:
            tab.update()
        self.exportSection.update()
        self.computerTab.update()
