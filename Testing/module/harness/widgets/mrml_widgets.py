"""The base of the MRML widgets, and the plot of Slicer, drawn with Qt's own."""

from __future__ import annotations

import math
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that hands its scene on."""

    sceneChanged = Signal(object)
    ownSignals = {"mrmlSceneChanged(vtkMRMLScene*)": "sceneChanged"}  # noqa: RUF012

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:
        """Return the scene."""
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene."""
        if scene is not self._scene:
            self._scene = scene
            self.sceneChanged.emit(scene)


class qMRMLPlotWidget(qMRMLWidget):
    """The plot of a plot view node, drawn as plain lines."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._timer = QtCore.QTimer(self)
        self._timer.timeout.connect(self.update)
        self.setMinimumHeight(120)

    def mrmlPlotViewNode(self) -> Any:
        """Return the view node."""
        return self._node

    def setMRMLPlotViewNode(self, node: Any) -> None:
        """Show the chart of a view node."""
        self._node = node
        self._timer.start(500)
        self.update()

    def series(self) -> list[tuple[str, list[tuple[float, float]]]]:
        """Return the name and points of every line in the chart."""
        chart = self._node.GetPlotChartNode() if self._node is not None else None
        lines = []
        for number in range(chart.GetNumberOfPlotSeriesNodes() if chart is not None else 0):
            node = chart.GetNthPlotSeriesNode(number)
            table = node.GetTableNode().GetTable() if node is not None and node.GetTableNode() is not None else None
            if table is None:
                continue
            x, y = (table.GetColumnByName(name) for name in (node.GetXColumnName(), node.GetYColumnName()))
            if x is None or y is None:
                continue
            rows = range(table.GetNumberOfRows())
            points = [(x.GetVariantValue(i).ToDouble(), y.GetVariantValue(i).ToDouble()) for i in rows]
            lines.append((node.GetName(), [point for point in points if math.isfinite(point[1])]))
        return lines

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw axes and lines."""
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), QtCore.Qt.GlobalColor.white)
        frame = self.rect().adjusted(30, 8, -8, -20)
        painter.setPen(QtCore.Qt.GlobalColor.gray)
        painter.drawRect(frame)
        lines = [line for line in self.series() if line[1]]
        points = [point for _, line in lines for point in line]
        if not points:
            return
        low_x, high_x = min(p[0] for p in points), max(p[0] for p in points)
        low_y, high_y = min(p[1] for p in points), max(p[1] for p in points)
        for number, (name, line) in enumerate(lines):
            painter.setPen(QtGui.QPen(QtGui.QColor.fromHsv(number * 140 % 360, 200, 180), 2))
            polygon = [
                QtCore.QPointF(
                    frame.left() + (x - low_x) / ((high_x - low_x) or 1) * frame.width(),
                    frame.bottom() - (y - low_y) / ((high_y - low_y) or 1) * frame.height(),
                )
                for x, y in line
            ]
            painter.drawPolyline(polygon)
            painter.drawText(frame.left() + 6 + 130 * number, frame.bottom() + 15, name)

    viewLabel = Property(str, lambda self: "P", lambda self, value: None)


IMPLEMENTED = (qMRMLWidget, qMRMLPlotWidget)
