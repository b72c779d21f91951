"""What each wrapped class offers: names recorded in a running 3D Slicer, and a short list for the rest."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

RECORDED = Path(__file__).parents[2] / "recorded" / "widget-api.json"

# Classes whose names were not recorded: the methods and constants that may be used. What is missing here raises.
UNRECORDED: dict[str, tuple[str | None, str]] = {
    "qt.Qt": (None, "*"),
    "qt.QSize": (None, "width height isEmpty isNull isValid setWidth setHeight"),
    "qt.QPoint": (None, "x y isNull setX setY"),
    "qt.QRect": (None, "x y width height left right top bottom contains size topLeft center isEmpty"),
    "qt.QColor": (None, "red green blue alpha name isValid redF greenF blueF setRgb setAlpha"),
    "qt.QFont": (
        None,
        "pointSize setPointSize bold setBold italic setItalic family setFamily setStyleHint"
        " StyleHint Monospace TypeWriter",
    ),
    "qt.QFontMetrics": (None, "height horizontalAdvance"),
    "qt.QPalette": (None, "Window ColorRole color setColor Base Text WindowText Highlight Mid ColorGroup"),
    "qt.QBrush": (None, "color"),
    "qt.QCursor": (None, "shape"),
    "qt.QRegion": (None, "isEmpty"),
    "qt.QKeySequence": (None, "toString isEmpty"),
    "qt.QModelIndex": (None, "row column data isValid parent"),
    "qt.QStandardItem": (
        None,
        "text setText data setData row column setCheckState checkState setEditable setCheckable",
    ),
    "qt.QDate": (None, "toString year month day isValid"),
    "qt.QDateTime": (None, "currentDateTime isValid toString toMSecsSinceEpoch"),
    "qt.QFileInfo": (
        None,
        "fileName suffix completeSuffix baseName completeBaseName exists isDir isFile absoluteFilePath absolutePath"
        " filePath path size isWritable isReadable canonicalFilePath",
    ),
    "qt.QDir": (
        None,
        "exists entryList mkpath path absolutePath absoluteFilePath filePath rootPath homePath tempPath cleanPath"
        " toNativeSeparators fromNativeSeparators isAbsolutePath removeRecursively"
        " NoDotAndDotDot Files Dirs AllEntries",
    ),
    "qt.QFile": (
        "qt.QObject",
        "open close exists readAll write fileName remove WriteOnly ReadOnly Text ReadWrite errorString size isOpen",
    ),
    "qt.QIODevice": ("qt.QObject", "ReadOnly WriteOnly ReadWrite Text OpenModeFlag"),
    "qt.QLocale": (None, "name toString system English UnitedStates formattedDataSize"),
    "qt.QStandardPaths": (
        None,
        "writableLocation StandardLocation TempLocation HomeLocation DocumentsLocation AppDataLocation"
        " AppLocalDataLocation GenericDataLocation findExecutable",
    ),
    "qt.QSysInfo": (None, "productType productVersion currentCpuArchitecture"),
    "qt.QEventLoop": ("qt.QObject", "exec_ exec quit exit isRunning processEvents"),
    "qt.QEvent": (
        None,
        "type KeyPress Type Close Resize Show Hide PaletteChange StyleChange LanguageChange accept ignore isAccepted",
    ),
    "qt.QResizeEvent": ("qt.QEvent", "size oldSize"),
    "qt.QCloseEvent": ("qt.QEvent", ""),
    "qt.QShowEvent": ("qt.QEvent", ""),
    "qt.QHideEvent": ("qt.QEvent", ""),
    "qt.QClipboard": ("qt.QObject", "text setText clear"),
    "qt.QCoreApplication": ("qt.QObject", "translate instance processEvents"),
    "qt.QApplication": (
        "qt.QObject",
        "clipboard instance processEvents setOverrideCursor restoreOverrideCursor overrideCursor topLevelWidgets"
        " palette font focusWidget activeWindow style",
    ),
    "qt.QThread": ("qt.QObject", "currentThread"),
    "qt.QStyle": ("qt.QObject", "standardIcon StandardPixmap SP_DialogOpenButton SP_DirOpenIcon"),
    "qt.QHeaderView": (
        "qt.QFrame",
        "setSectionResizeMode setStretchLastSection setVisible hide resizeSection sectionSize setDefaultSectionSize"
        " setMinimumSectionSize count ResizeMode Stretch ResizeToContents Interactive Fixed setSectionsMovable",
    ),
    "qt.QAbstractItemView": (
        "qt.QFrame",
        "NoSelection SelectionMode SingleSelection ExtendedSelection MultiSelection ContiguousSelection"
        " SelectionBehavior SelectRows SelectItems SelectColumns EditTrigger NoEditTriggers DoubleClicked"
        " AllEditTriggers EditKeyPressed SelectedClicked",
    ),
    "qt.QItemSelectionModel": ("qt.QObject", "selectedRows selectedIndexes hasSelection currentIndex isRowSelected"),
    "qt.QAbstractItemModel": ("qt.QObject", "rowCount columnCount index data setData"),
    "qt.QScrollBar": ("qt.QWidget", "setValue minimum maximum value"),
    "qt.QTabBar": ("qt.QWidget", "count currentIndex setCurrentIndex tabText"),
    "qt.QTextCursor": (None, "movePosition End Start insertText MoveOperation atEnd"),
    "qt.QTextDocument": ("qt.QObject", "blockCount isEmpty setMaximumBlockCount clear toPlainText"),
    "qt.QLayoutItem": (None, "widget layout"),
    "qt.QSpacerItem": (None, ""),
    "qt.QMainWindow": ("qt.QWidget", "statusBar setCentralWidget centralWidget"),
    "qt.QStatusBar": ("qt.QWidget", "showMessage currentMessage clearMessage"),
    "qt.QMetaObject": (None, "className"),
    "qt.QUiLoader": (None, "load"),
    "slicer.qSlicerApplication": (
        "qt.QApplication",
        "applicationLogic coreIOManager ioManager layoutManager moduleManager mrmlScene moduleLogic settings"
        " userSettings testingEnabled commandOptions pythonManager startupEnvironment quit exit restart"
        " moduleDocumentationUrl pauseRender resumeRender applicationFilePath",
    ),
    "slicer.qSlicerAppMainWindow": ("qt.QMainWindow", "moduleSelector"),
    "slicer.qSlicerModuleSelectorToolBar": ("qt.QWidget", "selectModule"),
    "slicer.qSlicerScriptedLoadableModuleWidget": ("slicer.qMRMLWidget", "self reload"),
    "slicer.qSlicerModuleManager": ("qt.QObject", "modulesNames module"),
    "qt.QValidator": ("qt.QObject", "Acceptable Intermediate Invalid State"),
}

UNRECORDED_PROPERTIES = {
    "slicer.qSlicerApplication": {
        "applicationName": "QString",
        "applicationVersion": "QString (read only)",
        "documentationBaseUrl": "QString (read only)",
        "majorVersion": "int (read only)",
        "minorVersion": "int (read only)",
        "os": "QString (read only)",
        "platform": "QString (read only)",
        "revision": "QString (read only)",
        "slicerHome": "QString (read only)",
        "temporaryPath": "QString (read only)",
        "isInstalled": "bool (read only)",
    },
    "slicer.qSlicerModuleSelectorToolBar": {"selectedModule": "QString (read only)"},
    "slicer.qSlicerScriptedLoadableModuleWidget": {"isEntered": "bool (read only)"},
}
UNRECORDED_SIGNALS = {
    "slicer.qSlicerApplication": ["startupCompleted()", "aboutToQuit()"],
    "slicer.qSlicerModuleManager": ["moduleAboutToBeUnloaded(QString)"],
}


@dataclass(frozen=True)
class Spec:
    """The names of one class as Slicer's Python shows them."""

    name: str
    module: str
    properties: dict[str, str] = field(default_factory=dict)
    signals: dict[str, list[str]] = field(default_factory=dict)
    attributes: frozenset[str] = frozenset()
    everything: bool = False

    def has(self, name: str) -> bool:
        """Say whether the class has a method, constant or type of this name."""
        return self.everything or name in self.attributes


def read_specs() -> dict[str, Spec]:
    """Return the specification of every class that the harness knows, by class name."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    specs: dict[str, Spec] = {}

    def build(qualified: str) -> Spec:
        module, name = qualified.split(".")
        if name in specs:
            return specs[name]
        if qualified in recorded:
            entry = recorded[qualified]
            base, own = entry["base"], entry["attributes"]
        else:
            base, line = UNRECORDED[qualified]
            entry = {
                "properties": UNRECORDED_PROPERTIES.get(qualified, {}),
                "signals": UNRECORDED_SIGNALS.get(qualified, []),
            }
            own = line.split()
        parent = build(base) if base else Spec("", "")
        properties = {**parent.properties, **(entry["properties"] or {})}
        signals = {key: list(value) for key, value in parent.signals.items()}
        for signature in entry["signals"] or []:
            signals.setdefault(signature.partition("(")[0], []).append(signature)
        attributes = (parent.attributes | set(own)) - {"*"}
        specs[name] = Spec(name, module, properties, signals, frozenset(attributes), own == ["*"])
        return specs[name]

    for qualified in (*recorded, *UNRECORDED):
        build(qualified)
    return specs


SPECS = read_specs()
