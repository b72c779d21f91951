import logging
import os
import platform
import re
import shutil
import sys
import tempfile
import time
import zlib

import slicer

from MIMSegmentLib.Process.Answer import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_KILLED,
    EXIT_STOPPED,
    EXIT_USER,
    Answer,
    parseLine,
    problemText,
)
from MIMSegmentLib.Process.ProcessRunner import ProcessRunner
from MIMSegmentLib.Signal import Signal

PREFIX = "MIMSegment-"


class BackendRun:
    """One run of the backend, from its start until its temporary folder is gone.

    The exit code decides whether it succeeded, not what it wrote.

    :param backend: tells the program, its arguments and environment.
    :param arguments: of `mimseg`.
    :param makeRunner: makes a ProcessRunner.

    Signals: event(Event); log(str); done(Answer), always exactly once after `start`, when the temporary folder
    still exists; ended(), afterwards.
    """

    def __init__(self, backend, arguments, makeRunner=ProcessRunner):
        self.event = Signal("event")
        self.log = Signal("log")
        self.done = Signal("done")
        self.ended = Signal("ended")
        self.arguments = list(arguments)
        self.facts = {}
        self._backend = backend
        self._folder = None
        self._result = None
        self._error = None
        self._stopping = False
        self._over = False
        self._runner = makeRunner()
        self._runner.line.connect(self._onLine)
        self._runner.log.connect(self.log.emit)
        self._runner.finished.connect(self._onFinished)
        self._runner.failedToStart.connect(self._onFailedToStart)

    @property
    def folder(self):
        """The temporary folder, made when it is first asked for; also the working directory of the process."""
        if self._folder is None:
            self._folder = tempfile.mkdtemp(prefix=f"{PREFIX}{_computer()}-{os.getpid()}-", dir=temporaryParent())
        return self._folder

    @property
    def processId(self):
        return self._runner.processId

    def start(self):
        """Start the process."""
        problem = self._backend.problem()
        if problem is not None:
            self._end(Answer(None, *problem, code="no-backend", exitCode=EXIT_USER))
            return
        program, arguments, environment = self._backend.command(self.arguments)
        self._runner.start(program, arguments, environment, self.folder)

    def stop(self, patience=None):
        """Ask the backend to end; `done` tells when it has.

        :param patience: milliseconds until it is killed, by default those of the runner.
        """
        self._stopping = True
        if patience is not None:
            self._runner.killAfterMilliseconds = patience
        self._runner.stop()

    def kill(self):
        """End the backend at once: for runs that write nothing."""
        self._stopping = True
        self._runner.kill()

    def stopAndWait(self):
        """Stop, block until the process is gone, and remove the temporary folder."""
        self._stopping = True
        self._runner.stopAndWait()
        if not self._over:
            self._end(Answer(None, *problemText(EXIT_STOPPED), exitCode=EXIT_STOPPED))

    def discard(self):
        """Remove the temporary folder of a run that was never started."""
        self._over = True
        self._removeFolder()

    def _onLine(self, text):
        event = parseLine(text)
        if event is None:
            if text.strip():
                self.log.emit(text)
            return
        if event.kind == "start":
            self.facts = event.fields
        elif event.kind == "result":
            self._result = event.fields
        elif event.kind == "error":
            self._error = event.fields
        self.event.emit(event)

    def _onFinished(self, exitCode):
        if exitCode == EXIT_DONE and self._result is not None and not self._stopping:
            self._end(Answer(self._result))
            return
        if self._stopping and exitCode in (EXIT_KILLED, EXIT_DONE):
            exitCode = EXIT_STOPPED
        message, hint = problemText(exitCode, self._error if exitCode != EXIT_STOPPED else None)
        code = str((self._error or {}).get("code") or "")
        self._end(Answer(None, message, hint, code, exitCode or EXIT_BUG))

    def _onFailedToStart(self, reason):
        from slicer.i18n import tr as _

        message = _("Python could not be started: {program} ({reason}).").format(
            program=self._backend.python(), reason=reason
        )
        hint = _("Choose another Python in the tab 'Computer', or leave the field empty to use the one of 3D Slicer.")
        self._end(Answer(None, message, hint, "no-python", EXIT_USER))

    def _end(self, answer):
        if self._over:
            return
        self._over = True
        self.done.emit(answer)
        self._removeFolder()
        self.ended.emit()

    def _removeFolder(self):
        if self._folder is None:
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        if os.path.isdir(self._folder):
            logging.warning(f"The temporary folder {self._folder} could not be removed")
        self._folder = None


def temporaryParent():
    """Slicer's own temporary folder, which the user may have moved to a larger disk; None where there is none."""
    path = str(getattr(getattr(slicer, "app", None), "temporaryPath", "") or "")
    return path if os.path.isdir(path) else None


def removeLeftOvers():
    """Remove temporary folders of a Slicer that was killed: they hold scans of patients."""
    parent = temporaryParent() or tempfile.gettempdir()
    for name in os.listdir(parent):
        # A folder on a network disk may be in use by another computer, which has numbers of its own.
        found = re.fullmatch(rf"{PREFIX}(?:{_computer()}-)?(\d+)-.+", name)
        if found and _isOver(int(found[1]), os.path.join(parent, name)):
            shutil.rmtree(os.path.join(parent, name), ignore_errors=True)


def _computer():
    """A word for this computer, without telling its name."""
    return f"c{zlib.crc32(platform.node().encode()):08x}"


def _isOver(processId, folder):
    """True if the process that made the folder is gone."""
    if sys.platform == "win32":
        # There os.kill would end the process instead of asking for it.
        return time.time() - os.path.getmtime(folder) > 24 * 3600
    try:
        os.kill(processId, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
