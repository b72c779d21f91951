from slicer.i18n import tr as _

from MIMSegmentLib import Texts
from MIMSegmentLib.CasesSection import CasesSection
from MIMSegmentLib.Curves import Curves
from MIMSegmentLib.RunStatus import RunStatus

FROM_NOTHING = "none"


class FinetuneTab:
    """Labeled cases -> check -> train -> a new model."""

    def __init__(self, ui, logic, desktop, catalog, setup):
        self.ui = ui
        self.logic = logic
        self.desktop = desktop
        self.catalog = catalog
        self.setup = setup
        self.parameters = None
        self.status = RunStatus(ui.finetuneProgressBar, ui.finetuneStatusLabel)
        self.cases = CasesSection(ui, logic, desktop, self.status)
        self.curves = Curves(logic.scene.scene, _("Fine-tuning"))
        self._starts = []
        self._filling = False
        self._measured = {}
        self._best = None
        ui.startFromSelector.connect("currentIndexChanged(int)", self.onStartChosen)
        ui.newModelNameEdit.connect("textChanged(QString)", self.update)
        ui.checkButton.connect("clicked()", self.onCheck)
        ui.finetuneButton.connect("clicked()", self.onStartOrKeepBest)
        ui.resumeFinetuneButton.connect("clicked()", self.onResumeOrPause)
        ui.keepBestButton.connect("clicked()", self.onKeepBest)
        ui.finetuneCurvesButton.connect("clicked()", self.onShowCurves)
        self.cases.changed.connect(self.onCasesChanged)
        catalog.changed.connect(self.showStarts)
        catalog.examined.connect(self.update)
        self.showStarts()

    def setParameters(self, parameters):
        """Follow these parameters (None: none) from now on."""
        self.parameters = self.cases.parameters = parameters
        if parameters is not None:
            self.showStarts()
            self.update()

    # -- what to start from

    def showStarts(self):
        """Models, pre-training runs, and nothing."""
        wanted = self.parameters.startFrom if self.parameters is not None else ""
        self._starts = [
            *((_("Model: {name}").format(name=model["title"]), model["name"]) for model in self.catalog.usable),
            *((_("Pre-training: {name}").format(name=run["name"]), run["path"]) for run in self.logic.pretrainings()),
            (_("Nothing (from scratch)"), FROM_NOTHING),
        ]
        values = [value for _text, value in self._starts]
        self._filling = True
        self.ui.startFromSelector.clear()
        for text, _value in self._starts:
            self.ui.startFromSelector.addItem(text)
        self.ui.startFromSelector.setCurrentIndex(values.index(wanted) if wanted in values else 0)
        self._filling = False

    def onStartChosen(self, index):
        if not self._filling and self.parameters is not None and index >= 0:
            self.parameters.startFrom = self._starts[index][1]

    def initial(self):
        """Name of a model, path of a pre-training run, or "none"."""
        index = self.ui.startFromSelector.currentIndex
        return self._starts[index][1] if 0 <= index < len(self._starts) else FROM_NOTHING

    # -- check

    def onCheck(self):
        initial = self.initial()
        isModel = any(model["name"] == initial for model in self.catalog.usable)
        self.logic.checkCases(initial if isModel else "")

    def showProblems(self, problems):
        """List what is wrong with the cases, in plain words."""
        entries = self.ui.problemsList
        entries.clear()
        for problem in problems:
            where = problem.get("case") or ""
            lines = [f"{where}: {problem['message']}" if where else problem["message"]]
            lines += [problem["remedy"]] if problem.get("remedy") else []
            entries.addItem("\n".join(lines))
        entries.visible = bool(problems)
        errors = sum(problem.get("severity") == "error" for problem in problems)
        if not problems:
            self.status.end(_("No problem found."))
        elif errors:
            self.status.end(_("{count} problems must be solved before training.").format(count=errors))
        else:
            self.status.end(_("Training is possible; please read the notes."))

    def onCasesChanged(self):
        self.ui.problemsList.clear()
        self.ui.problemsList.visible = False
        self.update()

    # -- train

    @property
    def running(self):
        return self.logic.running == "finetune"

    def onStartOrKeepBest(self):
        if self.running:
            self._disableButtons()
            self.status.setExtra(_("Stopping; then a model is made of the best weights so far."))
            self.logic.stopFinetuning(keepBest=True)
            return
        self.setup.ensure("train", self.start)

    def start(self):
        """Train with what is chosen."""
        device = Texts.deviceArgument(self.parameters.device, self.catalog.examination)
        minutes = self.ui.finetuneMinutesSpinBox.value
        self.logic.startFinetuning(self._name(), minutes, self.initial(), device)

    def onResumeOrPause(self):
        if self.running:
            self._disableButtons()
            self.logic.stopFinetuning(keepBest=False)
            return
        unfinished = self.logic.unfinishedTrainings()
        if unfinished:
            self.setup.ensure("train", lambda: self.logic.resumeFinetuning(unfinished[0]))

    def onKeepBest(self):
        unfinished = self.logic.unfinishedTrainings()
        if unfinished:
            self.setup.ensure("train", lambda: self.logic.finishFinetuning(unfinished[0]))

    def onShowCurves(self):
        if self.curves.chart is not None:
            self.desktop.showChart(self.curves.chart)

    def onStarted(self, command="finetune"):
        if command != "finetune":
            return
        self._measured, self._best = {}, None
        self.curves.begin()
        self.desktop.showChart(self.curves.chart)

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
        self.status.setExtra(", ".join(parts))

    def showResult(self, result):
        """A check or a training is done."""
        if "problems" in result:
            self.showProblems(result["problems"])
            return
        dice = result.get("validation_dice")
        text = _("Done. The model {name} is now chosen on the Segment tab.").format(name=result["model"])
        if dice is not None:
            text += " " + _("Mean Dice on held-out cases: {dice}.").format(dice=f"{dice:.2f}")
        else:
            text += " " + _("Its accuracy is unknown: no case was held out. Five or more cases are needed for that.")
        self.status.end(text)

    def onStopped(self):
        self.status.end(_("Paused. Resume continues where it was."))

    def sceneClosed(self):
        """The curves are gone with the scene."""
        self.curves.forget()
        self.update()

    def update(self, *_ignored):
        """Enable what can be done now."""
        idle = not self.logic.running
        count = self.cases.count
        self.ui.checkButton.enabled = idle and count > 0
        self.ui.finetuneButton.text = _("Stop and keep the best") if self.running else _("Start")
        self.ui.finetuneButton.enabled = self.running or bool(idle and count and self._name())
        self.ui.resumeFinetuneButton.text = _("Pause") if self.running else _("Resume")
        unfinished = idle and bool(self.logic.unfinishedTrainings())
        self.ui.resumeFinetuneButton.enabled = self.running or unfinished
        self.ui.keepBestButton.enabled = unfinished
        self.ui.finetuneCurvesButton.enabled = self.curves.chart is not None
        choice = self.parameters.device if self.parameters is not None else "auto"
        self.ui.finetuneDeviceLabel.text = Texts.deviceText(self.catalog.examination, choice, training=True)
        self.cases.update()

    def _name(self):
        return self.ui.newModelNameEdit.text.strip()

    def _disableButtons(self):
        self.ui.finetuneButton.enabled = False
        self.ui.resumeFinetuneButton.enabled = False
        self.ui.keepBestButton.enabled = False
