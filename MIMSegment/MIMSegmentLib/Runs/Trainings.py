import csv
import json
import os
import re
import shutil
import unicodedata
from dataclasses import asdict, replace

from slicer.i18n import tr as _

from MIMSegmentLib.Files import writeJson
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Process.Command import FinetuneRequest, PretrainRequest

REQUEST = "request.json"
# Beside the model: where it is trained, with the best one so far below, and where the trainings of its folds lie.
TRAINING = ".training"
BEST_MODEL = "best-model"
FOLDS = ".folds"
DESCRIPTION = "segmentation.json"
DRAWN_IMAGES = "drawn.png"
CHECKPOINT = "checkpoint.pt"
KINDS = {"finetune": FinetuneRequest, "pretrain": PretrainRequest}


class Trainings:
    """The fine-tunings and pre-trainings on this computer: what they were asked for, and what became of them.

    A fine-tuning writes its model to the folder of the user's models and works in `<model>.training` beside it, where
    the best model so far can be used already; with folds also in `<model>.folds`. A pre-training works in its own
    folder. The request is kept, since only the same one can be resumed.

    :param folder: of the user's data.
    :param backend: knows the folder of models.
    """

    def __init__(self, folder, backend):
        self._folder = folder
        self._backend = backend
        self.current = None

    def newFinetuning(self, cases, options):
        """The request of a fine-tuning of `Cases` with `FinetuneOptions`.

        :raises Problem: no case, a name that is taken, a folder that cannot be written.
        """
        request = self.proposed(cases, options)
        self._keep("finetune", request.name, request)
        return request

    def proposed(self, cases, options, folder=None):
        """The request of a fine-tuning that is not started yet.

        :param folder: for the list of cases and a picture, by default where they stay for a training.
        :raises Problem: as `newFinetuning`.
        """
        name = self._newName(options.title)
        models = self._backend.modelsFolder()
        output = os.path.join(models, name)
        self._refuseTaken(output, output + TRAINING, output + FOLDS)
        missing = [path for path in options.pretrainOn if not os.path.exists(path)]
        if missing:
            raise _noSuchFolder(missing)
        _makeFolder(models)
        folder = folder or self._requestFolder("finetune", name)
        caseFile, labels = cases.writeTrainingList(folder)
        drawn = os.path.join(folder, DRAWN_IMAGES) if cases.withoutVolume() else ""
        wanted = replace(options, title=options.title.strip(), initial=options.initial or "none")
        return FinetuneRequest(
            **asdict(wanted), cases=caseFile, output=output, labels=labels, name=name, drawnImages=drawn
        )

    def newPretraining(self, options):
        """The request of a pre-training with `PretrainOptions`.

        :raises Problem: no folder, a name that is taken, a folder that cannot be written.
        """
        name = self._newName(options.title)
        missing = [path for path in options.data if not path or not os.path.exists(path)]
        if not options.data or missing:
            raise _noSuchFolder(missing)
        output = os.path.join(self._folder, "pretrainings", name)
        self._refuseTaken(output)
        _makeFolder(os.path.dirname(output))
        wanted = replace(options, data=tuple(os.path.abspath(path) for path in options.data))
        request = PretrainRequest(**asdict(wanted), output=output)
        self._keep("pretrain", name, request)
        return request

    def resumed(self, kind, name, minutes=None, finish=False):
        """The request of an unfinished run once more.

        :raises Problem: there is none.
        """
        request = self._read(kind, name)
        if request is None or not self.hasCheckpoint(request):
            raise Problem(_("The training {name} cannot be continued.").format(name=name), _("Start a new one."))
        # All folds get the same minutes: those that it was begun with.
        if minutes is not None and not getattr(request, "folds", ""):
            request = replace(request, minutes=float(minutes))
            self._keep(kind, name, request)
        return self.finishing(request) if finish else replace(request, resume=True)

    @staticmethod
    def finishing(request):
        """The request to make the model of what was trained so far."""
        return replace(request, resume=True, finish=True)

    @staticmethod
    def hasCheckpoint(request):
        """True if there is something to resume."""
        if getattr(request, "folds", ""):
            return os.path.isfile(os.path.join(request.output + FOLDS, "folds.json"))
        folder = request.output + (TRAINING if isinstance(request, FinetuneRequest) else "")
        return os.path.isfile(os.path.join(folder, CHECKPOINT))

    @staticmethod
    def foldsDone(request):
        """False while cases are still to be scored: only all of them together are honest scores of the model."""
        if not request.folds:
            return True
        folder = request.output + FOLDS
        try:
            with open(os.path.join(folder, "folds.json"), encoding="utf-8") as stream:
                trainings = int(json.load(stream)["plan"]["runs"])
        except (OSError, ValueError, KeyError, TypeError):
            return False
        scored = [name for name in os.listdir(folder) if re.fullmatch(r"fold-\d+-[a-z-]+\.json", name)]
        # The last training is that of the model itself.
        return len(scored) >= trainings - 1

    def canFinish(self, request):
        """True if a model can be made of what was trained so far."""
        if not isinstance(request, FinetuneRequest) or not self.foldsDone(request):
            return False
        return os.path.isfile(os.path.join(request.output + TRAINING, CHECKPOINT))

    def unfinished(self, kind):
        """Names of runs that can be resumed, the latest first."""
        names = []
        for name in self._names(kind):
            request = self._read(kind, name)
            done = DESCRIPTION if kind == "finetune" else "pretraining.json"
            if request and self.hasCheckpoint(request) and not os.path.isfile(os.path.join(request.output, done)):
                names.append(name)
        return names

    def finishable(self):
        """Names of unfinished fine-tunings whose best weights so far can become the model, the latest first."""
        return [name for name in self.unfinished("finetune") if self.canFinish(self._read("finetune", name))]

    def bestModels(self):
        """Models of unfinished fine-tunings, complete and to be used already: list of {"name" (path), "title"}."""
        found = []
        for name in self._names("finetune"):
            request = self._read("finetune", name)
            path = os.path.join(request.output + TRAINING, BEST_MODEL) if request else ""
            if path and os.path.isfile(os.path.join(path, DESCRIPTION)):
                found.append({"name": path, "title": request.title or name})
        return found

    @staticmethod
    def scores(model):
        """What a model says of its accuracy, see `segmentation.json`; empty if it cannot be read."""
        try:
            with open(os.path.join(model, DESCRIPTION), encoding="utf-8") as stream:
                return json.load(stream).get("scores") or {}
        except (OSError, ValueError, AttributeError):
            return {}

    @staticmethod
    def measured(request):
        """What a training has measured so far: list of (name, step, value), in the order of the steps."""
        folder = request.output + (TRAINING if isinstance(request, FinetuneRequest) else "")
        try:
            with open(os.path.join(folder, "log.csv"), encoding="utf-8", newline="") as stream:
                return [(row["name"], int(row["step"]), float(row["value"])) for row in csv.DictReader(stream)]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    @staticmethod
    def caseNames(request):
        """Names of case 1, 2, ... in the scores of a training with folds; empty for others."""
        return _listed(request) if request.folds else []

    def needing(self, cases):
        """Names of unfinished fine-tunings that have one of these cases (identifiers)."""
        return [name for name in self.unfinished("finetune") if {*cases} & {*_listed(self._read("finetune", name))}]

    @staticmethod
    def reportOf(model):
        """Path of the report on the folds of a model, or ""."""
        path = os.path.join(model + FOLDS, "report.html")
        return path if os.path.isfile(path) else ""

    def pretrainings(self):
        """Finished pre-trainings as {"name", "path"}, the latest first."""
        found = []
        for name in self._names("pretrain"):
            request = self._read("pretrain", name)
            if request and os.path.isfile(os.path.join(request.output, "pretraining.json")):
                found.append({"name": name, "path": request.output})
        return found

    def drawnImages(self):
        """Path of the picture of images that the running or latest fine-tuning draws from segmentations, or None."""
        path = self.current.drawnImages if isinstance(self.current, FinetuneRequest) else ""
        return path if path and os.path.isfile(path) else None

    def reconstructionPicture(self):
        """Path of the picture of the running or latest pre-training, or None."""
        requests = [self.current] if isinstance(self.current, PretrainRequest) else []
        requests += [request for name in self._names("pretrain")[:1] if (request := self._read("pretrain", name))]
        for request in requests[:1]:
            path = os.path.join(request.output, "reconstruction.png")
            return path if os.path.isfile(path) else None
        return None

    def forget(self, request):
        """A fine-tuning is done: its request is of no use any more."""
        shutil.rmtree(self._requestFolder("finetune", os.path.basename(request.output)), ignore_errors=True)

    def _newName(self, title):
        # As the backend wants names of models: ASCII, lower case. Letters with accents keep their letter.
        plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
        name = re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-._")[:64].strip("-._")
        if not name:
            raise Problem(_("The name {name!r} cannot be used.").format(name=title), _("Use letters and digits."))
        return name

    @staticmethod
    def _refuseTaken(*folders):
        for folder in folders:
            if not os.path.exists(os.path.join(folder, CHECKPOINT)) and _isAborted(folder):
                shutil.rmtree(folder, ignore_errors=True)
            if os.path.isdir(folder) and os.listdir(folder):
                raise Problem(
                    _("There is something named {name} already.").format(name=os.path.basename(folder)),
                    _("Choose another name, or resume what was started under this one."),
                )

    def _requestFolder(self, kind, name):
        return os.path.join(self._folder, "trainings", kind, name)

    def _names(self, kind):
        folder = os.path.join(self._folder, "trainings", kind)
        if not os.path.isdir(folder):
            return []
        files = {name: os.path.join(folder, name, REQUEST) for name in os.listdir(folder)}
        return sorted((n for n in files if os.path.isfile(files[n])), key=lambda n: -os.path.getmtime(files[n]))

    def _keep(self, kind, name, request):
        writeJson(os.path.join(self._requestFolder(kind, name), REQUEST), asdict(request))

    def _read(self, kind, name):
        try:
            with open(os.path.join(self._requestFolder(kind, name), REQUEST), encoding="utf-8") as stream:
                values = json.load(stream)
            tuples = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
            return KINDS[kind](**{**values, **tuples})
        except (OSError, ValueError, TypeError, AttributeError):
            return None


def _isAborted(folder):
    """True for the folder of a run that was stopped before it had learned anything worth keeping."""
    leftOvers = {"settings.json", "cost.json", "transfer.json", "log.csv", "reconstruction.png", DRAWN_IMAGES}
    return os.path.isdir(folder) and set(os.listdir(folder)) <= leftOvers


def _listed(request):
    """Identifiers of the cases of a fine-tuning, in their order."""
    try:
        with open(request.cases, encoding="utf-8") as stream:
            return [entry["id"] for entry in json.load(stream)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _noSuchFolder(paths):
    return Problem(
        _("The folder {folder} does not exist.").format(folder=", ".join(map(str, paths)) or "-"),
        _("Choose a folder with volumes."),
    )


def _makeFolder(folder):
    try:
        os.makedirs(folder, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise OSError(_("it is not writable"))
    except OSError as fault:
        raise _cannotWrite(folder, fault) from fault


def _cannotWrite(folder, fault):
    return Problem(
        _("The folder {folder} cannot be written to ({reason}).").format(folder=folder, reason=fault.strerror or fault),
        _("Choose a folder that you may write to, on a disk with free space."),
    )
