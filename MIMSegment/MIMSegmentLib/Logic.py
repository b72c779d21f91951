import logging
import os

import slicer

from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Process import Command
from MIMSegmentLib.Process.Backend import Backend
from MIMSegmentLib.Process.BackendRun import removeLeftOvers
from MIMSegmentLib.Process.ProcessRunner import ProcessRunner
from MIMSegmentLib.Runs.CheckRuns import CheckRuns
from MIMSegmentLib.Runs.PlanRuns import PlanRuns
from MIMSegmentLib.Runs.Questions import Questions
from MIMSegmentLib.Runs.RankRuns import RankRuns
from MIMSegmentLib.Runs.RunSlot import RunSlot
from MIMSegmentLib.Runs.SegmentRun import SegmentRun, expectedSeconds
from MIMSegmentLib.Runs.TrainingRuns import TrainingRuns
from MIMSegmentLib.Runs.Trainings import Trainings
from MIMSegmentLib.Scene.Cases import Cases
from MIMSegmentLib.Scene.DicomSource import checkDicom, passOn
from MIMSegmentLib.Scene.ResultFiles import ResultFiles
from MIMSegmentLib.Scene.Scene import Scene
from MIMSegmentLib.Scene.SceneClosing import SceneClosing
from MIMSegmentLib.Signal import Signal


class Logic:
    """What the buttons of the panel do; usable without the panel.

    Two runs at a time: a training (finetune, pretrain) in the slot `training`, and beside it something shorter
    (segment, check, plan, rank) in the slot `work`; questions about models and the computer may be asked meanwhile.
    Nothing blocks: the signals of the two slots, see `RunSlot`, tell what happens.

    Signals:
        message(str), for the log, of everything that runs
        modelsChanged(), a model was added or removed, or another Python looks for them
    Attributes:
        cases, the table of training cases: a `Cases`

    :param scene: default slicer.mrmlScene.
    :param backend: default the one that comes with the module.
    :param dataFolder: for training cases and runs; default beside the user's models.
    """

    def __init__(self, scene=None, backend=None, dataFolder=None, makeRunner=ProcessRunner):
        self.message = Signal("message")
        self.modelsChanged = Signal("modelsChanged")
        self.backend = backend or Backend()
        self.scene = Scene(scene if scene is not None else slicer.mrmlScene)
        self.dataFolder = dataFolder or self.backend.dataFolder()
        self.work = RunSlot(self.backend, makeRunner)
        self.training = RunSlot(self.backend, makeRunner)
        self._questions = Questions(self.backend, makeRunner)
        self._trainings = Trainings(self.dataFolder, self.backend)
        self.cases = Cases(os.path.join(self.dataFolder, "cases"))
        self._checkRuns = CheckRuns(self.work, os.path.join(self.dataFolder, "check"))
        self._planRuns = PlanRuns(self.work, self._trainings, os.path.join(self.dataFolder, "plan"))
        self._rankRuns = RankRuns(self.work, self.scene, os.path.join(self.dataFolder, "ranking"))
        self._trainingRuns = TrainingRuns(self.training, self._trainings, self.modelsChanged.emit)
        for source in (self.work, self.training, self._questions):
            source.message.connect(self.message.emit)
        self._questions.modelsChanged.connect(self.modelsChanged.emit)
        removeLeftOvers()
        self._sceneClosing = SceneClosing(self.scene.scene, self._onSceneClose)

    # -- state

    @property
    def running(self):
        """The command that runs, or "" if none; the shorter one if a training runs, too."""
        return self.work.command or self.training.command

    @property
    def processId(self):
        """Number of the process of what `running` tells, 0 if none runs."""
        return self.work.processId or self.training.processId

    def cancel(self, command=""):
        """Stop a run, by default all (a training keeps what `resume...` needs). `stopped` tells when it is done."""
        if self.work.command and command in ("", self.work.command):
            self.work.stop()
        if self.training.command and command in ("", self.training.command):
            self._trainingRuns.stop()

    def shutdown(self):
        """Stop everything and wait for it: Slicer closes, or the module is reloaded."""
        self._sceneClosing.stop()
        self.scene.tables.stop()
        self.work.stopAndWait()
        self.training.stopAndWait()
        self._questions.stopAndWait()

    def useInterpreter(self, path):
        """Run the backend with this Python from now on; empty means Slicer's."""
        path = str(path or "").strip()
        if path != self.backend.interpreter:
            self.backend.interpreter = path
            self.modelsChanged.emit()

    def _onSceneClose(self):
        # A training works on files and goes on; a result that belongs to the old scene is not wanted any more.
        if self.work.command == "segment":
            self.work.stop()

    # -- Segment

    def segment(self, volumeNodes, options, roiNodes=()):
        """Segment volumes of the scene, all in one process, also while a training runs.

        finished: `segmentations` (new nodes, in the order of the volumes), `tables` (one for each), `sequences`
        (new vtkMRMLSequenceNodes), `device`, `engine`, `seconds`, `failures` (names of volumes without result).

        :param volumeNodes: a list of nodes; for a model of several channels, of a tuple of nodes for each case.
        :param options: `Command.SegmentOptions`.
        :param roiNodes: vtkMRMLMarkupsROINodes; none for the whole volume.
        """
        SegmentRun(self.work, self.scene, volumeNodes, options).start(roiNodes)

    def exportResult(self, segmentationNode, folder, formats=(".seg.nrrd",), warn=logging.warning):
        """Write a segmentation and its volume table; returns the paths.

        :param formats: of ".nii.gz", ".nrrd", ".seg.nrrd", "labelmap" (a node in the scene instead of a file), and
            ".dcm", for which only the table is written here: see `exportDicom`.
        :param warn: is told, in a sentence, of what a labelmap cannot hold.
        :raises Problem: if it cannot be written; nothing incomplete is left.
        """
        return ResultFiles(self.scene).write(segmentationNode, folder, formats, warn)

    def exportDicom(self, segmentationNode, folder, callback):
        """Write a DICOM segmentation of the series that the volume was loaded from. answer.result["output"].

        :raises Problem: the volume is not from DICOM (see `checkDicom`), or the files cannot be passed on.
        """
        path = os.path.abspath(ResultFiles.dicomPath(segmentationNode, folder))

        def prepare(runFolder):
            return Command.convertArguments(*passOn(self.scene, segmentationNode, runFolder), path)

        self._questions.ask(prepare, callback)

    @staticmethod
    def checkDicom(segmentationNode):
        """Quickly: may the segmentation become a DICOM segmentation?

        :raises Problem: it may not; the message says why.
        """
        checkDicom(segmentationNode)

    @staticmethod
    def wouldReplace(segmentationNode, folder, formats):
        """Names of the files that `exportResult` would replace."""
        return ResultFiles.existing(segmentationNode, folder, formats)

    def expectedSeconds(self, modelName, boxed=False):
        """How long the last volume took with this model on this computer, in boxes or whole, or None."""
        return expectedSeconds(modelName, boxed)

    # -- Fine-tune

    def findCases(self, folder, callback):
        """Which files of a folder belong together: callback(what `cases.addFromFolder` takes, or a Problem)."""

        def onAnswer(answer):
            if answer.ok or answer.code == "no-dataset":
                callback(answer.result or {})
            else:
                callback(Problem(answer.message, answer.hint))

        self._questions.ask(Command.pairsArguments(folder), onAnswer)

    def checkCases(self, initial=""):
        """Look for what is wrong with the cases.

        finished: `problems`, a list of {case, severity ("error", "warning", "note"), message, remedy, numbers};
        `report`, path of an HTML file with pictures, or "".

        :param initial: what training is to start from, as for `startFinetuning`: do the cases suit it?
        """
        self._checkRuns.start(self.cases, initial)

    def planFinetuning(self, options):
        """Say what `startFinetuning` with the same options would do, after a short probe.

        finished: `plan`, as the backend reports it; `drawnImages`, path of a picture of images that are drawn from
        segmentations alone, or "".
        """
        self._planRuns.start(self.cases, options)

    def startFinetuning(self, options):
        """Train a model on the cases, with `Command.FinetuneOptions`.

        metric: loss, validation_dice. finished: `model` (its name), `path`, `validation_dice`, `scores` (as in
        segmentation.json), `cases` (names of case 1, 2, ... in the scores of folds), `report` (path of an HTML file on
        the folds, or "").
        """
        self._trainingRuns.start("finetune", lambda: self._trainings.newFinetuning(self.cases, options))

    def stopFinetuning(self, keepBest=True):
        """Stop; with `keepBest` the model is then made of the best weights so far (finished), else stopped."""
        if self.training.command == "finetune":
            self._trainingRuns.stop(keepBest)

    def resumeFinetuning(self, name, minutes=None):
        """Continue an unfinished training, by default, and always with folds, with the minutes it was started with."""
        self._trainingRuns.resume("finetune", name, minutes)

    def finishFinetuning(self, name):
        """Make the model of the best weights of an unfinished training, see `finishableTrainings`."""
        self._trainingRuns.resume("finetune", name, finish=True)

    def unfinishedTrainings(self):
        """Names for `resumeFinetuning`, the latest first."""
        return self._trainings.unfinished("finetune")

    def trainingsNeeding(self, cases):
        """Those of `unfinishedTrainings` that cannot go on without one of these cases (identifiers)."""
        return self._trainings.needing(cases)

    def finishableTrainings(self):
        """Names for `finishFinetuning`, the latest first."""
        return self._trainings.finishable()

    @property
    def finetuning(self):
        """The `FinetuneRequest` of the fine-tuning that runs, or None."""
        return self._trainings.current if self.training.command == "finetune" else None

    @property
    def foldsDone(self):
        """False while a fine-tuning still scores cases: its best so far cannot be kept then."""
        request = self.finetuning
        return request is None or self._trainings.foldsDone(request)

    def drawnImages(self):
        """Path of the picture of images that the running or last fine-tuning draws from segmentations, or None."""
        return self._trainings.drawnImages()

    def bestModels(self):
        """Best models so far of unfinished trainings, for `segment`: list of {"name" (a path), "title"}."""
        return self._trainings.bestModels()

    def reportOf(self, modelPath):
        """Path of the report on the folds of a model, or ""."""
        return self._trainings.reportOf(modelPath)

    # -- Which case to label next

    def rankCases(self, folder, modelName):
        """Which scans without labels to label next: those that the model doubts and that are unlike each other.

        finished: `cases`, a list of `RankedCase`; `report`, path of an HTML file.
        """
        self._rankRuns.start(folder, modelName, self.cases)

    def ranking(self):
        """The last ranking's list of `RankedCase`."""
        return self._rankRuns.last()

    def loadRankedCase(self, case):
        """Load a `RankedCase` into the scene: returns volume, segmentation and uncertainty nodes (or None each).

        :raises Problem: if the scan or what was proposed for it cannot be read.
        """
        return self._rankRuns.load(case)

    # -- Pre-train

    def startPretraining(self, options):
        """Pre-train with `Command.PretrainOptions`. finished: `run` (folder), `validation_loss`."""
        self._trainingRuns.start("pretrain", lambda: self._trainings.newPretraining(options))

    def stopPretraining(self):
        """Stop; `resumePretraining` continues."""
        self.cancel("pretrain")

    def resumePretraining(self, name, minutes=None):
        """Continue a stopped pre-training, by default with the minutes it was started with."""
        self._trainingRuns.resume("pretrain", name, minutes)

    def unfinishedPretrainings(self):
        """Names for `resumePretraining`, the latest first."""
        return self._trainings.unfinished("pretrain")

    def pretrainings(self):
        """Finished runs as {"name", "path"}, the latest first, to start a fine-tuning from."""
        return self._trainings.pretrainings()

    def reconstructionPicture(self):
        """Path of the picture of the running or last pre-training, or None."""
        return self._trainings.reconstructionPicture()

    # -- Models and computer: callback(Answer), see Process/Answer

    def listModels(self, callback):
        """answer.result["models"]: list of {name, path, shipped, title, version, modality, labels} or {.., fault}."""
        self._questions.ask(Command.modelsArguments("list"), callback)

    def showModel(self, name, callback):
        """answer.result: name, version, path, size_bytes, description (segmentation.json)."""
        self._questions.ask(Command.modelsArguments("show", name), callback)

    def importModel(self, path, callback, replace=False):
        """answer.result: name, version, path, size_bytes. answer.code tells if the name is taken."""
        self._questions.ask(
            Command.modelsArguments("import", os.path.abspath(path), replace=replace), callback, changesModels=True
        )

    def exportModel(self, name, path, callback):
        """answer.result["file"]."""
        self._questions.ask(Command.modelsArguments("export", name, os.path.abspath(path)), callback)

    def removeModel(self, name, callback):
        """answer.result["removed"]."""
        self._questions.ask(Command.modelsArguments("remove", name), callback, changesModels=True)

    def modelsFolder(self):
        """Where imported and trained models lie."""
        return self.backend.modelsFolder()

    def checkComputer(self, callback, quick=False):
        """answer.result: what `mimseg doctor` found."""
        self._questions.ask(Command.doctorArguments(quick), callback)
