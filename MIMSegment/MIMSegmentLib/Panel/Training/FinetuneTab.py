from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Panel.RunStatus import RunStatus
from MIMSegmentLib.Panel.Training.CasesSection import CasesSection
from MIMSegmentLib.Panel.Training.FewCasesSection import FewCasesSection
from MIMSegmentLib.Panel.Training.FindingsSection import FindingsSection
from MIMSegmentLib.Panel.Training.FoldProgress import FoldProgress
from MIMSegmentLib.Panel.Training.LocatorSection import LocatorSection
from MIMSegmentLib.Panel.Training.RunPicture import RunPicture
from MIMSegmentLib.Panel.Training.TrainingTab import TrainingTab
from MIMSegmentLib.Panel.Training.TrainingTexts import doneText, planText
from MIMSegmentLib.Process.Command import FinetuneOptions, chosen

FROM_NOTHING = "none"
# Before the name of a pre-training run, as it is kept with the scene: its path says where it lies on this computer.
PRETRAINING = "pretraining:"


class FinetuneTab(TrainingTab):
    """Labeled cases -> check -> plan -> train -> a new model with its scores."""

    def __init__(self, ui, logic, desktop, catalog, setup):
        status = RunStatus(ui.finetuneProgressBar, ui.finetuneStatusLabel)
        super().__init__(ui, logic, desktop, catalog, setup, status, "finetune", _("Fine-tuning"))
        self.cases = CasesSection(ui, logic, desktop, self.status)
        self.fewCases = FewCasesSection(ui, self.cases, desktop)
        self.locator = LocatorSection(ui, catalog)
        self.findings = FindingsSection(ui, desktop)
        self.drawnImages = RunPicture(ui.drawnImagesLabel)
        self.folds = None
        self._starts = []
        self._filling = False
        self._measured = {}
        self._best = None
        self._report = ""
        ui.startFromSelector.connect("currentIndexChanged(int)", self.onStartChosen)
        ui.newModelNameEdit.connect("textChanged(QString)", self.update)
        ui.mirroredCheckBox.connect("toggled(bool)", self.onChoiceChanged)
        ui.checkButton.connect("clicked()", self.onCheck)
        ui.planButton.connect("clicked()", self.onPlan)
        ui.finetuneButton.connect("clicked()", self.onStartOrStop)
        ui.resumeFinetuneButton.connect("clicked()", self.onResumeOrPause)
        ui.keepBestButton.connect("clicked()", self.onKeepBest)
        ui.finetuneCurvesButton.connect("clicked()", self.onShowCurves)
        ui.foldsReportButton.connect("clicked()", self.onOpenReport)
        self.cases.changed.connect(self.onCasesChanged)
        for section in (self.fewCases, self.locator):
            section.changed.connect(self.onChoiceChanged)
        catalog.changed.connect(self.showStarts)
        catalog.examined.connect(self.update)
        self.showStarts()

    def setParameters(self, parameters):
        """Follow these parameters (None: none) from now on."""
        self.parameters = self.cases.parameters = parameters
        self.locator.setParameters(parameters)
        if parameters is not None:
            self.showStarts()
            self.update()

    # -- what to start from

    def showStarts(self):
        """Models, pre-training runs, and nothing."""
        wanted = self.parameters.startFrom if self.parameters is not None else ""
        self._starts = [
            *(
                (_("Model: {name}").format(name=model["title"]), model["name"], model["name"])
                for model in self.catalog.usable
            ),
            *(
                (_("Pre-training: {name}").format(name=run["name"]), run["path"], PRETRAINING + run["name"])
                for run in self.logic.pretrainings()
            ),
            (_("Nothing (from scratch)"), FROM_NOTHING, FROM_NOTHING),
        ]
        kept = [keptAs for _text, _value, keptAs in self._starts]
        self._filling = True
        self.ui.startFromSelector.clear()
        for text, _value, _kept in self._starts:
            self.ui.startFromSelector.addItem(text)
        # A model for CT is no start for MR: where there are both, nobody but the user can say which one suits.
        modalities = {model.get("modality") for model in self.catalog.usable}
        usual = 0 if len(modalities) < 2 else len(kept) - 1
        self.ui.startFromSelector.setCurrentIndex(kept.index(wanted) if wanted in kept else usual)
        self._filling = False
        missing = wanted and wanted not in kept and bool(self.catalog.models)
        self._sayMissing(wanted.removeprefix(PRETRAINING) if missing else "")
        self.update()

    def onStartChosen(self, index):
        if not self._filling and self.parameters is not None and index >= 0:
            self.parameters.startFrom = self._starts[index][2]
            self._sayMissing("")
            self.onChoiceChanged()

    def _sayMissing(self, name):
        """What a scene names as the start is not on this computer; "" if it is."""
        text = _("{name}, from which this scene starts a training, is not on this computer.").format(name=name)
        self.ui.startHintLabel.text = text if name else ""
        self.ui.startHintLabel.visible = bool(name)

    def initial(self):
        """Name of a model, path of a pre-training run, or "none"."""
        index = self.ui.startFromSelector.currentIndex
        return self._starts[index][1] if 0 <= index < len(self._starts) else FROM_NOTHING

    def onChoiceChanged(self, *_ignored):
        """An earlier plan does not hold any more."""
        if not self.running:
            self._showPlan("")
            self._showDrawnImages("")
        self.update()

    # -- check and plan

    def onCheck(self):
        if not self._cancelled("check", self.ui.checkButton):
            self.logic.checkCases(self.initial())

    def onCasesChanged(self):
        self.findings.clear()
        self.onChoiceChanged()

    def onPlan(self):
        """Say what Start would do."""
        if not self._cancelled("plan", self.ui.planButton):
            self.whenInstalled("train", self.logic.planFinetuning, self._options())

    def _cancelled(self, command, button):
        """Stop what its own button has started, if that runs."""
        if self.logic.work.command != command:
            return False
        button.enabled = False
        self.logic.cancel(command)
        return True

    def onAnnounced(self, fields):
        """What a training says of itself before its first step is a plan, too."""
        text = planText(fields.get("plan") or {})
        if text and self.running:
            self._showPlan(text)

    def _showDrawnImages(self, path):
        """Some of the images that training draws from segmentations alone; "" if it draws none."""
        self.ui.drawnImagesLabel.visible = self.drawnImages.show(path)

    def _showPlan(self, text):
        self.ui.planLabel.text = text
        self.ui.planLabel.visible = bool(text)

    # -- train

    def onStartOrStop(self):
        if self.running:
            self._disableButtons()
            self.status.setExtra(_("Stopping; then a model is made of the best weights so far."))
            self.logic.stopFinetuning(keepBest=True)
            return
        self.whenInstalled("train", self.start, self._options())

    def start(self, options):
        """Train with these `FinetuneOptions`."""
        self._training = (options.title, False)
        self.logic.startFinetuning(options)

    def _options(self):
        return chosen(
            FinetuneOptions,
            self.parameters,
            title=self._name(),
            minutes=float(self.ui.finetuneMinutesSpinBox.value),
            initial=self.initial(),
            **self.fewCases.chosen(),
            **self.locator.chosen(),
        )

    def onResumeOrPause(self):
        if self.running:
            self._disableButtons()
            self.logic.stopFinetuning(keepBest=False)
            return
        unfinished = self.logic.unfinishedTrainings()
        if unfinished:
            self.setup.ensure("train", lambda: self._goOn(unfinished[0], self.logic.resumeFinetuning))

    def _goOn(self, name, action):
        self._training = (name, True)
        action(name)

    def onKeepBest(self):
        unfinished = self.logic.finishableTrainings()
        if unfinished:
            self.setup.ensure("train", lambda: self._goOn(unfinished[0], self.logic.finishFinetuning))

    def onOpenReport(self):
        self.desktop.openFile(self._report)

    # -- what a run tells

    def onStarted(self, command):
        if command == "check":
            # Their report is replaced.
            self.findings.clear()
        if command != "finetune":
            return
        self._measured, self._best, self._report = {}, None, ""
        self.folds = FoldProgress()
        if self._training[1]:
            # What a plan for other cases has shown.
            self._showDrawnImages("")
        self.beginCurves()

    def onProgress(self, phase, done, total, etaSeconds):
        if self.running and (path := self.logic.drawnImages()):
            self._showDrawnImages(path)
        request = self.logic.finetuning
        if request is None or not request.folds:
            super().onProgress(phase, done, total, etaSeconds)
            return
        self.folds.add(phase, done, total, etaSeconds)
        text = self.folds.text()
        if request.pretrainOn and not self.folds.begun:
            text = _("Learning from your scans without labels: {text}").format(text=text)
        self.status.show(text, self.folds.share, self.folds.etaSeconds)
        if phase == "folds":
            self.curves.nextPart()
            self.update()

    def onMetric(self, name, value, fields):
        self.curves.add(name, fields.get("step"), value)
        if value is None or name not in ("loss", "validation_dice"):
            return
        self._measured[name] = value
        if name == "validation_dice":
            self._best = value if self._best is None else max(self._best, value)
        parts = []
        if "loss" in self._measured:
            parts.append(_("Loss: {value}").format(value=f"{self._measured['loss']:.3f}"))
        if self._best is not None:
            parts.append(
                _("Dice on held-out cases: {value} (best {best})").format(
                    value=f"{self._measured['validation_dice']:.2f}", best=f"{self._best:.2f}"
                )
            )
        if self.running and self.catalog.bestModels:
            parts.append(_("the best model so far is on the Segment tab"))
        self.status.setExtra(", ".join(parts))

    def showResult(self, result):
        """A check, a plan or a training is done."""
        if result["command"] == "check":
            self.status.end(self.findings.show(result["problems"], result.get("report") or ""))
        elif result["command"] == "plan":
            self._showPlan(planText(result["plan"]) or _("Nothing more is known before the start."))
            self._showDrawnImages(result.get("drawnImages") or "")
            self.status.end("")
        else:
            self._report = result.get("report") or ""
            self.status.end(doneText(result))

    def onStopped(self, command):
        if command == "finetune":
            self.status.end(_("Paused. Resume continues where it was."))
        else:
            super().onStopped(command)

    def update(self, *_ignored):
        """Enable what can be done now."""
        training, work = self.logic.training.command, self.logic.work.command
        # A check and a plan report where a training does.
        idle = not training and work not in ("check", "plan")
        count = self.cases.count
        ready = bool(count and self._name() and self.fewCases.possible)
        scoring = self.running and not self.logic.foldsDone
        names = self.logic.unfinishedTrainings() if idle else []
        unfinished = bool(names)
        self.ui.checkButton.text = _("Cancel") if work == "check" else _("Check data")
        self.ui.checkButton.enabled = work == "check" or (not work and not self.running and count > 0)
        self.ui.planButton.text = _("Cancel") if work == "plan" else _("Plan")
        self.ui.planButton.enabled = work == "plan" or (not work and not training and ready)
        self.ui.finetuneButton.text = _("Stop and keep the best") if self.running else _("Start")
        self.ui.finetuneButton.enabled = (self.running and not scoring) or (idle and ready)
        self.ui.resumeFinetuneButton.text = _("Pause") if self.running else _("Resume")
        self.ui.resumeFinetuneButton.enabled = self.running or unfinished
        self.ui.resumeFinetuneButton.toolTip = (
            _("Continue the training {name} that was stopped.").format(name=names[0])
            if names
            else _("Stop for now; Resume continues later.")
        )
        self.ui.keepBestButton.enabled = unfinished and bool(self.logic.finishableTrainings())
        self.ui.finetuneCurvesButton.enabled = self.curves.chart is not None
        self.ui.foldsReportButton.visible = bool(self._report) and not self.running
        self.ui.finetuneDeviceLabel.text = Texts.deviceText(self.catalog.examination, self.deviceChoice, training=True)
        self.ui.keepBestHintLabel.visible = scoring or (unfinished and not self.ui.keepBestButton.enabled)
        self.fewCases.update(self.initial() != FROM_NOTHING)
        self.cases.update()

    def _name(self):
        return self.ui.newModelNameEdit.text.strip()

    def _disableButtons(self):
        self.ui.finetuneButton.enabled = False
        self.ui.resumeFinetuneButton.enabled = False
        self.ui.keepBestButton.enabled = False
