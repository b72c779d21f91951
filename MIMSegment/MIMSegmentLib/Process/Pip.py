from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Signal import Signal


class Pip:
    """Runs `pip install` for the backend's Python without blocking, one at a time.

    Into Slicer's own Python `slicer.packaging` installs where it can (3D Slicer 5.12 and newer), else, and for a
    Python of the user's, a child process.

    Signals: message(str), what pip says.

    :param backend: the `Backend` whose interpreter is to be equipped.
    :param packaging: returns slicer.packaging, a stand-in, or None.
    """

    def __init__(self, backend, makeRunner, packaging=None):
        self.message = Signal("message")
        self._backend = backend
        self._makeRunner = makeRunner
        self._packaging = packaging or _slicerPackaging
        self._runner = None

    def install(self, arguments, constraints, onDone):
        """Start `pip install` with these arguments.

        :param constraints: path of a constraints file.
        :param onDone: takes pip's exit code, -1 if pip could not be started.
        :raises Problem: if slicer.packaging refuses.
        """
        self._runner = None
        packaging = None if self._backend.usesOwnInterpreter else self._packaging()
        if packaging is not None:
            try:
                packaging.pip_install(
                    list(arguments),
                    constraints=constraints,
                    blocking=False,
                    requester="MIMSegment",
                    logCallback=self.message.emit,
                    completedCallback=onDone,
                )
            except Exception as fault:  # another extension is installing, or this Slicer's helper differs
                raise Problem(
                    _("Packages cannot be installed now ({reason}).").format(reason=fault),
                    _("Wait until other installations are done, then try again."),
                ) from fault
            return
        command = ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-c", constraints, *arguments]
        program, programArguments, environment = self._backend.pythonCommand(command)
        runner = self._makeRunner()
        runner.line.connect(self.message.emit)
        runner.log.connect(self.message.emit)
        runner.finished.connect(onDone)
        runner.failedToStart.connect(lambda reason: (self.message.emit(reason), onDone(-1)))
        self._runner = runner
        runner.start(program, programArguments, environment)

    def kill(self):
        """End the child process; what slicer.packaging has started goes on."""
        if self._runner is not None:
            self._runner.kill()


def _slicerPackaging():
    """slicer.packaging where its installer works without blocking; under `--testing` it never does."""
    import slicer

    if slicer.app.testingEnabled():
        return None
    try:
        import slicer.packaging as packaging
    except ImportError:
        return None
    return packaging if hasattr(packaging, "pip_install") else None
