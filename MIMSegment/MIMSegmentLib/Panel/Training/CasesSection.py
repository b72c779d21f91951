import qt
from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Problem import Problem, asProblem
from MIMSegmentLib.Signal import Signal


class CasesSection:
    """The table of labeled cases, filled from the scene, from a folder, or by a corrected result.

    Signals: changed(), a case was added or removed; corrected(str name, Problem or None, list of
    str), a result was added from the Segment tab, or could not be, and what the user should know of it.
    """

    def __init__(self, ui, logic, desktop, status):
        self.ui = ui
        self.logic = logic
        self.desktop = desktop
        self.status = status
        self.parameters = None
        # As the table shows them.
        self._entries = []
        self.changed = Signal("changed")
        self.corrected = Signal("corrected")
        ui.casesTable.horizontalHeader().setStretchLastSection(True)
        ui.casesTable.verticalHeader().hide()
        ui.structuresTable.horizontalHeader().setStretchLastSection(True)
        ui.structuresTable.verticalHeader().hide()
        self._filling = False
        # For cases in a folder.
        self._looking = False
        ui.structuresTable.connect("itemChanged(QTableWidgetItem*)", self.onRenamed)
        ui.casesTable.connect("itemSelectionChanged()", self.update)
        ui.caseVolumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.update)
        ui.caseSegmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onSegmentationChosen)
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.update)
        ui.addCaseButton.connect("clicked()", self.onAddFromScene)
        ui.addFolderButton.connect("clicked()", self.onAddFolder)
        ui.removeCaseButton.connect("clicked()", self.onRemove)
        ui.addResultButton.connect("clicked()", self.onAddCorrected)
        ui.casesFolderButton.connect("clicked()", self.onOpenFolder)
        self.show()

    @property
    def count(self):
        """Number of cases in the table."""
        return len(self._entries)

    @property
    def subjects(self):
        """Number of persons; each case is one if nothing else is known."""
        return len({entry.get("subject") or entry["id"] for entry in self._entries})

    def show(self):
        """Fill the table with what lies on disk; with nothing, and the reason, if that cannot be read."""
        try:
            entries, counts = self.logic.cases.entries(), self.logic.cases.counts()
            summary = self._summary(entries)
        except Problem as problem:
            entries, counts, summary = [], {}, Texts.problemText(problem.message, problem.hint)
        self._entries = entries
        table = self.ui.casesTable
        table.setRowCount(len(entries))
        for row, entry in enumerate(entries):
            for column, text in enumerate((entry["id"], ", ".join(entry.get("structures", [])))):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                table.setItem(row, column, item)
        table.resizeColumnToContents(0)
        self._showStructures(counts)
        self.ui.casesSummaryLabel.text = summary
        self.ui.casesFolderButton.toolTip = self.logic.cases.folder
        self.changed.emit()

    def _showStructures(self, counts):
        """The structures of all cases and the number of their cases; the names can be changed."""
        table = self.ui.structuresTable
        self._filling = True
        self._structures = list(counts.items())
        table.setRowCount(len(self._structures))
        for row, (name, count) in enumerate(self._structures):
            table.setItem(row, 0, qt.QTableWidgetItem(name))
            number = qt.QTableWidgetItem(str(count))
            number.setFlags(qt.Qt.ItemIsEnabled)
            table.setItem(row, 1, number)
        table.resizeColumnToContents(0)
        table.visible = bool(self._structures)
        self._filling = False

    def onRenamed(self, item):
        """A structure got another name, or that of another one."""
        if self._filling or item.column() != 0:
            return
        old, new = self._structures[item.row()][0], item.text()
        if new != old:
            # Later: the table is not filled anew while it tells of a change in it.
            qt.QTimer.singleShot(0, lambda: self._try(lambda _warn: self.logic.cases.rename(old, new)))

    def _summary(self, entries):
        names = {name for entry in entries for name in entry.get("structures", [])}
        if not entries:
            return _("No case yet. Five to twenty are a good start.")
        text = _("Cases: {cases}, structures: {structures}").format(cases=len(entries), structures=len(names))
        alone = self.logic.cases.withoutVolume()
        if alone:
            text += ". " + _(
                "Without a volume: {count}. From their segmentations, training draws images of every contrast and"
                " resolution; the model then suits scans of any kind, but has to be tried on real ones."
            ).format(count=alone)
        return text

    # -- buttons

    def onSegmentationChosen(self, node):
        """Propose the scan that the segmentation was made on."""
        if node is not None and self.parameters is not None:
            # First what the user chose: this slot comes before the one that writes it to the parameters, and each
            # change of a parameter writes all of them back to the widgets.
            self.parameters.caseSegmentation = node
            volume = self.logic.scene.volumeOf(node)
            if volume is not None:
                self.parameters.caseVolume = volume
        self.update()

    def onAddFromScene(self):
        volume, segmentation = self.ui.caseVolumeSelector.currentNode(), self.ui.caseSegmentationSelector.currentNode()
        own = self.logic.scene.volumeOf(segmentation)
        if volume is not None and own is not None and own is not volume:
            question = _("{segmentation} was made on {own}, not on {volume}. Add it with {volume} all the same?")
            names = {"segmentation": segmentation, "own": own, "volume": volume}
            names = {name: node.GetName() for name, node in names.items()}
            if not self.desktop.confirm(question.format(**names)):
                self.status.hint(_("Nothing was added."))
                return
        self._add(self.logic.cases.addFromScene, volume, segmentation)

    def onAddCorrected(self):
        self.addCorrected(self.ui.segmentationSelector.currentNode())

    def addCorrected(self, segmentation):
        """Add a result or a proposal that the user has corrected."""
        volume = self.logic.scene.volumeOf(segmentation)
        problem, notes = self._add(self.logic.cases.addCorrected, volume, segmentation)
        self.corrected.emit(segmentation.GetName(), problem, notes)

    def _add(self, add, volume, segmentation):
        def action(warn):
            identifier = add(self.logic.scene, volume, segmentation, warn=warn)
            self._askAboutEarlier(self.logic.cases.ofSameScan(identifier), warn)
            return [identifier]

        return self._try(action)

    def _askAboutEarlier(self, identifiers, warn):
        """May the case that was just added replace these of the same scan?"""
        if not identifiers:
            return
        names = ", ".join(identifiers)
        question = _(
            "This scan is a training case already: {names}. Replace it? The image and the labels that were written for"
            " it are deleted. Otherwise both are kept, and count as one person."
        ).format(names=names)
        # A training reads the files of its cases.
        if not self.logic.training.command and self.desktop.confirm(question + self._pausedText(identifiers)):
            self._remove(identifiers)
        else:
            warn(
                _("The same scan is a training case already, and both count as one person: {names}").format(names=names)
            )

    def onAddFolder(self):
        folder = self.desktop.chooseFolder(_("Folder with labeled cases"), self.desktop.recall("CasesSource"))
        if folder:
            self.desktop.remember("CasesSource", folder)
            self.status.hint(_("Looking for scans with labels ..."))
            self._looking = True
            self.update()
            self.logic.findCases(folder, lambda found: self._addFound(folder, found))

    def _addFound(self, folder, found):
        self._looking = False
        if isinstance(found, Problem):
            self.status.fail(found.message, found.hint)
            self.update()
            return
        self._try(lambda warn: self.logic.cases.addFromFolder(folder, found, warn))

    def onRemove(self):
        chosen = self.selected()
        question = _(
            "Cases to remove: {count}. The images and labels that were written for them are deleted, which cannot be"
            " undone; files elsewhere stay. Remove them?"
        ).format(count=len(chosen))
        if self.desktop.confirm(question + self._pausedText(chosen)):
            self._try(lambda _warn: self._remove(chosen))

    def _remove(self, identifiers):
        for identifier in identifiers:
            self.logic.cases.remove(identifier)

    def _pausedText(self, identifiers):
        """Which paused trainings end with these cases."""
        names = self.logic.trainingsNeeding(identifiers)
        if not names:
            return ""
        return " " + _("A paused training uses them and could not be resumed: {names}.").format(names=", ".join(names))

    def onOpenFolder(self):
        self.desktop.openFolder(self.logic.cases.folder)

    def selected(self):
        """Identifiers of the selected cases."""
        rows = sorted({item.row() for item in self.ui.casesTable.selectedItems()})
        return [self.ui.casesTable.item(row, 0).text() for row in rows]

    def _try(self, action):
        """Change the table; returns the Problem that prevented it, or None, and what the user should know."""
        failure, notes = None, []
        try:
            added = action(notes.append)
            self.status.hint(_("Added: {names}").format(names=", ".join(added)) if added else "", notes)
        except Exception as fault:
            failure = asProblem(fault)
            self.status.fail(failure.message, " ".join([failure.hint, *notes]))
        self.show()
        return failure, notes

    def update(self, *_ignored):
        """Enable what can be done now."""
        segmentation = self.ui.caseSegmentationSelector.currentNode()
        # A training has its own list of cases, but reads the files of those in it.
        idle = not self.logic.work.command
        unread = idle and not self.logic.training.command
        self.ui.addCaseButton.enabled = bool(segmentation and idle)
        self.ui.addFolderButton.enabled = idle and not self._looking
        self.ui.structuresTable.enabled = unread
        self.ui.removeCaseButton.enabled = bool(unread and self.ui.casesTable.selectedItems())
        self.ui.addResultButton.enabled = bool(idle and self.ui.segmentationSelector.currentNode())
