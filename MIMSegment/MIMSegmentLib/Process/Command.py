"""What the backend is asked for, as plain Python: what the user chose -> arguments.

A control of the panel for an option of the backend is a widget of the .ui that names a field of `Parameters`, that
field, and here a field of the same name in the options and its line in `arguments`.
"""

from dataclasses import dataclass, fields

CONTROL = ("--json-lines", "--stop-with-stdin")


def chosen(kind, parameters, **given):
    """The options of a `kind` as the user chose them.

    :param kind: one of the ...Options below.
    :param parameters: a `Parameters`; fields of the same name are taken from it.
    :param given: fields that are not, or that do not stand there.
    """
    names = [field.name for field in fields(kind) if field.name not in given and hasattr(parameters, field.name)]
    return kind(**{name: getattr(parameters, name) for name in names}, **given)


@dataclass(frozen=True)
class SegmentOptions:
    """How to segment. `model` is a name or a path; empty `labels` keeps all structures.

    :param wholeSequence: every time point of volumes that show a sequence.
    :param quick: coarser voxels, for a model that has a quick mode.
    :param leftOut: the structures that are not kept; the results say so.
    :param doubts: why the model may not fit the volumes, although the user insists; the results are marked with it.
    """

    model: str = ""
    device: str = "auto"
    labels: tuple = ()
    wholeSequence: bool = False
    quick: bool = False
    reducedPrecision: bool = False
    leftOut: tuple = ()
    doubts: str = ""


@dataclass(frozen=True)
class SegmentRequest(SegmentOptions):
    """`mimseg segment`. `regions` are boxes in mm, RAS: x0, x1, y0, y1, z0, z1, or a corner and three edges."""

    inputs: tuple = ()
    output: str = ""
    regions: tuple = ()
    fileFormat: str = ".seg.nrrd"
    table: str = ""

    def arguments(self):
        if any("," in name for name in self.labels):
            raise ValueError("a name with a comma cannot be passed in a list of names")
        options = ["--model", str(self.model), "--output", str(self.output), "--format", self.fileFormat]
        options += ["--device", self.device]
        options += ["--quick"] if self.quick else []
        options += ["--precision", "bf16"] if self.reducedPrecision else []
        if self.labels:
            options.append(f"--labels={','.join(self.labels)}")
        options += [f"--roi={','.join(f'{float(bound):.6g}' for bound in box)}" for box in self.regions]
        if self.table:
            options += ["--table", str(self.table)]
        return ["segment", *(str(path) for path in self.inputs), *options, *CONTROL]


@dataclass(frozen=True)
class FinetuneOptions:
    """How to fine-tune. `initial` is a model, the folder of a pre-training run, or "none".

    :param minutes: for everything together, but for `pretrainMinutes`.
    :param mirrored: half of the crops are mirrored, and structures that are named left and right change places.
    :param folds: "auto" or a number: each case is scored by a network that has not seen it; empty: not done.
    :param compare: train the same folds from scratch, too.
    :param locator: "model:structure" by which the new model finds its region in large scans; empty: it does not.
    :param trainedSide: "left" or "right" if all cases show that side: the other one is mirrored for the model.
    :param pretrainOn: files and folders of unlabeled scans to learn from first, for `pretrainMinutes`.
    :param more: further arguments of `mimseg finetune`.
    """

    title: str = ""
    minutes: float = 60.0
    initial: str = "none"
    device: str = "auto"
    mirrored: bool = False
    folds: str = ""
    compare: bool = False
    locator: str = ""
    trainedSide: str = ""
    pretrainOn: tuple = ()
    pretrainMinutes: float = 0.0
    more: tuple = ()


@dataclass(frozen=True)
class FinetuneRequest(FinetuneOptions):
    """`mimseg finetune`, with the files that it reads and writes.

    :param drawnImages: picture of some images that are drawn from segmentations alone, or "".
    """

    cases: str = ""
    output: str = ""
    labels: str = ""
    name: str = ""
    drawnImages: str = ""
    resume: bool = False
    finish: bool = False

    def arguments(self):
        options = ["--output", str(self.output), "--init", str(self.initial) or "none"]
        options += ["--minutes", f"{float(self.minutes):g}", "--device", self.device]
        options += [f"--{name}={value}" for name in ("labels", "name", "title") if (value := getattr(self, name))]
        options += [f"--locator={self.locator}"] if self.locator else []
        options += [f"--trained-side={self.trainedSide}"] if self.locator and self.trainedSide else []
        options += [f"--drawn-images={self.drawnImages}"] if self.drawnImages else []
        options += ["--flip-pairs"] if self.mirrored else []
        options += ["--resume"] if self.resume or self.finish else []
        options += ["--finish"] if self.finish else []
        options += ["--folds", self.folds] if self.folds else []
        options += ["--compare"] if self.compare else []
        if self.pretrainOn:
            options += ["--pretrain-minutes", f"{float(self.pretrainMinutes):g}"]
            options += ["--pretrain-on", *(str(path) for path in self.pretrainOn)]
        return ["finetune", str(self.cases), *options, *self.more, *CONTROL]


@dataclass(frozen=True)
class PretrainOptions:
    """How to pre-train.

    :param data: files and folders of unlabeled volumes.
    :param more: further arguments of `mimseg pretrain`.
    """

    title: str = ""
    data: tuple = ()
    minutes: float = 60.0
    device: str = "auto"
    method: str = "mae"
    more: tuple = ()


@dataclass(frozen=True)
class PretrainRequest(PretrainOptions):
    """`mimseg pretrain`, with the folder of the run."""

    output: str = ""
    resume: bool = False

    def arguments(self):
        options = ["--output", str(self.output), "--minutes", f"{float(self.minutes):g}", "--device", self.device]
        options += ["--method", self.method] if self.method != "mae" else []
        options += ["--resume"] if self.resume else []
        return ["pretrain", *(str(path) for path in self.data), *options, *self.more, *CONTROL]


def modelsArguments(action, *values, replace=False):
    """`mimseg models list | show NAME | export NAME FILE | import FILE | remove NAME`."""
    return ["models", action, *(str(value) for value in values), *(["--replace"] if replace else []), *CONTROL]


def convertArguments(labels, scan, output):
    """`mimseg convert`: labels that lie on a scan, in the format that the ending of `output` says."""
    return ["convert", str(labels), "--scan", str(scan), "--output", str(output), *CONTROL]


def doctorArguments(quick=False):
    return ["doctor", *(["--quick"] if quick else []), *CONTROL]


def checkArguments(cases, labels="", modality="", model="", report=""):
    """`mimseg check`: what is wrong with training cases, also for a start from a model or for scans of a modality."""
    given = (("labels", labels), ("modality", modality), ("model", model), ("output", report))
    options = [f"--{name}={value}" for name, value in given if value]
    return ["check", str(cases), *options, *CONTROL]


def pairsArguments(folder):
    """`mimseg check --names-only`: which files of a folder are one case."""
    return ["check", str(folder), "--names-only", *CONTROL]


def planArguments(request):
    """`mimseg finetune --plan-only`: what a `FinetuneRequest` would do, without doing it."""
    *arguments, jsonLines, stop = request.arguments()
    return [*arguments, "--plan-only", jsonLines, stop]


def rankArguments(folder, model, report, labeled=""):
    """`mimseg rank`: which scans without labels to label next; `labeled` is a list of cases that have labels."""
    options = ["--model", str(model), "--output", str(report), "--format", ".seg.nrrd"]
    options += ["--labelled", str(labeled)] if labeled else []
    return ["rank", str(folder), *options, *CONTROL]
