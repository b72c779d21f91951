from html import escape

from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Signal import Signal


class RunStatus:
    """A progress bar and one line of text below it: what a run is doing, and how it ended."""

    def __init__(self, progressBar, label):
        self._bar = progressBar
        self._label = label
        self._warnings = []
        self._extra = ""
        self._step = ""
        # action(str), a remedy was clicked.
        self.remedied = Signal("remedied")
        label.connect("linkActivated(QString)", self.remedied.emit)

    def begin(self, text):
        """A run starts; how far it is, is not known yet."""
        self._warnings = []
        self._extra = ""
        self._step = text
        self._bar.setRange(0, 0)
        self._bar.visible = True
        self._show()

    def progress(self, phase, done, total, etaSeconds):
        """`done` of `total` of a phase."""
        self.show(Texts.phaseText(phase), done / total if total else None, etaSeconds)

    def show(self, text, share, etaSeconds):
        """What is being done, and which share (0 to 1, None if unknown) of it."""
        if share is not None:
            self._bar.setRange(0, 1000)
            self._bar.setValue(round(1000 * share))
        else:
            self._bar.setRange(0, 0)
        self._step = text
        if etaSeconds:
            self._step += ", " + _("{duration} left").format(duration=Texts.durationText(etaSeconds))
        self._show()

    def addWarning(self, message):
        """The run goes on, but the user should know."""
        self._warnings.append(message)

    def setExtra(self, text):
        """A second line while the run goes on."""
        self._extra = text
        self._show()

    def end(self, text):
        """The run is over; what it warned of stays to be read."""
        self._bar.visible = False
        self.hint(text, self._warnings)

    def fail(self, message, hint, action=""):
        """The run failed: one sentence and one remedy, with a link for what a click can do about it."""
        self._bar.visible = False
        self._write(Texts.problemText(message, hint, action))

    def hint(self, text, notes=()):
        """Say something while nothing runs, and below it what the user should know."""
        lines = [text, *(_("Please note: {warning}").format(warning=note) for note in notes)]
        self._write("<br>".join(escape(line) for line in lines if line))

    def _show(self):
        self._write("<br>".join(escape(line) for line in (self._step, self._extra) if line))

    def _write(self, text):
        self._label.text = text
        self._label.visible = bool(text)
