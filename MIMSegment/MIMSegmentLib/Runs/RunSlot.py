from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem, asProblem
from MIMSegmentLib.Process.BackendRun import BackendRun
from MIMSegmentLib.Process.ProcessRunner import ProcessRunner
from MIMSegmentLib.Process.Words import warningInPanelWords
from MIMSegmentLib.Signal import Signal

SIGNALS = (
    "started", "announced", "progress", "message", "warning", "metric", "modelReady", "finished", "failed", "stopped"
)  # fmt: skip


class RunSlot:
    """Room for one run of the backend at a time, and what is told about it.

    Signals:
        started(str command)
        announced(dict fields), what the backend says that it is going to use, e.g. device
        progress(str phase, float done, float total, float or None etaSeconds)
        message(str), for the log
        warning(str code, str message), the run goes on
        metric(str name, float value, dict fields), e.g. `loss` and `validation_dice` with `step` in fields
        modelReady(str path), the best model so far of a training that goes on
        finished(dict result), `command` in it names the run
        failed(str message, str hint), one sentence and one remedy
        stopped(str command), the user's wish was carried out
    After `started`, exactly one of finished, failed and stopped follows; `command` is "" again by then, the process
    is gone and its temporary folder too.
    """

    def __init__(self, backend, makeRunner=ProcessRunner):
        for name in SIGNALS:
            setattr(self, name, Signal(name))
        self._backend = backend
        self._makeRunner = makeRunner
        self._run = None
        self._command = ""
        # Why the last run failed, in the backend's terms; "" if it was something else.
        self.code = ""
        self._outcome = None
        self._translate = str

    @property
    def command(self):
        """What runs, or "" if nothing does."""
        return self._command

    @property
    def processId(self):
        """Number of the backend's process, 0 if none runs."""
        return self._run.processId if self._run is not None else 0

    # -- start

    def begin(self, command):
        """Announce a run; returns the BackendRun whose folder takes what is prepared for it.

        :raises RuntimeError: if something runs here already.
        """
        if self._command:
            raise RuntimeError(f"'{self._command}' is running: wait for it, or cancel it.")
        self._command = command
        self.code = ""
        self._translate = str
        self._run = self._newRun()
        self.started.emit(command)
        return self._run

    def start(self, arguments, onDone, translate=str):
        """Start the run that was begun.

        :param onDone: takes the Answer while the temporary folder exists, returns what is to follow its removal.
        :param translate: turns the backend's messages into the user's words.
        """
        run = self._run
        self._translate = translate
        run.arguments = list(arguments)
        run.event.connect(self._onEvent)
        run.log.connect(lambda text: self.message.emit(self._translate(text)))
        run.done.connect(lambda answer: self._onDone(onDone, answer))
        run.ended.connect(self._onEnded)
        run.start()

    def startForResult(self, arguments, makeResult):
        """Start the run that was begun; at its good end `finished` tells what `makeResult` makes of its result."""

        def onDone(answer):
            if not answer.ok:
                return self.outcomeOf(answer)
            result = makeResult(answer.result)
            return lambda: self.finished.emit(result)

        self.start(arguments, onDone)

    def goOn(self, arguments, onDone):
        """Start another process that is still the same run for everybody else; to be returned by `onDone`."""

        def follow():
            self._run = self._newRun()
            self.start(arguments, onDone, self._translate)

        follow.goesOn = True
        return follow

    def refuse(self, fault):
        """End a run that could not be started; whatever went wrong, another one can be started then."""
        problem = asProblem(fault, _("The run could not be prepared ({fault})."))
        self._run.discard()
        self._release()
        self.failed.emit(problem.message, problem.hint)

    def finishAtOnce(self, result):
        """End a run that needs no process."""
        self._run.discard()
        self._release()
        self.finished.emit(result)

    # -- end

    def stop(self, patience=None):
        """Ask the process to end; `stopped` tells when it has. `patience`: milliseconds until it is killed."""
        if self._run is not None:
            self._run.stop(patience)

    def stopAndWait(self):
        """Stop and block until the process is gone."""
        if self._run is not None:
            self._run.stopAndWait()

    def outcomeOf(self, answer):
        """What follows an Answer that is no success: `stopped` or `failed`."""
        command = self._command
        if answer.stopped:
            return lambda: self.stopped.emit(command)
        self.code = answer.code
        message, hint = self._translate(answer.message), self._translate(answer.hint)
        return lambda: self.failed.emit(message, hint)

    def _newRun(self):
        return BackendRun(self._backend, (), self._makeRunner)

    def _onDone(self, onDone, answer):
        # Whatever goes wrong with the result, the run must come to an end that the panel hears of.
        self._outcome = lambda: self.failed.emit(
            _("The result could not be taken over."), _("See the log of Slicer (View / Error Log).")
        )
        try:
            self._outcome = onDone(answer)
        except Problem as problem:
            message, hint = problem.message, problem.hint
            self._outcome = lambda: self.failed.emit(message, hint)

    def _onEnded(self):
        outcome, self._outcome = self._outcome, None
        if outcome is not None and getattr(outcome, "goesOn", False):
            outcome()
            return
        self._release()
        if outcome is not None:
            outcome()

    def _release(self):
        self._run = None
        self._command = ""

    def _onEvent(self, event):
        fields = event.fields
        if event.kind == "progress":
            phase, done, total = str(fields.get("phase")), fields.get("done") or 0, fields.get("total") or 0
            self.progress.emit(phase, done, total, fields.get("eta_s"))
        elif event.kind == "metric" and isinstance(fields.get("value"), (int, float)):
            rest = {name: value for name, value in fields.items() if name not in ("name", "value")}
            self.metric.emit(str(fields.get("name")), float(fields["value"]), rest)
        elif event.kind == "model":
            self.modelReady.emit(str(fields.get("path")))
        elif event.kind == "warning":
            code = str(fields.get("code"))
            self.warning.emit(code, self._translate(warningInPanelWords(code, str(fields.get("message")))))
        elif event.kind == "start":
            facts = ", ".join(f"{name}: {value}" for name, value in fields.items() if value not in (None, ""))
            self.message.emit(facts)
            self.announced.emit(fields)
