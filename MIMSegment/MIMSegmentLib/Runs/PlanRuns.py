from MIMSegmentLib.Runs import Command


class PlanRuns:
    """Says before a training what it would do, after a short probe, see `Logic.planFinetuning`.

    :param slot: a `RunSlot`.
    :param trainings: a `Trainings`.
    """

    def __init__(self, slot, trainings):
        self._slot = slot
        self._trainings = trainings

    def start(self, cases, options):
        """Plan a fine-tuning of `Cases` with `FinetuneOptions`. Nothing is kept of it."""
        run = self._slot.begin("plan")
        try:
            request = self._trainings.proposed(cases, options, run.folder)
            arguments = Command.planArguments(request)
        except Exception as fault:
            self._slot.refuse(fault)
            return
        self._slot.startForResult(arguments, lambda answer: {"command": "plan", "plan": answer.get("plan") or {}})
