import os
from html import escape

import qt
from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Process.Words import inPanelWords


class ModelsTab:
    """Models of this computer: import, export, remove, where they lie."""

    def __init__(self, ui, logic, desktop, catalog):
        self.ui = ui
        self.logic = logic
        self.desktop = desktop
        self.catalog = catalog
        ui.modelsTable.horizontalHeader().setStretchLastSection(True)
        ui.modelsTable.verticalHeader().hide()
        ui.modelsTable.connect("itemSelectionChanged()", self.onSelected)
        ui.importModelButton.connect("clicked()", self.onImport)
        ui.exportModelButton.connect("clicked()", self.onExport)
        ui.removeModelButton.connect("clicked()", self.onRemove)
        ui.modelReportButton.connect("clicked()", self.onOpenReport)
        ui.modelsFolderButton.connect("clicked()", self.onOpenFolder)
        catalog.changed.connect(self.showModels)
        catalog.failed.connect(self.fail)
        self.showModels()

    def showModels(self):
        """Fill the table."""
        table = self.ui.modelsTable
        table.setRowCount(len(self.catalog.models))
        for row, model in enumerate(self.catalog.models):
            kind = _("came with MIMSegment") if model.get("shipped") else _("yours")
            cells = (
                model["name"],
                model.get("modality", ""),
                str(len(model.get("labels", ()))),
                _("damaged") if model.get("fault") else kind,
            )
            for column, text in enumerate(cells):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(_faultText(model) or model.get("title") or model["name"])
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        self.ui.modelsFolderLabel.text = _("Your models: {folder}").format(folder=self.logic.modelsFolder())
        self.onSelected()

    def selected(self):
        """The selected entry of the list, or None."""
        row = self.ui.modelsTable.currentRow()
        chosen = self.ui.modelsTable.selectedItems()
        return self.catalog.models[row] if chosen and 0 <= row < len(self.catalog.models) else None

    def onSelected(self):
        model = self.selected()
        self.ui.exportModelButton.enabled = model is not None and not model.get("fault")
        self.ui.removeModelButton.enabled = model is not None and not model.get("shipped")
        self.ui.modelReportButton.visible = bool(self._report())
        if model is None:
            self.ui.modelDetailsLabel.text = _("Select a model to see its card.")
        elif model.get("fault"):
            self.ui.modelDetailsLabel.text = escape(_faultText(model))
        else:
            self.catalog.show(model["name"], self.showCard)

    def showCard(self, name, facts):
        """Show the card of the selected model; a late answer about another one is dropped."""
        model = self.selected()
        if model is not None and model["name"] == name:
            self.ui.modelDetailsLabel.text = Texts.fullModelCard(facts)

    def onImport(self):
        path = self.desktop.chooseFileToOpen(
            _("Import a model"), self.desktop.recall("ModelsFolder"), _("Models (*.zip)")
        )
        if path:
            self.importModel(path)

    def importModel(self, path, replace=False):
        """Take in a model from one file."""
        self.desktop.remember("ModelsFolder", os.path.dirname(path))
        self._say(_("Checking {path} ...").format(path=path))
        self.logic.importModel(path, lambda answer: self._onImported(path, answer), replace)

    def _onImported(self, path, answer):
        if answer.code == "model-exists":
            question = answer.message + " " + _("Replace the model that is there?")
            if self.desktop.confirm(question):
                self.importModel(path, replace=True)
                return
        if answer.ok:
            self._say(_("Imported {name}.").format(name=answer.result["name"]))
        else:
            self.fail(answer.message, answer.hint)

    def onExport(self):
        model = self.selected()
        start = os.path.join(self.desktop.recall("ModelsFolder"), model["name"] + ".zip")
        path = self.desktop.chooseFileToWrite(_("Export the model"), start, _("Models (*.zip)"))
        if path:
            self.desktop.remember("ModelsFolder", os.path.dirname(path))
            self.logic.exportModel(model["name"], path, self._onExported)

    def _onExported(self, answer):
        if answer.ok:
            self._say(_("Written: {path}").format(path=answer.result["file"]))
        else:
            self.fail(answer.message, answer.hint)

    def onRemove(self):
        model = self.selected()
        question = _("Delete the model {name} from this computer? This cannot be undone.").format(name=model["name"])
        if self.desktop.confirm(question):
            self.logic.removeModel(model["name"], self._onRemoved)

    def _onRemoved(self, answer):
        if answer.ok:
            self._say(_("Removed {name}.").format(name=os.path.basename(answer.result["removed"])))
        else:
            self.fail(answer.message, answer.hint)

    def onOpenReport(self):
        self.desktop.openFile(self._report())

    def _report(self):
        model = self.selected()
        return self.logic.reportOf(model["path"]) if model is not None and model.get("path") else ""

    def onOpenFolder(self):
        self.desktop.openFolder(self.logic.modelsFolder())

    def fail(self, message, hint):
        """One sentence and one remedy."""
        self.ui.modelsStatusLabel.text = Texts.problemText(message, hint)
        self.ui.modelsStatusLabel.visible = True

    def _say(self, text):
        self.ui.modelsStatusLabel.text = escape(text)
        self.ui.modelsStatusLabel.visible = True


def _faultText(model):
    """What is wrong with a model, "" if nothing."""
    return inPanelWords("model-damaged", model["fault"])[0] if model.get("fault") else ""
