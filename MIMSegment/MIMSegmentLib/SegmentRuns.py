import os
import re

import qt
from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.SegmentJob import SegmentJob
from MIMSegmentLib.Trainings import BEST_MODEL, TRAINING


class SegmentRuns:
    """Volumes of the scene -> new segmentations, see `Logic.segment`.

    :param slot: a `RunSlot`.
    :param scene: a `Scene`.
    """

    def __init__(self, slot, scene):
        self._slot = slot
        self._scene = scene

    def start(self, volumeNodes, modelName, device, roiNodes, labels, wholeSequence, quick):
        """Segment; the arguments are those of `Logic.segment`, as lists."""
        run = self._slot.begin("segment")
        try:
            if not modelName:
                raise Problem(_("No model is chosen."), _("Choose a model, or import one in the tab 'Models'."))
            job = SegmentJob(self._scene, volumeNodes, tuple(labels), wholeSequence, quick)
            request = job.prepare(run.folder, modelName, device, roiNodes)
        except Exception as fault:
            self._slot.refuse(fault)
            return

        def onDone(answer):
            files = job.results(answer, run.folder)
            if not files or answer.stopped:
                return self._slot.outcomeOf(answer)
            result = job.importResults(files, shownName(modelName))
            facts = {name: run.facts.get(name) for name in ("device", "engine")}
            if answer.ok and not quick:
                _rememberSeconds(modelName, answer.result)
            seconds = answer.result.get("seconds") if answer.ok else None
            return lambda: self._slot.finished.emit({**result, **facts, "seconds": seconds})

        self._slot.start(request.arguments(), onDone, job.readable)

    @staticmethod
    def expectedSeconds(modelName):
        """How long the last volume took with this model on this computer, or None."""
        value = qt.QSettings().value(_settingsKey(modelName))
        try:
            return float(value)
        except (TypeError, ValueError):
            return None


def shownName(model):
    """How results of a model are called: its name, also where it is the best of an unfinished training so far."""
    folder, last = os.path.split(str(model))
    if last != BEST_MODEL:
        return last or str(model)
    return _("{name} (unfinished)").format(name=os.path.basename(folder).removesuffix(TRAINING))


def _rememberSeconds(modelName, result):
    outputs = result.get("outputs") or ()
    seconds = [entry.get("seconds") for entry in outputs if isinstance(entry.get("seconds"), (int, float))]
    if seconds:
        qt.QSettings().setValue(_settingsKey(modelName), float(seconds[-1]))


def _settingsKey(modelName):
    return f"MIMSegment/seconds/{re.sub(r'[^A-Za-z0-9._-]+', '_', shownName(modelName))}"
