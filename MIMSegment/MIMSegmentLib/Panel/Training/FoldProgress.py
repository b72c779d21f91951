from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts


class FoldProgress:
    """How far all trainings of a cross-validation are together, from what the backend says of its phases.

    The phase "folds" counts trainings, "all" measures everything; other phases lie inside of one training.

    :ivar share: 0 to 1 of everything, None while it is not known.
    :ivar etaSeconds: expected seconds until all is done, or None.
    """

    def __init__(self):
        self.share = self.etaSeconds = None
        self._done = self._total = 0
        self._phase = ""

    def add(self, phase, done, total, etaSeconds):
        """Take in a progress event."""
        if phase == "folds":
            self._done, self._total, self._phase = int(done), int(total), ""
        elif phase == "all":
            self.share, self.etaSeconds = (done / total if total else None), etaSeconds
        else:
            self._phase = phase

    @property
    def begun(self):
        """False while something comes before the first training."""
        return self._total > 0

    def text(self):
        """What is being done, in the user's words."""
        inner = Texts.phaseText(self._phase) if self._phase else ""
        if not self._total:
            return inner
        if self._done >= self._total:
            return _("Writing the model and its report")
        number = self._done + 1
        text = _("Training {number} of {total}").format(number=number, total=self._total)
        if number == self._total:
            text += " " + _("(the model itself, on all cases)")
        return f"{text}: {inner}" if inner else text
