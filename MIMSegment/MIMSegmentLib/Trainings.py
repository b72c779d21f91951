import json
import os
import re
import shutil
import unicodedata
from dataclasses import asdict, replace

from slicer.i18n import tr as _

from MIMSegmentLib.Command import FinetuneRequest, PretrainRequest
from MIMSegmentLib.Problem import Problem

REQUEST = "request.json"
KINDS = {"finetune": FinetuneRequest, "pretrain": PretrainRequest}


class Trainings:
    """The fine-tunings and pre-trainings on this computer: what they were asked for, and what became of them.

    A fine-tuning writes its model to the folder of the user's models and works in `<model>.training` beside it;
    a pre-training works in its own folder. The request is kept, since only the same one can be resumed.

    :param folder: of the user's data.
    :param backend: knows the folder of models.
    """

    def __init__(self, folder, backend):
        self._folder = folder
        self._backend = backend
        self.current = None

    def newFinetuning(self, cases, title, minutes, initial, device, more=()):
        """:raises Problem: no case, a name that is taken, a folder that cannot be written."""
        name = self._newName(title)
        models = self._backend.modelsFolder()
        output = os.path.join(models, name)
        self._refuseTaken(output, output + ".training")
        _makeFolder(models)
        folder = self._requestFolder("finetune", name)
        caseFile, labels = cases.writeTrainingList(folder)
        request = FinetuneRequest(
            cases=caseFile,
            output=output,
            initial=initial or "none",
            labels=labels,
            minutes=float(minutes),
            name=name,
            title=title.strip(),
            device=device,
            more=tuple(more),
        )
        self._keep("finetune", name, request)
        return request

    def newPretraining(self, data, title, minutes, device, more=()):
        """:raises Problem: no folder, a name that is taken, a folder that cannot be written."""
        name = self._newName(title)
        missing = [path for path in data if not path or not os.path.exists(path)]
        if not data or missing:
            raise Problem(
                _("The folder {folder} does not exist.").format(folder=", ".join(map(str, missing)) or "-"),
                _("Choose a folder with volumes."),
            )
        output = os.path.join(self._folder, "pretrainings", name)
        self._refuseTaken(output)
        _makeFolder(os.path.dirname(output))
        data = tuple(os.path.abspath(path) for path in data)
        request = PretrainRequest(data, output, float(minutes), device, more=tuple(more))
        self._keep("pretrain", name, request)
        return request

    def resumed(self, kind, name, minutes=None, finish=False):
        """The request of an unfinished run once more.

        :raises Problem: there is none.
        """
        request = self._read(kind, name)
        if request is None or not self.hasCheckpoint(request):
            raise Problem(_("The training {name} cannot be continued.").format(name=name), _("Start a new one."))
        if minutes is not None:
            request = replace(request, minutes=float(minutes))
            self._keep(kind, name, request)
        if finish:
            return self.finishing(request)
        return replace(request, resume=True)

    @staticmethod
    def finishing(request):
        """The request to make the model of what was trained so far."""
        return replace(request, finish=True)

    @staticmethod
    def hasCheckpoint(request):
        """True if there is something to resume."""
        folder = request.output + (".training" if isinstance(request, FinetuneRequest) else "")
        return os.path.isfile(os.path.join(folder, "checkpoint.pt"))

    def unfinished(self, kind):
        """Names of runs that can be resumed, the latest first."""
        names = []
        for name in self._names(kind):
            request = self._read(kind, name)
            done = "segmentation.json" if kind == "finetune" else "pretraining.json"
            if request and self.hasCheckpoint(request) and not os.path.isfile(os.path.join(request.output, done)):
                names.append(name)
        return names

    def pretrainings(self):
        """Finished pre-trainings as {"name", "path"}, the latest first."""
        found = []
        for name in self._names("pretrain"):
            request = self._read("pretrain", name)
            if request and os.path.isfile(os.path.join(request.output, "pretraining.json")):
                found.append({"name": name, "path": request.output})
        return found

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
            if not os.path.exists(os.path.join(folder, "checkpoint.pt")) and _isAborted(folder):
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
        folder = self._requestFolder(kind, name)
        _makeFolder(folder)
        try:
            with open(os.path.join(folder, REQUEST), "w", encoding="utf-8") as stream:
                json.dump(asdict(request), stream, indent=1, ensure_ascii=False)
        except OSError as fault:
            raise _cannotWrite(folder, fault) from fault

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
    leftOvers = {"settings.json", "cost.json", "transfer.json", "log.csv", "reconstruction.png"}
    return os.path.isdir(folder) and set(os.listdir(folder)) <= leftOvers


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
