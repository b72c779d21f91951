import os
from html import escape

import qt
from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Panel.Fields import connectPath
from MIMSegmentLib.Panel.RunStatus import RunStatus
from MIMSegmentLib.Panel.Setup import Setup
from MIMSegmentLib.Process.Words import inPanelWords


class ComputerTab:
    """What this computer can do, what is missing, and buttons that mend it; also the frame shown at first use."""

    def __init__(self, ui, logic, desktop, catalog, setup):
        self.ui = ui
        self.logic = logic
        self.desktop = desktop
        self.catalog = catalog
        self.setup = setup
        self.status = RunStatus(ui.installProgressBar, ui.installStatusLabel)
        self._remedies = []
        self._checking = False
        self._setupShown = False
        ui.pythonEdit.currentPath = desktop.recall("Python")
        if ui.pythonEdit.currentPath:
            logic.useInterpreter(ui.pythonEdit.currentPath)
        connectPath(ui.pythonEdit, self.onPythonChanged)
        ui.slicerPythonButton.connect("clicked()", self.onSlicerPython)
        ui.checkComputerButton.connect("clicked()", self.onCheck)
        ui.setupButton.connect("clicked()", self.onInstallForSegmenting)
        ui.installSegmentButton.connect("clicked()", self.onInstallForSegmenting)
        ui.installTrainButton.connect("clicked()", self.onInstallForTraining)
        catalog.examined.connect(self.showExamination)
        catalog.failed.connect(self.onFailed)
        setup.changed.connect(self.onSetupChanged)
        setup.installed.connect(self.onInstalled)

    # -- check

    def onCheck(self):
        self._sayChecking()
        self.catalog.examine(quick=False)

    def _sayChecking(self):
        self._checking = True
        self.ui.computerReportLabel.text = escape(_("Checking; this takes up to half a minute ..."))
        self._showRemedies([])
        self.update()

    def showExamination(self):
        """Show what was found, and a remedy for each thing that is missing."""
        self._checking = False
        # Only now: one that cannot run the backend must not come back in the next session.
        self.desktop.remember("Python", self.logic.backend.interpreter)
        found = self.catalog.examination
        self.ui.computerReportLabel.text = Texts.computerReport(found)
        self._showRemedies(found["advice"])
        self._showSetup(not found["can"]["segment"], Setup.question("segment"))
        self.update()

    def onFailed(self, message, hint):
        """A question to the backend was not answered."""
        if self._checking or self.catalog.examination is None:
            self._checking = False
            self.ui.computerReportLabel.text = Texts.problemText(message, hint)
        self.update()

    def _showRemedies(self, advice):
        layout = self.ui.remediesFrame.layout()
        for widget in self._remedies:
            layout.removeWidget(widget)
            widget.deleteLater()
        self._remedies = []
        for entry in advice:
            label = qt.QLabel()
            label.setTextFormat(qt.Qt.PlainText)
            # A long path in it must not widen the panel.
            label.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Minimum)
            label.text = inPanelWords("broken-package", entry["problem"])[0]
            label.wordWrap = True
            button = self._remedyButton(entry)
            self._remedies += [label, button] if button is not None else [label]
        for widget in self._remedies:
            layout.addWidget(widget)
        self.ui.remediesFrame.visible = bool(self._remedies)

    def _remedyButton(self, entry):
        slots = {"segment": self.onInstallForSegmenting, "train": self.onInstallForTraining}
        if entry["purpose"] in slots:
            button = qt.QPushButton(_("Install"))
            button.connect("clicked()", slots[entry["purpose"]])
            return button
        if not entry["commands"] or not self.logic.backend.usesOwnInterpreter:
            # Who brings a Python of his own is at home on the command line.
            return None
        commands = "\n".join(entry["commands"])
        button = qt.QPushButton(_("Copy the command"))
        button.toolTip = commands
        button.connect("clicked()", lambda: self.desktop.copy(commands))
        return button

    # -- install

    def onInstallForSegmenting(self):
        self.setup.install("segment")

    def onInstallForTraining(self):
        self.setup.install("train")

    def onInstalled(self, purpose):
        self.status.end(_("Installed."))
        self.update()

    def onSetupChanged(self, message, hint):
        """An installation failed, or (both empty) runs."""
        if message:
            self.status.fail(message, hint)
        else:
            text = _("Installing; the log below shows how it goes ...")
            if self.setup.purpose == "train":
                text += " " + _("Slicer stands still for some minutes while PyTorch is installed.")
            self.status.begin(text)
        if self._setupShown:
            self._showSetup(True, f"{message} {hint}" if message else _("Installing; the log shows how it goes ..."))
        self.update()

    def _showSetup(self, visible, text):
        self.ui.setupLabel.text = escape(text)
        self.ui.setupFrame.visible = visible
        self._setupShown = visible

    # -- another Python

    def onPythonChanged(self, path):
        path = path.strip()
        self.update()
        if path and not os.path.isfile(path):
            return
        if not path:
            self.desktop.remember("Python", "")
        self.catalog.forgetExamination()
        self._sayChecking()
        self.logic.useInterpreter(path)
        self.catalog.examine()

    def onSlicerPython(self):
        self.ui.pythonEdit.currentPath = ""

    def update(self):
        """Enable what can be done now."""
        busy = self.setup.running or bool(self.logic.running)
        self.ui.checkComputerButton.enabled = not self._checking
        self.ui.slicerPythonButton.enabled = bool(self.ui.pythonEdit.currentPath)
        for button in (self.ui.setupButton, self.ui.installSegmentButton, self.ui.installTrainButton):
            button.enabled = not busy
