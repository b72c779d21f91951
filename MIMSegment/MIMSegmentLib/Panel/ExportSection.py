from html import escape

from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Panel.Fields import connectPath
from MIMSegmentLib.Problem import Problem


class ExportSection:
    """The chosen segmentation -> files, or a labelmap node; the folder is remembered."""

    def __init__(self, ui, logic, desktop):
        self.ui = ui
        self.logic = logic
        self.desktop = desktop
        self._boxes = (
            (".seg.nrrd", ui.exportSegNrrdCheckBox),
            (".nii.gz", ui.exportNiftiCheckBox),
            (".nrrd", ui.exportNrrdCheckBox),
        )
        ui.exportFolderEdit.currentPath = desktop.recall("ExportFolder")
        connectPath(ui.exportFolderEdit, self.onFolderChanged)
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
        """Endings of the checked kinds of files."""
        return [ending for ending, box in self._boxes if box.checked]

    def onFolderChanged(self, path):
        self.desktop.remember("ExportFolder", path)
        self.update()

    def onExport(self):
        folder = self.ui.exportFolderEdit.currentPath
        there = self.logic.wouldReplace(self.ui.segmentationSelector.currentNode(), folder, self.formats())
        if there:
            question = _("There is already: {names}. Replace it?").format(names=", ".join(there))
            if not self.desktop.confirm(question):
                self._say(_("Nothing was written."))
                return
        written, notes = self._export(folder, self.formats())
        if written:
            names = ", ".join(str(path).replace("\\", "/").rpartition("/")[2] for path in written)
            self._folder = folder
            text = _("Written to {folder}: {names}").format(folder=folder, names=names)
            self._say(text, notes, link=_("Show the folder"))

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
        except Problem as problem:
            self.ui.exportStatusLabel.text = Texts.problemText(problem.message, problem.hint)
            self.ui.exportStatusLabel.visible = True
            return [], []

    def update(self, *_ignored):
        """Enable what can be done now."""
        chosen = self.ui.segmentationSelector.currentNode() is not None
        self.ui.exportButton.enabled = bool(chosen and self.formats() and self.ui.exportFolderEdit.currentPath)
        self.ui.labelmapButton.enabled = chosen

    def onLink(self, link):
        self.desktop.openFolder(self._folder)

    def _say(self, text, notes=(), link=""):
        lines = [text, *(_("Please note: {warning}").format(warning=note) for note in notes)]
        shown = [escape(line) for line in lines] + ([f'<a href="folder">{escape(link)}</a>'] if link else [])
        self.ui.exportStatusLabel.text = "<br>".join(shown)
        self.ui.exportStatusLabel.visible = True
