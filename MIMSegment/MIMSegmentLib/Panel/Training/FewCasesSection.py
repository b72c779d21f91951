from slicer.i18n import tr as _

from MIMSegmentLib.Panel.Fields import rememberPath
from MIMSegmentLib.Panel.Training.TrainingTexts import fewCasesText, foldsOf
from MIMSegmentLib.Process.Command import FinetuneOptions
from MIMSegmentLib.Signal import Signal


class FewCasesSection:
    """What few cases need beside the training: honest scores, a comparison, learning from scans without labels.

    Signals: changed(), something else was chosen.

    :param cases: a `CasesSection`.
    """

    def __init__(self, ui, cases, desktop):
        self.ui = ui
        self.cases = cases
        self.changed = Signal("changed")
        for box in (ui.foldsCheckBox, ui.compareCheckBox):
            box.connect("toggled(bool)", self.onChanged)
        rememberPath(ui.ownScansEdit, desktop, "OwnScansFolder", self.onChanged)
        for box in (ui.ownScansMinutesSpinBox, ui.finetuneMinutesSpinBox):
            box.connect("valueChanged(int)", self.onChanged)

    def onChanged(self, *_ignored):
        self.changed.emit()

    def chosen(self):
        """Fields of `FinetuneOptions` that are asked for; what needs scores is left out without them."""
        if not self.ui.foldsCheckBox.checked:
            return {}
        folder = self.ui.ownScansEdit.currentPath.strip()
        wanted = {"folds": "auto", "compare": self.ui.compareCheckBox.checked and self.ui.compareCheckBox.enabled}
        if folder:
            wanted |= {"pretrainOn": (folder,), "pretrainMinutes": float(self.ui.ownScansMinutesSpinBox.value)}
        return wanted

    @property
    def possible(self):
        """False if what is chosen needs more cases than there are."""
        return not self.ui.foldsCheckBox.checked or foldsOf(self.cases.subjects) > 0

    def update(self, hasStart):
        """Enable what can be chosen, and say what it will cost.

        :param hasStart: False if training starts from nothing.
        """
        scored = self.ui.foldsCheckBox.checked
        hasFolder = bool(self.ui.ownScansEdit.currentPath.strip())
        self.ui.ownScansEdit.enabled = scored
        self.ui.ownScansMinutesSpinBox.enabled = scored and hasFolder
        self.ui.compareCheckBox.enabled = scored and (hasStart or hasFolder)
        text = fewCasesText(
            self.cases.subjects, self.ui.finetuneMinutesSpinBox.value, FinetuneOptions(**self.chosen()), hasStart
        )
        if not scored:
            text += " " + _(
                "With every case scored, it can also be compared with training from scratch, and with learning from"
                " your own scans first: only these scores tell whether that helped."
            )
        self.ui.trainingsLabel.text = text
