import os

import qt
from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Panel.Fields import rememberPath
from MIMSegmentLib.Panel.RunStatus import RunStatus
from MIMSegmentLib.Panel.RunTab import RunTab
from MIMSegmentLib.Problem import asProblem
from MIMSegmentLib.Signal import Signal


class RankSection(RunTab):
    """Scans without labels -> which one to label next, with the model's proposal and where it is unsure.

    Signals: corrected(segmentation node), the proposal is right now and becomes a training case.
    """

    def __init__(self, ui, logic, desktop, catalog, setup):
        super().__init__(ui, logic, desktop, catalog, setup, RunStatus(ui.rankProgressBar, ui.rankStatusLabel))
        self.corrected = Signal("corrected")
        self._cases = []
        self._report = ""
        self._nodes = (None, None, None)
        ui.rankingTable.horizontalHeader().setStretchLastSection(True)
        rememberPath(ui.unlabeledFolderEdit, desktop, "UnlabeledFolder", self.update)
        ui.rankSectionButton.connect("contentsCollapsed(bool)", self.onModelChosen)
        ui.rankModelSelector.connect("currentIndexChanged(int)", self.onModelChosen)
        ui.rankButton.connect("clicked()", self.onRankOrCancel)
        ui.rankingTable.connect("itemSelectionChanged()", self.update)
        ui.loadRankedButton.connect("clicked()", self.onLoad)
        ui.editRankedButton.connect("clicked()", self.onEdit)
        ui.addRankedButton.connect("clicked()", self.onAdd)
        ui.rankReportButton.connect("clicked()", self.onOpenReport)
        ui.uncertaintySlider.connect("valueChanged(double)", self.onOpacityChanged)
        catalog.changed.connect(self.showModels)
        self.showModels()
        self.showRanking(logic.ranking())

    def setParameters(self, parameters):
        """Follow these parameters (None: none) from now on."""
        self.parameters = parameters
        if parameters is not None:
            self.update()

    def showModels(self):
        """The models that can rank; the chosen one stays chosen."""
        wanted = self.ui.rankModelSelector.currentData
        self.ui.rankModelSelector.clear()
        for model in self.catalog.segmenters:
            self.ui.rankModelSelector.addItem(model["title"], model["name"])
        self.ui.rankModelSelector.setCurrentIndex(max(0, self.ui.rankModelSelector.findData(wanted)))
        self.update()

    def onModelChosen(self, *_ignored):
        name = self.ui.rankModelSelector.currentData
        if name and not self.ui.rankSectionButton.collapsed:
            self.catalog.show(name, self.showHint)
        self.update()

    def showHint(self, name, facts):
        """Say which scans the chosen model was made for; a late answer about another one is dropped."""
        if name != self.ui.rankModelSelector.currentData:
            return
        description = facts["description"]
        edges = None if description.get("locator") else description.get("field_of_view_mm")
        self.ui.rankHintLabel.visible = bool(edges)
        if edges:
            self.ui.rankHintLabel.text = _(
                "This model was made for scans of about {size}, one structure each: cut larger scans first."
            ).format(size=Texts.sizeText(edges))

    # -- rank

    def onRankOrCancel(self):
        if self.logic.work.command == "rank":
            self.ui.rankButton.enabled = False
            self.logic.cancel("rank")
            return
        folder, model = self._folder(), self.ui.rankModelSelector.currentData or ""
        self.setup.ensure("segment", lambda: self.logic.rankCases(folder, model))

    def showResult(self, result):
        self.showRanking(result["cases"])
        self._report = result.get("report") or ""
        if not self._cases:
            self.status.end(_("No scan was found in this folder."))
            return
        proposed = [case.name for case in self._cases if case.proposed] or [self._cases[0].name]
        self.status.end(_("Label these next: {names}").format(names=", ".join(proposed)))

    def showRanking(self, cases):
        """Fill the table, the scan to label first at the top."""
        self._cases = list(cases)
        table = self.ui.rankingTable
        table.setRowCount(len(self._cases))
        for row, case in enumerate(self._cases):
            note = " ".join(case.warnings) or (_("label this one") if case.proposed else "")
            for column, text in enumerate((case.name, f"{case.uncertainty:.3g}", note)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        table.visible = bool(self._cases)
        if self._cases:
            table.selectRow(0)

    # -- one of its scans

    def selected(self):
        """The chosen `RankedCase`, or None."""
        row = self.ui.rankingTable.currentRow()
        return self._cases[row] if self.ui.rankingTable.selectedItems() and 0 <= row < len(self._cases) else None

    def onLoad(self):
        try:
            self._nodes = self.logic.loadRankedCase(self.selected())
        except Exception as fault:
            problem = asProblem(fault)
            self.status.fail(problem.message, problem.hint)
            return
        volume, segmentation, uncertainty = self._nodes
        if segmentation is not None:
            self.ui.segmentationSelector.setCurrentNode(segmentation)
        self.logic.scene.hideOtherSegmentations(volume)
        self.desktop.showOverlay(volume, uncertainty, self.ui.uncertaintySlider.value)
        self.status.hint(_("Correct the proposal, first where the map is bright, then add it to the training cases."))
        self.update()

    def onEdit(self):
        self.desktop.openSegmentEditor(self._nodes[1], self._nodes[0])

    def onAdd(self):
        self.corrected.emit(self._nodes[1])

    def onAdded(self, name, problem, notes):
        """A corrected segmentation was added to the training cases, or could not be."""
        if self._nodes[1] is None or name != self._nodes[1].GetName():
            return
        if problem is not None:
            self.status.fail(problem.message, problem.hint)
        else:
            self.status.hint(_("Added to the training cases: {name}").format(name=name), notes)

    def onOpacityChanged(self, value):
        if self._loaded(2):
            self.desktop.showOverlay(self._nodes[0], self._nodes[2], value)

    def onOpenReport(self):
        self.desktop.openFile(self._report)

    def _loaded(self, number):
        return self._nodes[number] is not None and self.logic.scene.contains(self._nodes[number])

    def sceneClosed(self):
        """The loaded nodes are gone with the scene."""
        self._nodes = (None, None, None)
        self.update()

    def update(self, *_ignored):
        """Enable what can be done now."""
        ranking = self.logic.work.command == "rank"
        ready = bool(self._folder() and self.ui.rankModelSelector.currentData)
        self.ui.rankButton.text = _("Cancel") if ranking else _("Rank")
        self.ui.rankButton.enabled = ranking or (ready and not self.logic.work.command)
        self.ui.loadRankedButton.enabled = self.selected() is not None
        self.ui.editRankedButton.enabled = self._loaded(1)
        self.ui.addRankedButton.enabled = self._loaded(1) and not self.logic.work.command
        self.ui.uncertaintySlider.enabled = self._loaded(2)
        self.ui.rankReportButton.enabled = bool(self._report) and os.path.isfile(self._report)

    def _folder(self):
        return self.ui.unlabeledFolderEdit.currentPath.strip()
