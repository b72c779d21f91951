import os

from MIMSegmentLib.Process import Command

# A training that is stopped finishes its step, which may take long without a GPU, and writes a checkpoint.
CHECKPOINT_MILLISECONDS = 30000


class TrainingRuns:
    """Starts, stops and goes on with fine-tunings and pre-trainings, see `Logic`.

    :param slot: a `RunSlot`.
    :param trainings: a `Trainings`.
    :param onModel: called when a model was made.
    """

    def __init__(self, slot, trainings, onModel):
        self._slot = slot
        self._trainings = trainings
        self._onModel = onModel
        self._keepBest = False

    def start(self, kind, makeRequest):
        """Begin a training.

        :param kind: "finetune" or "pretrain".
        :param makeRequest: returns the request, or raises a Problem.
        """
        self._keepBest = False
        self._slot.begin(kind)
        try:
            request = makeRequest()
        except Exception as fault:
            self._slot.refuse(fault)
            return
        self._trainings.current = request
        if request.resume:
            # What was measured before belongs to the same curve, and to the best so far.
            for name, step, value in self._trainings.measured(request):
                self._slot.metric.emit(name, value, {"step": step})
        self._slot.start(request.arguments(), lambda answer: self._onDone(request, answer))

    def resume(self, kind, name, minutes=None, finish=False):
        """Go on with an unfinished training, or make its model with `finish`."""
        self.start(kind, lambda: self._trainings.resumed(kind, name, minutes, finish))

    def stop(self, keepBest=False):
        """Stop what runs; with `keepBest` a model is made of the best weights so far."""
        self._keepBest = keepBest
        self._slot.stop(CHECKPOINT_MILLISECONDS)

    def _onDone(self, request, answer):
        if answer.ok:
            return lambda: self._finish(request, answer.result)
        canFinish = self._trainings.canFinish(request)
        if not (self._keepBest and answer.stopped and canFinish):
            return self._slot.outcomeOf(answer)
        self._keepBest = False
        finishing = self._trainings.finishing(request)
        return self._slot.goOn(finishing.arguments(), lambda again: self._onDone(finishing, again))

    def _finish(self, request, result):
        kind = "finetune" if isinstance(request, Command.FinetuneRequest) else "pretrain"
        if kind == "finetune":
            result = {
                **result,
                "model": os.path.basename(request.output),
                "path": request.output,
                "scores": self._trainings.scores(request.output),
                "cases": self._trainings.caseNames(request),
                "report": self._trainings.reportOf(request.output),
            }
            self._trainings.forget(request)
            self._onModel()
        self._slot.finished.emit({**result, "command": kind})
