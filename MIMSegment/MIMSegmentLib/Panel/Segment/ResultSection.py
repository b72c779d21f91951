import qt
from slicer.i18n import tr as _


class ResultSection:
    """The chosen segmentation: what made it, the volumes of its structures, the way to corrections."""

    def __init__(self, ui, logic, desktop, status):
        self.ui = ui
        self.logic = logic
        self.desktop = desktop
        self.status = status
        ui.volumesTable.horizontalHeader().setStretchLastSection(True)
        ui.volumesTable.verticalHeader().hide()
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.onSegmentationChanged)
        ui.editButton.connect("clicked()", self.onEdit)

    def choose(self, node):
        """Show a new result."""
        if node is not None:
            self.ui.segmentationSelector.setCurrentNode(node)
        self.ui.resultButton.collapsed = False
        self.show()

    def onSegmentationChanged(self, node):
        self.show()
        self.update()

    def show(self):
        """The mL of each segment of the chosen segmentation, as it is now, and what made it."""
        node = self.ui.segmentationSelector.currentNode()
        rows = self.logic.scene.tables.volumesOf(node) if node is not None else []
        table = self.ui.volumesTable
        table.setRowCount(len(rows))
        for row, (name, milliliters, _voxels) in enumerate(rows):
            table.setItem(row, 0, qt.QTableWidgetItem(name))
            table.setItem(row, 1, qt.QTableWidgetItem(volumeText(milliliters)))
        table.resizeColumnToContents(0)
        description = (node.GetDescription() or "") if node is not None else ""
        self.ui.resultInfoLabel.text = description
        self.ui.resultInfoLabel.visible = bool(description)

    def onEdit(self):
        node = self.ui.segmentationSelector.currentNode()
        self.desktop.openSegmentEditor(node, self.logic.scene.volumeOf(node))

    def onCorrected(self, name, problem, notes):
        """A corrected result was added to the training cases, or could not be."""
        if problem is not None:
            self.status.fail(problem.message, problem.hint)
        else:
            self.status.hint(_("Added to the training cases on the Fine-tune tab: {name}").format(name=name), notes)

    def update(self):
        """Enable what can be done now."""
        self.ui.editButton.enabled = self.ui.segmentationSelector.currentNode() is not None


def volumeText(milliliters):
    """mL with two digits; a half is rounded up, though its binary number lies a little below."""
    return f"{milliliters + 1e-6:.2f}"
