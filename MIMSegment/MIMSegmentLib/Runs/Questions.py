from MIMSegmentLib.Process.BackendRun import BackendRun
from MIMSegmentLib.Signal import Signal


class Questions:
    """Short runs of the backend that answer a question, any number at a time, beside the one long run.

    Signals: message(str), for the log; modelsChanged(), told before the answer that says so.

    :param backend: a `Backend`.
    """

    def __init__(self, backend, makeRunner):
        self.message = Signal("message")
        self.modelsChanged = Signal("modelsChanged")
        self._backend = backend
        self._makeRunner = makeRunner
        self._running = []

    def ask(self, arguments, callback, changesModels=False):
        """Run `mimseg` with `arguments`; `callback` gets the `Answer` when the process is gone.

        :param arguments: a list, or a function that gets the folder of the run, puts there what it reads, and returns
            them.
        :param changesModels: success means that a model was added or removed.
        """
        run = BackendRun(self._backend, (), self._makeRunner)
        try:
            run.arguments = arguments(run.folder) if callable(arguments) else list(arguments)
        except BaseException:
            run.discard()
            raise
        answers = []

        def onEnded():
            self._running.remove(run)
            if changesModels and answers[0].ok:
                self.modelsChanged.emit()
            callback(answers[0])

        self._running.append(run)
        run.done.connect(answers.append)
        run.log.connect(self.message.emit)
        run.ended.connect(onEnded)
        run.start()

    def stopAndWait(self):
        """Stop all; the callbacks hear of it."""
        for run in tuple(self._running):
            run.stopAndWait()
