"""Standard output of the command line, the only way to it besides the JSON lines' stream."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, TextIO

from mimseg.errors import Stopped
from mimseg.events import TerminalReporter


class Output:
    """A text stream whose vanished reader ends the run as a stop instead of an error.

    Args:
        stream: Where text goes, default the standard output of the moment.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout

    def write(self, text: str) -> int:
        """Write `text`.

        Raises:
            Stopped: Nobody reads any more (`mimseg models list | head -1`).
        """
        try:
            return self._stream.write(text)
        except OSError as fault:
            raise self._reader_gone(fault) from fault

    def flush(self) -> None:
        """Hand everything written to the system.

        Raises:
            Stopped: Nobody reads any more.
        """
        try:
            self._stream.flush()
        except OSError as fault:
            raise self._reader_gone(fault) from fault

    def _reader_gone(self, fault: OSError) -> Exception:
        # Windows reports a closed pipe as EINVAL.
        if fault.errno not in (errno.EPIPE, errno.EINVAL):
            return fault
        _discard_standard_output()
        return Stopped("Nobody reads the output any more.", code="reader-gone")


class QuietReporter(TerminalReporter):
    """Warnings and errors only."""

    def start(self, command: str, **fields: Any) -> None:
        """Say nothing."""

    def progress(self, phase: str, done: float, total: float) -> None:
        """Say nothing."""

    def metric(self, name: str, value: float, **fields: Any) -> None:
        """Say nothing."""

    def model(self, path: str, step: int, validation_dice: float | None) -> None:
        """Say nothing."""

    def info(self, message: str) -> None:
        """Say nothing."""

    def result(self, **fields: Any) -> None:
        """Say nothing."""


def print_out(text: str) -> None:
    """Write a result that a person reads or pipes, with a line end, to standard output.

    Raises:
        Stopped: Nobody reads any more.
    """
    output = Output()
    output.write(text + "\n")
    output.flush()


def make_output_robust() -> None:
    """Let characters that the console cannot show be written as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _discard_standard_output() -> None:
    # Otherwise Python flushes the dead pipe again at exit and complains.
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError, AttributeError):
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
