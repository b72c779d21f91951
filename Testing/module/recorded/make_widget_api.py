"""Shorten the recording of the widgets: `python make_widget_api.py RECORDED.json` writes widget-api.json here.

Each class keeps the properties, signals and attributes that its `base` (the largest recorded class all of whose
names it has) lacks. Nothing else is changed; test_conformance.py compares the two where the recording is at hand.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
# The classes that the module may use and the harness offers.
CLASSES = {
    "qt": (
        "QObject QWidget QFrame QAction QButtonGroup QByteArray QCheckBox QComboBox QDesktopServices QDialog"
        " QDialogButtonBox QDoubleSpinBox QFileDialog QFormLayout QGridLayout QGroupBox QHBoxLayout QIcon QInputDialog"
        " QLabel QLineEdit QListWidget QListWidgetItem QMenu QMessageBox QPixmap QPlainTextEdit QProcess"
        " QProcessEnvironment QProgressBar QProgressDialog QPushButton QRadioButton QScrollArea QSettings QSizePolicy"
        " QSlider QSpinBox QSplitter QStackedWidget QStandardItemModel QTabWidget QTableWidget QTableWidgetItem"
        " QTextBrowser QTextEdit QTimer QToolButton QTreeWidget QTreeWidgetItem QUrl QVBoxLayout"
    ),
    "ctk": "ctkCollapsibleButton ctkPathLineEdit ctkSliderWidget",
    "slicer": "qMRMLCheckableNodeComboBox qMRMLNodeComboBox qMRMLPlotWidget qMRMLWidget",
}


def shorten(recorded: dict) -> dict:
    """Return the chosen classes, each as the difference to its largest base."""
    names = [f"{module}.{name}" for module, line in CLASSES.items() for name in line.split()]
    kinds = ("properties", "signals", "attributes")
    full = {name: {kind: recorded[name].get(kind, {}) for kind in kinds} for name in names}
    return {name: difference(full[name], full, name) for name in names}


def difference(one: dict, full: dict, name: str) -> dict:
    """Return one class without what the base has."""
    bases = [other for other in full if other != name and full[other]["signals"] and contains(one, full[other])]
    # A base is strictly smaller, or stands earlier in the list when two classes have the same names.
    names = list(full)
    bases = [other for other in bases if not contains(full[other], one) or names.index(other) < names.index(name)]
    if not bases:
        return {"base": None, **one}
    base = max(bases, key=lambda other: len(full[other]["attributes"]) + len(full[other]["properties"]))
    return {
        "base": base,
        "properties": {k: v for k, v in one["properties"].items() if full[base]["properties"].get(k) != v},
        "signals": [signal for signal in one["signals"] if signal not in full[base]["signals"]],
        "attributes": [name for name in one["attributes"] if name not in full[base]["attributes"]],
    }


def contains(one: dict, other: dict) -> bool:
    """Say whether a class has all names of another."""
    return all(set(other[kind]) <= set(one[kind]) for kind in ("properties", "signals", "attributes"))


if __name__ == "__main__":
    api = shorten(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in api.items()]
    (FOLDER / "widget-api.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
