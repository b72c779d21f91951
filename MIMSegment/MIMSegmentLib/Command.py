"""What the backend is asked for and what it answers, as plain Python: values -> arguments, lines -> events."""

import json
from dataclasses import dataclass, field

from slicer.i18n import tr as _

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USER = 2
EXIT_OUT_OF_MEMORY = 3
EXIT_STOPPED = 130
# Of our own: the process ended without an exit code (killed by the system, or by the user elsewhere).
EXIT_KILLED = -1

CONTROL = ("--json-lines", "--stop-with-stdin")
EVENTS = ("start", "progress", "metric", "model", "warning", "result", "error")


@dataclass(frozen=True)
class Event:
    """One line that the backend wrote: `kind` is one of EVENTS, `fields` is the rest of it."""

    kind: str
    fields: dict


@dataclass(frozen=True)
class Answer:
    """The outcome of a backend run: a result, or one sentence about the failure and one about the remedy."""

    result: dict = None
    message: str = ""
    hint: str = ""
    code: str = ""
    exitCode: int = EXIT_DONE

    @property
    def ok(self):
        return self.result is not None

    @property
    def stopped(self):
        return self.exitCode == EXIT_STOPPED


@dataclass(frozen=True)
class SegmentRequest:
    """`mimseg segment`. `regions` are boxes (x0, x1, y0, y1, z0, z1) in mm, RAS; empty `labels` keeps all.

    :param quick: coarser voxels, for a model that has a quick mode.
    """

    inputs: tuple
    model: str
    output: str
    device: str = "auto"
    labels: tuple = ()
    regions: tuple = ()
    fileFormat: str = ".seg.nrrd"
    table: str = ""
    quick: bool = False

    def arguments(self):
        if any("," in name for name in self.labels):
            raise ValueError("a name with a comma cannot be passed in a list of names")
        options = ["--model", str(self.model), "--output", str(self.output), "--format", self.fileFormat]
        options += ["--device", self.device]
        options += ["--quick"] if self.quick else []
        if self.labels:
            options.append(f"--labels={','.join(self.labels)}")
        options += [f"--roi={','.join(f'{float(bound):.6g}' for bound in box)}" for box in self.regions]
        if self.table:
            options += ["--table", str(self.table)]
        return ["segment", *(str(path) for path in self.inputs), *options, *CONTROL]


@dataclass(frozen=True)
class FewCases:
    """What few cases can be given beside the training itself: honest scores, a comparison, scans without labels.

    :param folds: "auto" or a number: each case is scored by a network that has not seen it; empty: not done.
    :param compare: train the same folds from scratch, too.
    :param pretrainOn: files and folders of unlabelled scans to learn from first, for `pretrainMinutes`.
    """

    folds: str = ""
    compare: bool = False
    pretrainOn: tuple = ()
    pretrainMinutes: float = 0.0


NO_FOLDS = FewCases()


@dataclass(frozen=True)
class FinetuneRequest:
    """`mimseg finetune`. `initial` is a model, the folder of a pre-training run, or "none"; see also `FewCases`."""

    cases: str
    output: str
    initial: str = "none"
    labels: str = ""
    minutes: float = 60.0
    name: str = ""
    title: str = ""
    device: str = "auto"
    resume: bool = False
    finish: bool = False
    more: tuple = field(default=())
    folds: str = ""
    compare: bool = False
    pretrainOn: tuple = ()
    pretrainMinutes: float = 0.0

    def arguments(self):
        options = ["--output", str(self.output), "--init", str(self.initial) or "none"]
        options += ["--minutes", f"{float(self.minutes):g}", "--device", self.device]
        options += [f"--{name}={value}" for name in ("labels", "name", "title") if (value := getattr(self, name))]
        options += ["--resume"] if self.resume or self.finish else []
        options += ["--finish"] if self.finish else []
        options += ["--folds", self.folds] if self.folds else []
        options += ["--compare"] if self.compare else []
        if self.pretrainOn:
            options += ["--pretrain-minutes", f"{float(self.pretrainMinutes):g}"]
            options += ["--pretrain-on", *(str(path) for path in self.pretrainOn)]
        return ["finetune", str(self.cases), *options, *self.more, *CONTROL]


@dataclass(frozen=True)
class PretrainRequest:
    """`mimseg pretrain`: files and folders of unlabelled volumes -> the folder of a run."""

    data: tuple
    output: str
    minutes: float = 60.0
    device: str = "auto"
    resume: bool = False
    more: tuple = field(default=())
    method: str = "mae"

    def arguments(self):
        options = ["--output", str(self.output), "--minutes", f"{float(self.minutes):g}", "--device", self.device]
        options += ["--method", self.method] if self.method != "mae" else []
        options += ["--resume"] if self.resume else []
        return ["pretrain", *(str(path) for path in self.data), *options, *self.more, *CONTROL]


def modelsArguments(action, *values, replace=False):
    """`mimseg models list | show NAME | export NAME FILE | import FILE | remove NAME`."""
    return ["models", action, *(str(value) for value in values), *(["--replace"] if replace else []), *CONTROL]


def doctorArguments(quick=False):
    return ["doctor", *(["--quick"] if quick else []), *CONTROL]


def checkArguments(cases, labels="", modality="", model="", report=""):
    """`mimseg check`: what is wrong with training cases, also for a start from a model or for scans of a modality."""
    given = (("labels", labels), ("modality", modality), ("model", model), ("output", report))
    options = [f"--{name}={value}" for name, value in given if value]
    return ["check", str(cases), *options, *CONTROL]


def planArguments(request):
    """`mimseg finetune --plan-only`: what a `FinetuneRequest` would do, without doing it."""
    *arguments, jsonLines, stop = request.arguments()
    return [*arguments, "--plan-only", jsonLines, stop]


def rankArguments(folder, model, report, labeled=""):
    """`mimseg rank`: which scans without labels to label next; `labeled` is a list of cases that have labels."""
    options = ["--model", str(model), "--output", str(report), "--format", ".seg.nrrd"]
    options += ["--labelled", str(labeled)] if labeled else []
    return ["rank", str(folder), *options, *CONTROL]


def parseLine(text):
    """The event in a line of the backend's standard output, or None if the line is something else."""
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("event") not in EVENTS:
        return None
    kind = fields.pop("event")
    return Event(kind, fields)


def problemText(exitCode, error=None):
    """One sentence and one remedy for a run that failed.

    :param exitCode: of the process, or EXIT_KILLED.
    :param error: fields of the backend's own error event, which knows more.
    """
    if error and error.get("message"):
        return str(error["message"]), str(error.get("hint") or "")
    if exitCode == EXIT_KILLED:
        return (
            _("The computation was ended from outside before it was done."),
            _("Often memory ran out: close other programs, or choose a smaller region, then try again."),
        )
    if exitCode == EXIT_OUT_OF_MEMORY:
        return (
            _("The memory of this computer does not suffice."),
            _("Close other programs, choose a smaller region (ROI), or choose another device."),
        )
    if exitCode == EXIT_STOPPED:
        return _("Stopped."), ""
    if exitCode == EXIT_DONE:
        return (
            _("The computation ended without a result."),
            _("Try again; if it happens again, report it with the text of the log."),
        )
    return (
        _("The computation failed (exit code {code}).").format(code=exitCode),
        _("See the log for details, and the tab 'Computer' for what may be missing."),
    )
