"""What the backend answers, as plain Python: lines -> events, the end of a process -> an answer."""

import json
from dataclasses import dataclass

from slicer.i18n import tr as _

from MIMSegmentLib.Process.Words import inPanelWords

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USER = 2
EXIT_OUT_OF_MEMORY = 3
EXIT_STOPPED = 130
# Of our own: the process ended without an exit code (killed by the system, or by the user elsewhere).
EXIT_KILLED = -1

EVENTS = ("start", "progress", "metric", "model", "warning", "result", "error")


@dataclass(frozen=True)
class Event:
    """One line that the backend wrote: `kind` is one of EVENTS, `fields` is the rest of it."""

    kind: str
    fields: dict


@dataclass(frozen=True)
class Answer:
    """The outcome of a backend run: a result, or one sentence about the failure and one about the remedy."""

    result: dict = None
    message: str = ""
    hint: str = ""
    code: str = ""
    exitCode: int = EXIT_DONE

    @property
    def ok(self):
        return self.result is not None

    @property
    def stopped(self):
        return self.exitCode == EXIT_STOPPED


def parseLine(text):
    """The event in a line of the backend's standard output, or None if the line is something else."""
    try:
        fields = json.loads(text)
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("event") not in EVENTS:
        return None
    kind = fields.pop("event")
    return Event(kind, fields)


def problemText(exitCode, error=None):
    """One sentence and one remedy for a run that failed.

    :param exitCode: of the process, or EXIT_KILLED.
    :param error: fields of the backend's own error event, which knows more.
    """
    if error and error.get("message"):
        return inPanelWords(str(error.get("code") or "bug"), str(error["message"]), str(error.get("hint") or ""))
    if exitCode == EXIT_KILLED:
        return (
            _("The computation was ended from outside before it was done."),
            _("Often memory ran out: close other programs, or choose a smaller region, then try again."),
        )
    if exitCode == EXIT_OUT_OF_MEMORY:
        return (
            _("The memory of this computer does not suffice."),
            _("Close other programs, choose a smaller region (ROI), or choose another device."),
        )
    if exitCode == EXIT_STOPPED:
        return _("Stopped."), ""
    if exitCode == EXIT_DONE:
        return (
            _("The computation ended without a result."),
            _("Try again; if it happens again, report it with the text of the log."),
        )
    return (
        _("The computation failed (exit code {code}).").format(code=exitCode),
        _("See the log for details, and the tab 'Computer' for what may be missing."),
    )
