"""What the tests of the panel share: the panel with a tiny model and a desktop that answers by itself."""

import os
from pathlib import Path

import harness
import logic_tools
from tiny_model import write_tiny_bundle

SECONDS = 120
TABS = ("segment", "finetune", "pretrain", "models", "computer")


class FakeDesktop:
    """Answers dialogs with what a test prepared, and remembers what was asked for."""

    answers = {}  # noqa: RUF012
    settings = {}  # noqa: RUF012

    def __init__(self):
        self.done = []

    def recall(self, name, default=""):
        return self.settings.get(name, default)

    def remember(self, name, text):
        self.settings[name] = text

    def __getattr__(self, name):
        from MIMSegmentLib.Panel.Desktop import Desktop

        if not callable(getattr(Desktop, name, None)):
            raise AttributeError(name)

        def call(*values):
            self.done.append((name, *values))
            return self.answers.get(name)

        return call


def open_panel(monkeypatch, folder, open_module, backend=None):
    """The module with the model `tiny`, all its files below `folder`; returns its MIMSegmentWidget.

    :param backend: a `Backend` instead of the real one.
    """
    from MIMSegmentLib.Process.Backend import Backend

    if backend is not None:
        monkeypatch.setattr("MIMSegmentLib.Logic.Backend", lambda: backend)

    models = Path(folder) / "models ä"
    if not models.exists():
        models.mkdir()
        write_tiny_bundle(models / "tiny")
    monkeypatch.setenv("MIMSEG_MODELS", str(models))
    monkeypatch.setattr(Backend, "dataFolder", staticmethod(lambda: str(folder)))
    monkeypatch.setattr("MIMSegmentLib.Panel.Widget.Desktop", FakeDesktop)
    monkeypatch.setattr(FakeDesktop, "answers", {})
    monkeypatch.setattr(FakeDesktop, "settings", {})
    widget = open_module()
    panel = widget.panel
    assert wait(lambda: panel.catalog.examination and panel.catalog.models)
    panel.segmentTab.chooseModel("tiny")
    assert wait(lambda: names_of(panel.ui.structuresList) == ["Grey", "Bright"])
    return widget


def select_model(panel, name):
    """Click a model in the table of the Models tab; False if it is not there."""
    names = [row[0] for row in cells(panel.ui.modelsTable)]
    if name in names:
        panel.ui.modelsTable.selectRow(names.index(name))
    return name in names


def wait(condition, seconds=SECONDS):
    """Let Qt work until the condition holds."""
    return harness.waitUntil(condition, seconds)


def show(panel, tab):
    """Click a tab."""
    panel.ui.tabWidget.currentIndex = TABS.index(tab)


def shown(panel, widget):
    """True if the widget can be seen once the module is."""
    return widget.isVisibleTo(panel.ui.MIMSegment)


def run_to_end(panel, button, seconds=SECONDS):
    """Click a button, wait for the run to end, and return how it ended."""
    recorder = logic_tools.Recorder(panel.logic)
    button.click()
    end = recorder.wait(seconds)
    return end


def names_of(list_widget):
    """Texts of a list."""
    return [list_widget.item(row).text() for row in range(list_widget.count)]


def cells(table):
    """Texts of a table, row by row."""
    rows, columns = range(table.rowCount), range(table.columnCount)
    return [[table.item(row, column).text() for column in columns] for row in rows]


def leftovers(slicer):
    """Temporary folders of runs that should be gone."""
    return [name for name in os.listdir(slicer.app.temporaryPath) if name.startswith("MIMSegment-")]
