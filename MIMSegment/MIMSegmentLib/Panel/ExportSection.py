from html import escape

from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Panel.Fields import rememberPath
from MIMSegmentLib.Problem import Problem, asProblem
from MIMSegmentLib.Process.Words import actionOf
from MIMSegmentLib.Scene.ResultFiles import DICOM
from MIMSegmentLib.Signal import Signal


class ExportSection:
    """The chosen segmentation -> files, or a labelmap node; the folder is remembered.

    Signals: remedied(str action), the remedy of a failure was clicked, see `Words`.

    :param ui: the widgets of MIMSegment.ui.
    :param logic: a `Logic`.
    :param desktop: a `Desktop`.
    """

    def __init__(self, ui, logic, desktop):
        self.remedied = Signal("remedied")
        self.ui = ui
        self.logic = logic
        self.desktop = desktop
        self._boxes = (
            (".seg.nrrd", ui.exportSegNrrdCheckBox),
            (".nii.gz", ui.exportNiftiCheckBox),
            (".nrrd", ui.exportNrrdCheckBox),
            (DICOM, ui.exportDicomCheckBox),
        )
        # A DICOM segmentation is being written.
        self._busy = False
        rememberPath(ui.exportFolderEdit, desktop, "ExportFolder", self.update)
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.update)
        for _ending, box in self._boxes:
            box.connect("toggled(bool)", self.update)
        ui.exportButton.connect("clicked()", self.onExport)
        # Where the last files were written to.
        self._folder = ""
        ui.exportStatusLabel.connect("linkActivated(QString)", self.onLink)
        ui.labelmapButton.connect("clicked()", self.onLabelmap)
        self.update()

    def formats(self):
        """Endings of the checked kinds of files that can be written."""
        return [ending for ending, box in self._boxes if box.checked and (ending != DICOM or not self._whyNoDicom())]

    def onExport(self):
        node, folder = self.ui.segmentationSelector.currentNode(), self.ui.exportFolderEdit.currentPath
        formats = self.formats()
        there = self.logic.wouldReplace(node, folder, formats)
        if there:
            question = _("There is already: {names}. Replace it?").format(names=", ".join(there))
            if not self.desktop.confirm(question):
                self._say(_("Nothing was written."))
                return
        written, notes = self._export(folder, formats)
        if written and DICOM in formats:
            self._exportDicom(node, folder, written, notes)
        elif written:
            self._sayWritten(folder, written, notes)

    def _exportDicom(self, node, folder, written, notes):
        def onAnswer(answer):
            self._busy = False
            self.update()
            if answer.ok:
                self._sayWritten(folder, [*written, answer.result["output"]], notes)
            else:
                self._sayProblem(answer.message, answer.hint, actionOf(answer.code))

        self._say(_("Writing the DICOM segmentation ..."))
        try:
            self.logic.exportDicom(node, folder, onAnswer)
        except Exception as fault:
            problem = asProblem(fault)
            self._sayProblem(problem.message, problem.hint)
            return
        self._busy = True
        self.update()

    def onLabelmap(self):
        written, notes = self._export("", ["labelmap"])
        if written:
            self._say(_("Created the labelmap {name}.").format(name=written[0]), notes)

    def _export(self, folder, formats):
        """What was written, and what the user should know of it."""
        notes = []
        try:
            node = self.ui.segmentationSelector.currentNode()
            return self.logic.exportResult(node, folder, formats, notes.append), notes
        except Exception as fault:
            problem = asProblem(fault)
            self._sayProblem(problem.message, problem.hint)
            return [], []

    def sceneClosed(self):
        """What was said of nodes that are gone does not stay on the screen."""
        if not self._busy:
            self.ui.exportStatusLabel.text = ""
            self.ui.exportStatusLabel.visible = False

    def update(self, *_ignored):
        """Enable what can be done now."""
        chosen = self.ui.segmentationSelector.currentNode() is not None
        why = self._whyNoDicom()
        self.ui.exportDicomCheckBox.enabled = chosen and not why
        self.ui.exportDicomLabel.text = _("No .dcm: {reason}").format(reason=why) if why else ""
        self.ui.exportDicomLabel.visible = bool(why)
        possible = chosen and not self._busy
        self.ui.exportButton.enabled = bool(possible and self.formats() and self.ui.exportFolderEdit.currentPath)
        self.ui.labelmapButton.enabled = possible

    def _whyNoDicom(self):
        node = self.ui.segmentationSelector.currentNode()
        if node is None:
            return ""
        try:
            self.logic.checkDicom(node)
        except Problem as problem:
            return f"{problem.message} {problem.hint}"
        return ""

    def onLink(self, link):
        """The folder, or the remedy of a problem, was clicked."""
        if link == "folder":
            self.desktop.openFolder(self._folder)
        else:
            self.remedied.emit(link)

    def _sayWritten(self, folder, written, notes):
        names = ", ".join(str(path).replace("\\", "/").rpartition("/")[2] for path in written)
        self._folder = folder
        text = _("Written to {folder}: {names}").format(folder=folder, names=names)
        self._say(text, notes, link=_("Show the folder"))

    def _sayProblem(self, message, hint, action=""):
        self.ui.exportStatusLabel.text = Texts.problemText(message, hint, action)
        self.ui.exportStatusLabel.visible = True

    def _say(self, text, notes=(), link=""):
        lines = [text, *(_("Please note: {warning}").format(warning=note) for note in notes)]
        shown = [escape(line) for line in lines] + ([f'<a href="folder">{escape(link)}</a>'] if link else [])
        self.ui.exportStatusLabel.text = "<br>".join(shown)
        self.ui.exportStatusLabel.visible = True
