"""The widgets of CTK that the module uses, drawn with Qt's own."""

from __future__ import annotations

import enum
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header that shows and hides its contents."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._collapsed = False
        self._hidden: list[QtWidgets.QWidget] = []
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda checked: self.setCollapsed(not checked))
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(2, self._header(), 2, 2)

    def _header(self) -> int:
        return self.fontMetrics().height() + 10

    def setCollapsed(self, collapsed: bool) -> None:
        """Hide or show the contents."""
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.setChecked(not collapsed)
        if collapsed:
            self._hidden = []
            self.hideContents()
        else:
            for child in filter(shiboken6.isValid, self._hidden):
                child.show()
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    def hideContents(self) -> None:
        """Hide what was added while collapsed."""
        # Not in childEvent: there PySide would take the half-made child for a plain QWidget, and keep to that.
        for child in self.children() if self._collapsed else ():
            if isinstance(child, QtWidgets.QWidget) and not child.isHidden():
                self._hidden.append(child)
                child.hide()

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        """Hide what was added while collapsed."""
        self.hideContents()
        super().showEvent(event)

    def sizeHint(self) -> QtCore.QSize:
        """Return the header's size, and the contents' when they are shown."""
        width = self.fontMetrics().horizontalAdvance(self.text()) + 40
        if self._collapsed or self.layout() is None:
            return QtCore.QSize(width, self._header())
        inner = self.layout().totalSizeHint()
        return QtCore.QSize(max(width, inner.width()), inner.height())

    def minimumSizeHint(self) -> QtCore.QSize:
        """Return the smallest size."""
        if self._collapsed or self.layout() is None:
            return QtCore.QSize(60, self._header())
        return self.layout().totalMinimumSize()

    def hitButton(self, position: QtCore.QPoint) -> bool:
        """Say whether a click belongs to the header."""
        return position.y() < self._header()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the header."""
        painter = QtGui.QPainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), self._header() - 4)
        self.style().drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option, painter, self)
        arrow = QtWidgets.QStyle.PrimitiveElement
        indicator = QtWidgets.QStyleOption()
        indicator.initFrom(self)
        indicator.rect = QtCore.QRect(8, option.rect.center().y() - 5, 10, 10)
        shape = arrow.PE_IndicatorArrowRight if self._collapsed else arrow.PE_IndicatorArrowDown
        self.style().drawPrimitive(shape, indicator, painter, self)
        text = option.rect.adjusted(26, 0, 0, 0)
        painter.setPen(self.palette().buttonText().color())
        painter.drawText(text, QtCore.Qt.AlignmentFlag.AlignVCenter, self.text())

    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)


def stored(name: str) -> Any:
    """Return the getter of a property that is only kept."""
    return lambda self: self._values[name]


def storing(name: str) -> Any:
    """Return the setter of a property that is only kept; a key fills the history."""

    def setter(self: Any, value: Any) -> None:
        self._values[name] = value
        if name == "settingKey" and value:
            self.retrieveHistory()

    return setter


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path with a history and a button that opens a file dialog."""

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    class Filters(enum.IntFlag):
        """What may be chosen."""

        Dirs = 0x1
        Files = 0x2
        Drives = 0x4
        AllEntries = 0x7
        NoSymLinks = 0x8
        Readable = 0x10
        Writable = 0x20
        Executable = 0x40
        Hidden = 0x100
        System = 0x200
        AllDirs = 0x400
        NoDot = 0x2000
        NoDotDot = 0x4000
        NoDotAndDotDot = 0x6000

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {
            "filters": 24663,
            "label": "",
            "nameFilters": [],
            "options": 0,
            "settingKey": "",
            "showHistoryButton": True,
            "minimumContentsLength": 0,
            "sizeAdjustPolicy": 0,
        }
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setEditable(True)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed)
        self._button = QtWidgets.QToolButton(self)
        self._button.setText("...")
        self._button.clicked.connect(self.browse)
        layout.addWidget(self._combo)
        layout.addWidget(self._button)
        self._combo.editTextChanged.connect(self._edited)

    def _edited(self, path: str) -> None:
        # An empty text is no acceptable input: nothing is told.
        if path:
            self.currentPathChanged.emit(path)

    def comboBox(self) -> QtWidgets.QComboBox:
        """Return the combo box."""
        return self._combo

    def browse(self) -> None:
        """Ask for a path; a test must patch this away."""
        raise RuntimeError("ctkPathLineEdit.browse() would wait for a user")

    def setCurrentPath(self, path: str) -> None:
        """Set the path."""
        self._combo.setEditText(path)

    def addCurrentPathToHistory(self) -> None:
        """Keep the path in the settings under the key."""
        path = self._combo.currentText()
        if path and self._combo.findText(path) < 0:
            self._combo.insertItem(0, path)
        if self._values["settingKey"]:
            paths = [self._combo.itemText(i) for i in range(self._combo.count())]
            QtCore.QSettings().setValue(self._values["settingKey"], paths)

    def retrieveHistory(self) -> None:
        """Fill the list from the settings."""
        paths = QtCore.QSettings().value(self._values["settingKey"]) or []
        current = self._combo.currentText()
        self._combo.clear()
        self._combo.addItems([paths] if isinstance(paths, str) else list(paths))
        self._combo.setEditText(current or (self._combo.itemText(0) if self._combo.count() else ""))

    currentPath = Property(str, lambda self: self._combo.currentText(), setCurrentPath)
    showBrowseButton = Property(
        bool, lambda self: not self._button.isHidden(), lambda self, shown: self._button.setVisible(shown)
    )
    filters = Property(int, stored("filters"), storing("filters"))
    label = Property(str, stored("label"), storing("label"))
    nameFilters = Property("QStringList", stored("nameFilters"), storing("nameFilters"))
    options = Property(int, stored("options"), storing("options"))
    settingKey = Property(str, stored("settingKey"), storing("settingKey"))
    showHistoryButton = Property(bool, stored("showHistoryButton"), storing("showHistoryButton"))
    minimumContentsLength = Property(int, stored("minimumContentsLength"), storing("minimumContentsLength"))
    sizeAdjustPolicy = Property(int, stored("sizeAdjustPolicy"), storing("sizeAdjustPolicy"))


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setObjectName("hboxLayout")
        layout.setContentsMargins(0, 0, 0, 0)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._slider.setObjectName("Slider")
        self._spin = QtWidgets.QDoubleSpinBox(self)
        self._spin.setObjectName("SpinBox")
        layout.addWidget(self._slider)
        layout.addWidget(self._spin)
        self._spin.setRange(0, 99)
        self._spin.valueChanged.connect(self._spun)
        self._slider.valueChanged.connect(self._slid)

    def _spun(self, value: float) -> None:
        share = (value - self._spin.minimum()) / max(self._spin.maximum() - self._spin.minimum(), 1e-12)
        self._slider.blockSignals(True)
        self._slider.setValue(round(share * self._slider.maximum()))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _slid(self, position: int) -> None:
        share = position / self._slider.maximum()
        self._spin.setValue(self._spin.minimum() + share * (self._spin.maximum() - self._spin.minimum()))

    def setValue(self, value: float) -> None:
        """Set the value."""
        self._spin.setValue(value)

    value = Property(float, lambda self: self._spin.value(), setValue)
    minimum = Property(float, lambda self: self._spin.minimum(), lambda self, v: self._spin.setMinimum(v))
    maximum = Property(float, lambda self: self._spin.maximum(), lambda self, v: self._spin.setMaximum(v))
    singleStep = Property(float, lambda self: self._spin.singleStep(), lambda self, v: self._spin.setSingleStep(v))
    decimals = Property(int, lambda self: self._spin.decimals(), lambda self, v: self._spin.setDecimals(v))
    suffix = Property(str, lambda self: self._spin.suffix(), lambda self, v: self._spin.setSuffix(v))


for _name, _filter in ctkPathLineEdit.Filters.__members__.items():
    setattr(ctkPathLineEdit, _name, _filter)

IMPLEMENTED = (ctkCollapsibleButton, ctkPathLineEdit, ctkSliderWidget)
