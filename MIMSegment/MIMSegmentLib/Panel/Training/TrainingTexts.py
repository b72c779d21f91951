"""Sentences about trainings: how many there will be, what they will cost, what they scored. Plain Python."""

from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Process.Words import hasCommandWords

# As the backend chooses folds: each subject is left out once up to so many subjects, above there are USUAL_FOLDS.
LEAVE_ONE_OUT_UP_TO = 6
USUAL_FOLDS = 5


def foldsOf(subjects):
    """Number of folds that "auto" means for so many subjects; 0 if there are too few."""
    if subjects < 2:
        return 0
    return subjects if subjects <= LEAVE_ONE_OUT_UP_TO else USUAL_FOLDS


def numberOfTrainings(folds, compare, hasStart, hasOwnScans):
    """Trainings of all folds together with that of the model itself."""
    arms = 1
    if compare:
        arms += bool(hasStart or hasOwnScans) + bool(hasStart and hasOwnScans)
    return folds * arms + 1


def fewCasesText(subjects, minutes, few, hasStart):
    """How many trainings there will be and how long they take, before anything is started.

    :param subjects: number of different patients among the cases.
    :param minutes: for all of them together.
    :param few: `FinetuneOptions`.
    :param hasStart: False if training starts from nothing.
    """
    own = ""
    if few.pretrainOn:
        own = " " + _("Before that, {duration} of learning from your scans without labels.").format(
            duration=Texts.durationText(60 * few.pretrainMinutes)
        )
    if not few.folds:
        return _("One training of {duration}.").format(duration=Texts.durationText(60 * minutes)) + own
    folds = foldsOf(subjects)
    if not folds:
        return _("Scoring every case needs cases of at least two patients.")
    count = numberOfTrainings(folds, few.compare, hasStart, bool(few.pretrainOn))
    text = _(
        "{count} trainings of about {each} each, {all} together: every case is left out and scored once,"
        " then the model itself learns from all cases."
    ).format(count=count, each=Texts.durationText(60 * minutes / count), all=Texts.durationText(60 * minutes))
    return text + own


def scoresText(scores, caseNames=()):
    """Median, interval and worst case of the scores of a model, and the verdict of a comparison.

    :param scores: as in segmentation.json.
    :param caseNames: of case 1, 2, ..., to name the worst.
    """
    summary = scores.get("summary") or {}
    if summary.get("median_dice") is None:
        return ""
    # Without folds, the best weights were chosen by the same cases.
    unseen = _("Dice on {cases} cases, each scored by a network that had not seen it: median {median}")
    heldOut = _("Dice on {cases} held-out cases, which also chose the best moment to stop: median {median}")
    text = (unseen if scores.get("method") else heldOut).format(
        cases=summary.get("cases", "?"), median=f"{summary['median_dice']:.2f}"
    )
    interval = summary.get("interval_95") or ()
    if len(interval) == 2 and None not in interval:
        text += ", " + _("mean {mean} (95 % interval {low} to {high})").format(
            mean=f"{summary['mean_dice']:.2f}", low=f"{interval[0]:.2f}", high=f"{interval[1]:.2f}"
        )
    if summary.get("worst_dice") is not None:
        text += ", " + _("worst {worst}").format(worst=f"{summary['worst_dice']:.2f}")
        number = summary.get("worst_case")
        if isinstance(number, int) and 0 < number <= len(caseNames):
            text += f" ({caseNames[number - 1]})"
    text += "."
    if scores.get("start_knows"):
        text += " " + scores["start_knows"]
    if scores.get("verdict"):
        text += " " + _("Did the start help? {verdict}").format(verdict=scores["verdict"])
    return text


def doneText(result):
    """What to say when a training is done, see `Logic.startFinetuning`."""
    text = _("Done. The model {name} is now chosen on the Segment tab.").format(name=result["model"])
    scored = scoresText(result.get("scores") or {}, result.get("cases") or ())
    if not scored:
        scored = _("Its accuracy is unknown: no case was held out. Five or more cases are needed for that.")
    return f"{text} {scored}"


def planText(plan):
    """What a training is going to use and how far it will get, in plain words; empty if nothing is known.

    :param plan: as `mimseg finetune --plan-only` reports it.
    """
    if not plan or not plan.get("device"):
        return ""
    name = plan.get("device_name")
    lines = [
        _("Plan: on {device}").format(device=deviceWords(str(plan["device"])))
        + (f", {name}" if name else "")
        + ", "
        + precisionWords(str(plan.get("precision") or "?"))
        + "."
    ]
    size = Texts.CROSS.join(str(edge) for edge in plan.get("window") or ())
    memory = _("about {size} GB of memory").format(size=_gigabytes(plan.get("memory_bytes")))
    if plan.get("memory_free_bytes"):
        memory += " " + _("of {size} GB that are free").format(size=_gigabytes(plan["memory_free_bytes"]))
    lines.append(
        _("Windows of {size} voxels, {batch} at a time; {memory}.").format(
            size=size, batch=plan.get("batch", "?"), memory=memory
        )
    )
    lines.append(_lengthText(plan))
    return "\n".join([*lines, *(str(r) for r in plan.get("reasons") or () if not hasCommandWords(str(r)))])


def _lengthText(plan):
    each = Texts.durationText(60 * float(plan.get("minutes_per_run") or 0))
    if (plan.get("runs") or 1) == 1:
        text = _("About {steps} steps in {each}").format(steps=plan.get("steps", "?"), each=each)
    else:
        text = _("{runs} trainings of about {steps} steps in {each}").format(
            runs=plan["runs"], steps=plan.get("steps", "?"), each=each
        )
        if plan.get("minutes"):
            text += ", " + _("{all} together").format(all=Texts.durationText(60 * plan["minutes"]))
    return text + "; " + _("reading and scoring come on top.")


def _gigabytes(size):
    return f"{float(size or 0) / 1e9:.1f}"


def deviceWords(device):
    """The backend's name of a device, as loud as in the device line."""
    return {
        "cpu": _("the PROCESSOR (CPU)"),
        "cuda": _("the GRAPHICS CARD (GPU)"),
        "mps": _("the GRAPHICS CARD (GPU)"),
    }.get(device.partition(":")[0], device)


def precisionWords(precision):
    """The backend's name of a precision, for people."""
    if precision.startswith("32"):
        return _("full precision")
    return _("reduced precision ({name})").format(name=precision)
