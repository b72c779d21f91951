import os
import shutil

from MIMSegmentLib.Process import Command


class PlanRuns:
    """Says before a training what it would do, after a short probe, see `Logic.planFinetuning`.

    :param slot: a `RunSlot`.
    :param trainings: a `Trainings`.
    :param folder: for what a plan reads, and its picture of drawn images; each plan replaces it.
    """

    def __init__(self, slot, trainings, folder):
        self._slot = slot
        self._trainings = trainings
        self._folder = folder

    def start(self, cases, options):
        """Plan a fine-tuning of `Cases` with `FinetuneOptions`."""
        self._slot.begin("plan")
        shutil.rmtree(self._folder, ignore_errors=True)
        try:
            request = self._trainings.proposed(cases, options, self._folder)
            arguments = Command.planArguments(request)
        except Exception as fault:
            self._slot.refuse(fault)
            return

        def makeResult(answer):
            picture = request.drawnImages if os.path.isfile(request.drawnImages) else ""
            return {"command": "plan", "plan": answer.get("plan") or {}, "drawnImages": picture}

        self._slot.startForResult(arguments, makeResult)
