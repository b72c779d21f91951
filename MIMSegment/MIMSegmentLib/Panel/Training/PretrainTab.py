from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Panel.Fields import rememberPath
from MIMSegmentLib.Panel.RunStatus import RunStatus
from MIMSegmentLib.Panel.Training.RunPicture import RunPicture
from MIMSegmentLib.Panel.Training.TrainingTab import TrainingTab
from MIMSegmentLib.Process.Command import PretrainOptions, chosen

DEFAULT_METHOD = "mae"


class PretrainTab(TrainingTab):
    """Folder of scans without labels -> a pre-training run to start a fine-tuning from."""

    def __init__(self, ui, logic, desktop, catalog, setup):
        status = RunStatus(ui.pretrainProgressBar, ui.pretrainStatusLabel)
        super().__init__(ui, logic, desktop, catalog, setup, status, "pretrain", _("Pre-training"))
        self._filling = False
        ui.pretrainMethodSelector.connect("currentIndexChanged(int)", self.onMethodChosen)
        self.picture = RunPicture(ui.reconstructionLabel)
        rememberPath(ui.pretrainFolderEdit, desktop, "PretrainFolder", self.update)
        ui.pretrainNameEdit.connect("textChanged(QString)", self.update)
        ui.pretrainButton.connect("clicked()", self.onStartOrStop)
        ui.resumePretrainButton.connect("clicked()", self.onResume)
        ui.pretrainCurvesButton.connect("clicked()", self.onShowCurves)
        catalog.examined.connect(self.update)
        catalog.changed.connect(self.showMethods)

    def setParameters(self, parameters):
        """Follow these parameters (None: none) from now on."""
        self.parameters = parameters
        if parameters is not None:
            self.showMethods()
            self.update()

    def showMethods(self):
        """The methods that the backend has, with the remembered one chosen."""
        names = [method["name"] for method in self.catalog.methods]
        wanted = self.parameters.pretrainMethod if self.parameters is not None else ""
        self._filling = True
        self.ui.pretrainMethodSelector.clear()
        for method in self.catalog.methods:
            self.ui.pretrainMethodSelector.addItem(methodText(method), method["name"])
        self.ui.pretrainMethodSelector.setCurrentIndex(names.index(wanted) if wanted in names else 0)
        self._filling = False

    def method(self):
        """Name of the chosen method."""
        return self.ui.pretrainMethodSelector.currentData or DEFAULT_METHOD

    def onMethodChosen(self, index):
        if self.parameters is not None and index >= 0 and not self._filling:
            self.parameters.pretrainMethod = self.method()

    def onStartOrStop(self):
        if self.running:
            self.ui.pretrainButton.enabled = False
            self.logic.stopPretraining()
            return
        options = chosen(
            PretrainOptions,
            self.parameters,
            title=self._name(),
            data=(self._folder(),),
            minutes=float(self.ui.pretrainMinutesSpinBox.value),
            method=self.method(),
        )
        self.whenInstalled("train", self.start, options)

    def start(self, options):
        """Pre-train with these `PretrainOptions`."""
        self._training = (options.title, False)
        self.logic.startPretraining(options)

    def onResume(self):
        unfinished = self.logic.unfinishedPretrainings()
        if unfinished:
            self.setup.ensure("train", lambda: self._resume(unfinished[0]))

    def _resume(self, name):
        self._training = (name, True)
        self.logic.resumePretraining(name)

    # -- the run

    def onStarted(self, command):
        self.beginCurves()

    def onProgress(self, phase, done, total, etaSeconds):
        super().onProgress(phase, done, total, etaSeconds)
        self.showPicture()

    def onMetric(self, name, value, fields):
        self.curves.add(name, fields.get("step"), value)
        if value is not None:
            what = {"loss": _("Loss"), "validation_loss": _("Loss on held-out scans")}.get(name)
            if what:
                self.status.setExtra(f"{what}: {value:.4f}")
        self.showPicture()

    def showResult(self, result):
        self.status.end(_("Done. Choose this run under Start from on the Fine-tune tab."))
        self.showPicture()

    def onStopped(self, command):
        self.status.end(_("Stopped. Resume continues where it was."))

    def showPicture(self):
        """Show the picture of the reconstruction if it is new."""
        self.picture.show(self.logic.reconstructionPicture())

    def update(self, *_ignored):
        """Enable what can be done now."""
        idle = not self.logic.training.command
        self.ui.pretrainButton.text = _("Stop") if self.running else _("Start")
        self.ui.pretrainButton.enabled = self.running or bool(idle and self._folder() and self._name())
        self.ui.resumePretrainButton.enabled = idle and bool(self.logic.unfinishedPretrainings())
        self.ui.pretrainCurvesButton.enabled = self.curves.chart is not None
        self.ui.pretrainDeviceLabel.text = Texts.deviceText(self.catalog.examination, self.deviceChoice, training=True)

    def _folder(self):
        return self.ui.pretrainFolderEdit.currentPath.strip()

    def _name(self):
        return self.ui.pretrainNameEdit.text.strip()


def methodText(method):
    """Title of a method, and how it learns; what is new in the backend is told in its own words."""
    summary = {
        "mae": _("hide parts of a scan, fill them in"),
        "simmim": _("hide parts of a scan, simpler decoder"),
        "simclr": _("tell scans apart"),
    }.get(method["name"], method.get("summary") or "")
    return f"{method.get('title') or method['name']}" + (f": {summary}" if summary else "")
