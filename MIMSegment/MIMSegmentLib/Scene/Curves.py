import qt
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

COLORS = {
    "loss": (0.12, 0.47, 0.71),
    "validation_loss": (1.0, 0.5, 0.05),
    "validation_dice": (0.17, 0.63, 0.17),
}
# Room above the highest point.
MARGIN = 1.05
# A chart is drawn as a whole, so that drawing each point takes a time that grows with the square of their number.
DRAW_MILLISECONDS = 1000
# Of a curve; more points than that are closer to each other than pixels.
MOST_POINTS = 2000


class Curves:
    """Measured numbers of a training as a plot in the scene, growing while it runs.

    The points are kept here, so that the plot can be made again in a new scene. They are drawn together, a second after
    the first that is new.
    """

    def __init__(self, scene, title):
        self._scene = scene
        self._title = title
        self._training = ""
        self._points = {}
        self._tables = {}
        self._offset = self._last = 0
        self._lowest = self._highest = 0.0
        self._undrawn = set()
        self._waiting = False
        self.chart = None

    def begin(self, training="", resumed=False):
        """Start afresh; the chart of an earlier training stays in the scene.

        :param training: its name.
        :param resumed: it goes on: in its chart, if that is still there. Its earlier points are added again.
        """
        same = resumed and training == self._training and self._isThere()
        self._training = training
        self._points = {}
        self._offset = self._last = 0
        self._lowest = self._highest = 0.0
        self._undrawn = set()
        if not same:
            self._makeChart()
        for table in self._tables.values():
            table.GetTable().SetNumberOfRows(0)

    def nextPart(self):
        """Another training of the same run begins, whose steps are counted from 0 again."""
        self._offset = self._last

    def add(self, name, step, value):
        """Add a point; numbers of unknown names are not drawn."""
        if self.chart is None or name not in COLORS or step is None or value is None:
            return
        point = (float(self._offset + step), float(value))
        self._last = max(self._last, self._offset + step)
        self._lowest, self._highest = min(self._lowest, point[1]), max(self._highest, point[1])
        self._points.setdefault(name, []).append(point)
        self._undrawn.add(name)
        if not self._waiting:
            self._waiting = True
            qt.QTimer.singleShot(DRAW_MILLISECONDS, self.draw)

    def points(self, name):
        """The points `(step, value)` of one curve."""
        return list(self._points.get(name, ()))

    def forget(self):
        """The scene was closed, and no training goes on."""
        self._points, self._tables = {}, {}
        self._undrawn = set()
        self.chart = None

    def drawAgain(self):
        """The scene was closed while the training goes on: the same curves in a new chart."""
        self._makeChart()
        self._undrawn = set(self._points)
        self.draw()

    def draw(self):
        """Show the points that are new at once."""
        self._waiting = False
        if not self._undrawn or not self._isThere():
            return
        for name in COLORS:
            if name in self._undrawn:
                self._fill(name, self._points[name])
        self._undrawn = set()
        self._fitAxes()

    def _isThere(self):
        # The user may have deleted the chart.
        return self.chart is not None and self.chart.GetScene() is not None

    def _makeChart(self):
        self._tables = {}
        self.chart = self._scene.AddNewNodeByClass("vtkMRMLPlotChartNode", self._scene.GenerateUniqueName(self._title))
        self.chart.SetTitle(self._title)
        self.chart.SetXAxisTitle(_("Step"))
        self.chart.SetYAxisTitle(_("Value"))

    def _fill(self, name, points):
        if name not in self._tables:
            self._tables[name] = self._addSeries(name)
        node = self._tables[name]
        table = node.GetTable()
        kept = points[: -1 : -(-len(points) // MOST_POINTS)] + points[-1:]
        table.SetNumberOfRows(len(kept))
        for column, values in enumerate(zip(*kept, strict=True)):
            numpy_support.vtk_to_numpy(table.GetColumn(column))[:] = values
        table.Modified()
        node.Modified()

    def _fitAxes(self):
        """A plot view leaves its axes as they were when its first point came, unless the chart says otherwise."""
        with slicer.util.NodeModify(self.chart):
            self.chart.SetXAxisRangeAuto(False)
            self.chart.SetYAxisRangeAuto(False)
            self.chart.SetXAxisRange(0.0, max(1.0, float(self._last)))
            self.chart.SetYAxisRange(self._lowest, self._highest * MARGIN if self._highest > 0 else 1.0)

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
