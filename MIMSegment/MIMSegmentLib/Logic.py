import logging
import os
import re
import weakref

import slicer
from slicer.i18n import tr as _

from MIMSegmentLib import Command
from MIMSegmentLib.Backend import Backend
from MIMSegmentLib.BackendRun import BackendRun, removeLeftOvers
from MIMSegmentLib.Cases import Cases
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.ProcessRunner import ProcessRunner
from MIMSegmentLib.Questions import Questions
from MIMSegmentLib.ResultFiles import ResultFiles
from MIMSegmentLib.Scene import Scene
from MIMSegmentLib.SegmentJob import SegmentJob
from MIMSegmentLib.Signal import Signal
from MIMSegmentLib.Trainings import Trainings

# A training that is stopped finishes its step, which may take long without a GPU, and writes a checkpoint.
CHECKPOINT_MILLISECONDS = 30000


class Logic:
    """What the buttons of the panel do; usable without the panel.

    One run at a time (segment, check, finetune, pretrain); questions about models and the computer may be asked
    meanwhile. Nothing blocks: the signals tell what happens.

    Signals:
        started(str command)
        progress(str phase, float done, float total, float or None etaSeconds)
        message(str), for the log
        warning(str code, str message), the run goes on
        metric(str name, float value, dict fields), e.g. `loss` and `validation_dice` with `step` in fields
        finished(dict result), `command` in it names the run; see the methods for the rest
        failed(str message, str hint), one sentence and one remedy
        stopped(str command), the user's wish was carried out
        modelsChanged(), a model was added or removed, or another Python looks for them
    After `started`, exactly one of finished, failed and stopped follows; `running` is "" again by then, the process
    is gone and its temporary folder too.

    :param scene: default slicer.mrmlScene.
    :param backend: default the one that comes with the module.
    :param dataFolder: for training cases and runs; default beside the user's models.
    """

    def __init__(self, scene=None, backend=None, dataFolder=None, makeRunner=ProcessRunner):
        self.started = Signal("started")
        self.progress = Signal("progress")
        self.message = Signal("message")
        self.warning = Signal("warning")
        self.metric = Signal("metric")
        self.finished = Signal("finished")
        self.failed = Signal("failed")
        self.stopped = Signal("stopped")
        self.modelsChanged = Signal("modelsChanged")
        self.backend = backend or Backend()
        self.scene = Scene(scene if scene is not None else slicer.mrmlScene)
        self.dataFolder = dataFolder or self.backend.dataFolder()
        self._makeRunner = makeRunner
        self._run = None
        self._command = ""
        self._outcome = None
        self._translate = str
        self._keepBest = False
        self._questions = Questions(self.backend, makeRunner)
        self._questions.message.connect(self.message.emit)
        self._modalities = {}
        self._trainings = Trainings(self.dataFolder, self.backend)
        self._cases = None
        removeLeftOvers(_temporaryParent())
        # The scene must not keep alive what nobody else wants any more.
        onSceneClose = weakref.WeakMethod(self._onSceneClose)
        self._observer = self.scene.scene.AddObserver(
            slicer.vtkMRMLScene.StartCloseEvent, lambda _caller, _event: (onSceneClose() or (lambda: None))()
        )

    # -- state

    @property
    def running(self):
        """The command that runs: "segment", "check", "finetune", "pretrain", or "" if none."""
        return self._command

    @property
    def processId(self):
        """Number of the backend's process, 0 if none runs."""
        return self._run.processId if self._run is not None else 0

    def cancel(self):
        """Stop whatever runs (a training keeps what `resume...` needs). `stopped` tells when it is done."""
        self._keepBest = False
        self._stop()

    def shutdown(self):
        """Stop everything and wait for it: Slicer closes, or the module is reloaded."""
        if self._observer is not None:
            self.scene.scene.RemoveObserver(self._observer)
            self._observer = None
        self._keepBest = False
        if self._run is not None:
            self._run.stopAndWait()
        self._questions.stopAndWait()

    def useInterpreter(self, path):
        """Run the backend with this Python from now on; empty means Slicer's."""
        path = str(path or "").strip()
        if path != self.backend.interpreter:
            self.backend.interpreter = path
            self.modelsChanged.emit()

    # -- Segment

    def segment(self, volumeNodes, modelName, device="auto", roiNode=None, labels=(), wholeSequence=False):
        """Segment volumes of the scene, all in one process.

        finished: `segmentations` (new nodes, in the order of the volumes), `tables` (one for each), `sequences`
        (new vtkMRMLSequenceNodes), `device`, `engine`, `seconds`, `failures` (names of volumes without result).

        :param volumeNodes: one node or several; for a model of several channels, a tuple of nodes for each case.
        :param roiNode: vtkMRMLMarkupsROINode, a list of them, or None for the whole volume.
        :param labels: names of the structures to keep; empty keeps all.
        :param wholeSequence: every time point of volumes that belong to a sequence.
        """
        run = self._newRun("segment")
        try:
            if not modelName:
                raise Problem(_("No model is chosen."), _("Choose a model, or import one in the tab 'Models'."))
            job = SegmentJob(self.scene, _asList(volumeNodes), tuple(labels), wholeSequence)
            request = job.prepare(run.folder, modelName, device, _asList(roiNode))
        except Exception as fault:
            self._refuse(fault)
            return
        self._translate = job.readable

        def onDone(answer):
            files = job.results(answer, run.folder)
            if not files or answer.stopped:
                return self._failureOf(answer)
            result = job.importResults(files, modelName)
            facts = {name: run.facts.get(name) for name in ("device", "engine")}
            if answer.ok:
                self._rememberSeconds(modelName, answer.result)
            seconds = answer.result.get("seconds") if answer.ok else None
            return lambda: self._finish({**result, **facts, "seconds": seconds})

        self._start(run, request.arguments(), onDone)

    def exportResult(self, segmentationNode, folder, formats=(".seg.nrrd",)):
        """Write a segmentation and its volume table; returns the paths, or [] after `failed`.

        :param formats: of ".nii.gz", ".nrrd", ".seg.nrrd", "labelmap" (a node in the scene instead of a file).
        """
        try:
            return ResultFiles(self.scene).write(segmentationNode, folder, formats)
        except Problem as problem:
            self.failed.emit(problem.message, problem.hint)
            return []

    def expectedSeconds(self, modelName):
        """How long the last volume took with this model on this computer, or None."""
        value = _settings().value(f"MIMSegment/seconds/{_settingsKey(modelName)}")
        try:
            return float(value)
        except (TypeError, ValueError):
            return None

    # -- Fine-tune

    @property
    def cases(self):
        """The table of training cases: a `Cases`. Assign a folder to `casesFolder` for another table."""
        if self._cases is None:
            self._cases = Cases(os.path.join(self.dataFolder, "cases"))
        return self._cases

    @property
    def casesFolder(self):
        return self.cases.folder

    @casesFolder.setter
    def casesFolder(self, folder):
        self._cases = Cases(folder)

    def checkCases(self, modelName=""):
        """finished: `problems`, a list of {case, severity ("error", "warning", "note"), message, remedy}.

        :param modelName: of the model that training is to start from, if any.
        """
        run = self._newRun("check")
        problems = self.cases.problems()
        try:
            if any(problem["severity"] == "error" for problem in problems):
                # The backend would only say the first of them.
                run.discard()
                self._release()
                self._finish({"command": "check", "problems": problems})
                return
            cases, labels = self.cases.writeTrainingList(run.folder)
        except Exception as fault:
            self._refuse(fault)
            return

        def onDone(answer):
            if not answer.ok:
                return self._failureOf(answer)
            found = [dict(problem) for problem in answer.result.get("problems") or ()]
            return lambda: self._finish({"command": "check", "problems": [*problems, *found]})

        self._start(run, Command.checkArguments(cases, labels, self._modalities.get(modelName, "")), onDone)

    def startFinetuning(self, title, minutes, initial="none", device="auto", more=()):
        """Train a model named `title` on the cases.

        metric: loss, validation_dice. finished: `model` (its name), `path`, `validation_dice`.

        :param initial: name of a model, path of a pre-training run, or "none".
        :param more: further arguments of `mimseg finetune`.
        """
        run = self._newRun("finetune")
        try:
            request = self._trainings.newFinetuning(self.cases, title, minutes, initial, device, more)
        except Exception as fault:
            self._refuse(fault)
            return
        self._train(run, request)

    def stopFinetuning(self, keepBest=True):
        """Stop; with `keepBest` the model is then made of the best weights so far (finished), else stopped."""
        if self._command != "finetune":
            return
        self._keepBest = keepBest
        self._stop()

    def resumeFinetuning(self, name, minutes=None):
        """Continue an unfinished training, by default with the minutes it was started with."""
        self._resume("finetune", name, minutes=minutes)

    def finishFinetuning(self, name):
        """Make the model of the best weights of an unfinished training."""
        self._resume("finetune", name, finish=True)

    def unfinishedTrainings(self):
        """Names for `resumeFinetuning`, the latest first."""
        return self._trainings.unfinished("finetune")

    # -- Pre-train

    def startPretraining(self, folders, title, minutes, device="auto", more=()):
        """Pre-train on all volumes below `folders`. finished: `run` (folder), `validation_loss`."""
        run = self._newRun("pretrain")
        try:
            request = self._trainings.newPretraining(_asList(folders), title, minutes, device, more)
        except Exception as fault:
            self._refuse(fault)
            return
        self._train(run, request)

    def stopPretraining(self):
        """Stop; `resumePretraining` continues."""
        if self._command == "pretrain":
            self.cancel()

    def resumePretraining(self, name, minutes=None):
        """Continue a stopped pre-training, by default with the minutes it was started with."""
        self._resume("pretrain", name, minutes=minutes)

    def unfinishedPretrainings(self):
        """Names for `resumePretraining`, the latest first."""
        return self._trainings.unfinished("pretrain")

    def pretrainings(self):
        """Finished runs as {"name", "path"}, the latest first, to start a fine-tuning from."""
        return self._trainings.pretrainings()

    def reconstructionPicture(self):
        """Path of the picture of the running or last pre-training, or None."""
        return self._trainings.reconstructionPicture()

    # -- Models and computer: callback(Answer), see Command.Answer

    def listModels(self, callback):
        """answer.result["models"]: list of {name, path, shipped, title, version, modality, labels} or {.., fault}."""

        def onAnswer(answer):
            if answer.ok:
                entries = answer.result.get("models") or ()
                self._modalities = {entry.get("name"): entry.get("modality") or "" for entry in entries}
            callback(answer)

        self._ask(Command.modelsArguments("list"), onAnswer)

    def showModel(self, name, callback):
        """answer.result: name, version, path, size_bytes, description (segmentation.json)."""
        self._ask(Command.modelsArguments("show", name), callback)

    def importModel(self, path, callback, replace=False):
        """answer.result: name, version, path, size_bytes. answer.code tells if the name is taken."""
        self._ask(Command.modelsArguments("import", os.path.abspath(path), replace=replace), callback, changes=True)

    def exportModel(self, name, path, callback):
        """answer.result["file"]."""
        self._ask(Command.modelsArguments("export", name, os.path.abspath(path)), callback)

    def removeModel(self, name, callback):
        """answer.result["removed"]."""
        self._ask(Command.modelsArguments("remove", name), callback, changes=True)

    def modelsFolder(self):
        """Where imported and trained models lie."""
        return self.backend.modelsFolder()

    def checkComputer(self, callback, quick=False):
        """answer.result: what `mimseg doctor` found."""
        self._ask(Command.doctorArguments(quick), callback)

    # -- runs

    def _newRun(self, command):
        if self._command:
            raise RuntimeError(f"'{self._command}' is running: wait for it, or cancel it.")
        self._command = command
        self._keepBest = False
        self._translate = str
        self._run = BackendRun(self.backend, (), self._makeRunner, _temporaryParent())
        self.started.emit(command)
        return self._run

    def _start(self, run, arguments, onDone):
        """:param onDone: takes the Answer while the temporary folder exists, returns what is to follow its removal."""
        run.arguments = list(arguments)
        run.event.connect(self._onEvent)
        run.log.connect(lambda text: self.message.emit(self._translate(text)))
        run.done.connect(lambda answer: self._onDone(onDone, answer))
        run.ended.connect(self._onEnded)
        run.start()

    def _onDone(self, onDone, answer):
        # Whatever goes wrong with the result, the run must come to an end that the panel hears of.
        self._outcome = lambda: self.failed.emit(
            _("The result could not be taken over."), _("See the log of Slicer (View / Error Log).")
        )
        try:
            self._outcome = onDone(answer)
        except Problem as problem:
            message, hint = problem.message, problem.hint
            self._outcome = lambda: self.failed.emit(message, hint)

    def _onEnded(self):
        outcome, self._outcome = self._outcome, None
        if outcome is not None and getattr(outcome, "goesOn", False):
            outcome()
            return
        self._release()
        if outcome is not None:
            outcome()

    def _stop(self):
        if self._run is not None:
            training = self._command in ("finetune", "pretrain")
            self._run.stop(CHECKPOINT_MILLISECONDS if training else None)

    def _release(self):
        self._run = None
        self._command = ""

    def _refuse(self, fault):
        """End a run that could not be started; whatever went wrong, the panel must be able to start another."""
        problem = fault
        if not isinstance(fault, Problem):
            logging.error("A run could not be prepared", exc_info=fault)
            problem = Problem(
                _("The run could not be prepared ({fault}).").format(fault=fault or type(fault).__name__),
                _("See the log of Slicer (View / Error Log)."),
            )
        self._run.discard()
        self._release()
        self.failed.emit(problem.message, problem.hint)

    def _finish(self, result):
        self.finished.emit(result)

    def _failureOf(self, answer):
        command = self._command
        if answer.stopped:
            return lambda: self.stopped.emit(command)
        message, hint = self._translate(answer.message), self._translate(answer.hint)
        return lambda: self.failed.emit(message, hint)

    def _onEvent(self, event):
        fields = event.fields
        if event.kind == "progress":
            phase, done, total = str(fields.get("phase")), fields.get("done") or 0, fields.get("total") or 0
            self.progress.emit(phase, done, total, fields.get("eta_s"))
        elif event.kind == "metric" and isinstance(fields.get("value"), (int, float)):
            rest = {name: value for name, value in fields.items() if name not in ("name", "value")}
            self.metric.emit(str(fields.get("name")), float(fields["value"]), rest)
        elif event.kind == "warning":
            self.warning.emit(str(fields.get("code")), self._translate(str(fields.get("message"))))
        elif event.kind == "start":
            facts = ", ".join(f"{name}: {value}" for name, value in fields.items() if value not in (None, ""))
            self.message.emit(facts)

    def _onSceneClose(self):
        # A training works on files and goes on; a result that belongs to the old scene is not wanted any more.
        if self._command == "segment" and self._run is not None:
            self._run.stop()

    # -- training

    def _resume(self, command, name, minutes=None, finish=False):
        run = self._newRun(command)
        try:
            request = self._trainings.resumed(command, name, minutes, finish)
        except Exception as fault:
            self._refuse(fault)
            return
        self._train(run, request)

    def _train(self, run, request):
        def onDone(answer):
            if answer.ok:
                return lambda: self._finishTraining(request, answer.result)
            keepBest = self._keepBest and answer.stopped and self._trainings.hasCheckpoint(request)
            if not keepBest:
                return self._failureOf(answer)

            def finish():
                # Still the same run for the panel.
                self._keepBest = False
                self._run = BackendRun(self.backend, (), self._makeRunner, _temporaryParent())
                self._train(self._run, self._trainings.finishing(request))

            finish.goesOn = True
            return finish

        self._trainings.current = request
        self._start(run, request.arguments(), onDone)

    def _finishTraining(self, request, result):
        kind = "finetune" if isinstance(request, Command.FinetuneRequest) else "pretrain"
        if kind == "finetune":
            self._trainings.forget(request)
            result = {**result, "model": os.path.basename(request.output), "path": request.output}
            self.modelsChanged.emit()
        self._finish({**result, "command": kind})

    # -- questions

    def _ask(self, arguments, callback, changes=False):
        def onAnswer(answer):
            if changes and answer.ok:
                self.modelsChanged.emit()
            callback(answer)

        self._questions.ask(arguments, onAnswer, _temporaryParent())

    def _rememberSeconds(self, modelName, result):
        outputs = result.get("outputs") or ()
        seconds = [entry.get("seconds") for entry in outputs if isinstance(entry.get("seconds"), (int, float))]
        if seconds:
            _settings().setValue(f"MIMSegment/seconds/{_settingsKey(modelName)}", float(seconds[-1]))


def _asList(value):
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _temporaryParent():
    """Slicer's own temporary folder, which the user may have moved to a larger disk."""
    path = str(getattr(getattr(slicer, "app", None), "temporaryPath", "") or "")
    return path if os.path.isdir(path) else None


def _settings():
    import qt

    return qt.QSettings()


def _settingsKey(modelName):
    return re.sub(r"[^A-Za-z0-9._-]+", "_", str(modelName))
