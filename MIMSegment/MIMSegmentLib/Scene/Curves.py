import vtk
from slicer.i18n import tr as _

COLORS = {
    "loss": (0.12, 0.47, 0.71),
    "validation_loss": (1.0, 0.5, 0.05),
    "validation_dice": (0.17, 0.63, 0.17),
}


class Curves:
    """Measured numbers of a training as a plot in the scene, growing while it runs."""

    def __init__(self, scene, title):
        self._scene = scene
        self._title = title
        self._tables = {}
        self._offset = self._last = 0
        self.chart = None

    def begin(self):
        """Start afresh; the chart of an earlier training stays in the scene."""
        self._tables = {}
        self._offset = self._last = 0
        self.chart = self._scene.AddNewNodeByClass("vtkMRMLPlotChartNode", self._scene.GenerateUniqueName(self._title))
        self.chart.SetTitle(self._title)
        self.chart.SetXAxisTitle(_("Step"))
        self.chart.SetYAxisTitle(_("Value"))

    def nextPart(self):
        """Another training of the same run begins, whose steps are counted from 0 again."""
        self._offset = self._last

    def add(self, name, step, value):
        """Add a point; numbers of unknown names are not drawn."""
        if self.chart is None or name not in COLORS or step is None or value is None:
            return
        self._last = max(self._last, self._offset + step)
        if name not in self._tables:
            self._tables[name] = self._addSeries(name)
        node = self._tables[name]
        table = node.GetTable()
        row = table.InsertNextBlankRow()
        table.SetValue(row, 0, vtk.vtkVariant(float(self._offset + step)))
        table.SetValue(row, 1, vtk.vtkVariant(float(value)))
        table.Modified()
        node.Modified()

    def points(self, name):
        """Number of points of one curve."""
        return self._tables[name].GetTable().GetNumberOfRows() if name in self._tables else 0

    def forget(self):
        """The scene was closed."""
        self._tables = {}
        self.chart = None

    def _addSeries(self, name):
        title = {
            "loss": _("Loss"),
            "validation_loss": _("Loss on held-out scans"),
            "validation_dice": _("Dice on held-out cases"),
        }[name]
        table = self._scene.AddNewNodeByClass("vtkMRMLTableNode", f"{self.chart.GetName()} {title}")
        for column in (_("Step"), title):
            values = vtk.vtkDoubleArray()
            values.SetName(column)
            table.AddColumn(values)
        series = self._scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", title)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName(_("Step"))
        series.SetYColumnName(title)
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleCircle if name != "loss" else series.MarkerStyleNone)
        series.SetColor(*COLORS[name])
        self.chart.AddAndObservePlotSeriesNodeID(series.GetID())
        return table
