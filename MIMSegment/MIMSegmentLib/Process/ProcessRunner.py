import codecs
import contextlib
import os
import signal
import subprocess
import sys

import qt

from MIMSegmentLib.Signal import Signal

# QProcess::ProcessError and QProcess::ExitStatus; enum arguments of signals arrive as numbers.
FAILED_TO_START = 0
CRASH_EXIT = 1
EXIT_CODE_OF_KILLED = -1


class ProcessRunner:
    """Runs one program at a time without blocking, by QProcess.

    The program's standard input stays open while it may run: the backend ends by itself when it closes, which
    also happens when 3D Slicer goes away, however that comes about.

    Signals: line(str), a line of standard output; log(str), a line of standard error; finished(int), the exit
    code, -1 if the process was killed; failedToStart(str), instead of finished.
    """

    killAfterMilliseconds = 5000

    def __init__(self):
        self.line = Signal("line")
        self.log = Signal("log")
        self.finished = Signal("finished")
        self.failedToStart = Signal("failedToStart")
        self._process = None
        self._released = None
        self._killTimer = None
        self._buffers = {}

    @property
    def running(self):
        return self._process is not None

    @property
    def processId(self):
        """Number of the running process, 0 if there is none."""
        return int(self._process.processId()) if self.running else 0

    def start(self, program, arguments, environment, workingDirectory=""):
        """Start `program`. What comes of it is told by the signals.

        :raises RuntimeError: if a program is running already.
        """
        if self.running:
            raise RuntimeError("A program is running already.")
        process = qt.QProcess()
        self._process = process
        self._buffers = {"line": _LineBuffer(), "log": _LineBuffer()}
        variables = qt.QProcessEnvironment()
        for name, value in environment.items():
            variables.insert(name, value)
        process.setProcessEnvironment(variables)
        if workingDirectory:
            process.setWorkingDirectory(workingDirectory)
        process.connect("readyReadStandardOutput()", self._readOutput)
        process.connect("readyReadStandardError()", self._readLog)
        process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._onError)
        process.start(program, list(arguments))

    def stop(self):
        """Ask the program to end by closing its standard input; kill it and its children if it does not."""
        if not self.running or self._killTimer is not None:
            return
        self._process.closeWriteChannel()
        self._killTimer = qt.QTimer()
        self._killTimer.setSingleShot(True)
        self._killTimer.setInterval(self.killAfterMilliseconds)
        self._killTimer.connect("timeout()", self.kill)
        self._killTimer.start()

    def kill(self):
        """End the program and all its children at once."""
        if not self.running:
            return
        killTree(self.processId)
        if self.running:  # the last signal may have arrived meanwhile
            self._process.kill()

    def stopAndWait(self, milliseconds=3000):
        """Stop the program and block until it is gone: for the moment when Slicer itself closes."""
        process = self._process
        if process is None:
            return
        process.closeWriteChannel()
        if not process.waitForFinished(milliseconds):
            self.kill()
            process.waitForFinished(2000)
        if self._process is process:
            self._onFinished(EXIT_CODE_OF_KILLED, CRASH_EXIT)

    def _readOutput(self):
        if self.running:
            self._deliver("line", self._process.readAllStandardOutput().data())

    def _readLog(self):
        if self.running:
            self._deliver("log", self._process.readAllStandardError().data())

    def _deliver(self, name, data, last=False):
        receiver = getattr(self, name)
        for text in self._buffers[name].add(data, last):
            receiver.emit(text)

    def _onFinished(self, exitCode, exitStatus):
        if not self.running:
            return
        try:
            output, log = (self._process.readAllStandardOutput().data(), self._process.readAllStandardError().data())
        except ValueError:
            # Slicer ends: QProcess tells of the end of its child while it is being destroyed.
            output = log = b""
        self._deliver("line", output, last=True)
        self._deliver("log", log, last=True)
        self._release()
        self.finished.emit(EXIT_CODE_OF_KILLED if int(exitStatus) == CRASH_EXIT else int(exitCode))

    def _onError(self, error):
        # The other errors are followed by finished().
        if int(error) != FAILED_TO_START or not self.running:
            return
        reason = str(self._process.errorString())
        self._release()
        self.failedToStart.emit(reason)

    def _release(self):
        if self._killTimer is not None:
            self._killTimer.stop()
            self._killTimer = None
        # Kept for now, since a QProcess must not be deleted inside its own signal. When Qt deletes it, its connections
        # go, and with them their references to this object.
        self._released, self._process = self._process, None
        self._released.deleteLater()


class _LineBuffer:
    """Bytes as they come -> whole lines; a character may be cut in two."""

    def __init__(self):
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""

    def add(self, data, last=False):
        """The lines that are complete now; the `last` one may lack its line end."""
        self._text += self._decoder.decode(data, final=last)
        *lines, self._text = self._text.split("\n")
        if last and self._text:
            lines.append(self._text)
            self._text = ""
        return [line.rstrip("\r") for line in lines]


def killTree(processId):
    """Kill a process and its descendants."""
    if processId <= 0:
        return
    if sys.platform == "win32":
        arguments = ["taskkill", "/F", "/T", "/PID", str(processId)]
        noWindow = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        subprocess.run(arguments, capture_output=True, check=False, creationflags=noWindow)
        return
    for number in [*descendants(processId), processId]:
        # It may have ended meanwhile.
        with contextlib.suppress(OSError):
            os.kill(number, signal.SIGKILL)


def descendants(processId):
    """Numbers of the processes that a process has started, the youngest first (Linux and macOS)."""
    children = {}
    for number, parent in _processes():
        children.setdefault(parent, []).append(number)
    found, queue = [], [processId]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found[::-1]


def _processes():
    """Pairs (number, number of the parent) of all processes."""
    if os.path.isdir("/proc/self"):
        pairs = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stream:
                        # The second field is the name in brackets, which may hold anything.
                        pairs.append((int(name), int(stream.read().rpartition(")")[2].split()[1])))
                except (OSError, ValueError, IndexError):
                    continue
        return pairs
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
    return [(int(fields[0]), int(fields[1])) for fields in map(str.split, listing.splitlines()) if len(fields) == 2]
