import os
from html import escape

import qt
from slicer.i18n import tr as _

from MIMSegmentLib.Process.Words import hasCommandWords
from MIMSegmentLib.Runs.CheckReport import picturesOf

# Of a picture, in pixels: a tab that was never shown has no width of its own yet.
LEAST_WIDTH = 360


class FindingsSection:
    """What Check data found: a list, and below it the chosen finding with its numbers and pictures."""

    def __init__(self, ui, desktop):
        self.ui = ui
        self.desktop = desktop
        self._problems = []
        self._pictures = {}
        self._report = ""
        ui.problemsList.connect("currentRowChanged(int)", self.onChosen)
        ui.checkReportButton.connect("clicked()", self.onOpenReport)

    def show(self, problems, report=""):
        """List what is wrong with the cases, in plain words; returns one sentence about it.

        :param problems: see `Logic.checkCases`.
        :param report: path of the HTML file with the pictures, or "".
        """
        self._problems = list(problems)
        self._report = report if report and os.path.isfile(report) else ""
        self._pictures = picturesOf(self._report) if self._report and problems else {}
        entries = self.ui.problemsList
        entries.clear()
        for problem in self._problems:
            entries.addItem(_sentence(problem))
        entries.visible = bool(problems)
        self.ui.checkReportButton.visible = bool(self._report)
        self.ui.findingLabel.visible = self.ui.findingPictureLabel.visible = False
        if self._problems:
            entries.setCurrentRow(0)
        errors = sum(problem.get("severity") == "error" for problem in self._problems)
        if not self._problems:
            return _("No problem found.")
        if errors:
            return _("{count} problems must be solved before training.").format(count=errors)
        return _("Training is possible; please read the notes.")

    def clear(self):
        """The cases are others now."""
        self.show([])

    def onChosen(self, row):
        """Show the details of a finding."""
        if not 0 <= row < len(self._problems):
            return
        problem = self._problems[row]
        remedy = remedyText(problem)
        lines = [f"<b>{escape(_('What to do:'))}</b> {escape(remedy)}"] if remedy else []
        lines += [escape(problem["numbers"])] if problem.get("numbers") else []
        self.ui.findingLabel.text = "<br>".join(lines)
        self.ui.findingLabel.visible = bool(lines)
        self._showPicture(row, self._pictures.get((problem.get("case") or "", problem["message"]), ()))

    def _showPicture(self, row, pictures):
        label = self.ui.findingPictureLabel
        label.visible = False
        for caption, content in pictures[:1]:
            picture = self._read(row, content)
            if not picture.isNull():
                width = min(picture.width(), max(LEAST_WIDTH, self.ui.problemsList.width))
                label.setPixmap(picture.scaledToWidth(width, qt.Qt.SmoothTransformation))
                label.toolTip = caption
                label.visible = True

    def _read(self, row, content):
        # By way of a file of its own, beside the report, since Qt remembers pictures by their file names.
        path = os.path.join(os.path.dirname(self._report), f"finding-{row}.png")
        try:
            with open(path, "wb") as stream:
                stream.write(content)
        except OSError:
            return qt.QPixmap()
        return qt.QPixmap(path)

    def onOpenReport(self):
        self.desktop.openFile(self._report)


def _sentence(problem):
    severity = {"error": _("Error"), "warning": _("Warning"), "note": _("Note")}.get(problem.get("severity"), "")
    where = problem.get("case") or ""
    return ": ".join(part for part in (severity, where, problem["message"]) if part)


def remedyText(problem):
    """What to do about a finding, in the panel's words where the backend speaks of its options."""
    remedy = problem.get("remedy") or ""
    if not hasCommandWords(remedy):
        return remedy
    own = {
        "duplicate": _("Remove one of them, unless these are two scans of one patient."),
        "near-duplicate": _("Remove one of them, unless these are two scans of one patient."),
        "leaking-validation": _("Keep the cases of a patient on one side: remove them from the one or the other."),
        "label-names-differ": _("Give the same structure the same name in every case."),
        "unknown-label-value": _("Give the same structure the same value in every case."),
    }
    return own.get(problem.get("code"), _("Look at the pictures; remove or correct the case where they show a fault."))
