import os

import qt
import slicer


class Desktop:
    """What the panel needs outside of itself: dialogs, other modules, views, the file manager, remembered settings."""

    settingsGroup = "MIMSegment"

    def __init__(self):
        # The user's layout, and the one with the chart that took its place.
        self._layouts = None, None

    def recall(self, name, default=""):
        """Text remembered on this computer from an earlier session."""
        value = qt.QSettings().value(f"{self.settingsGroup}/{name}")
        return default if value is None else str(value)

    def remember(self, name, text):
        """Keep a text for later sessions."""
        qt.QSettings().setValue(f"{self.settingsGroup}/{name}", text)

    def chooseFolder(self, title, start=""):
        """Ask for an existing folder; empty if the user gave up."""
        return qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, start)

    def chooseFileToOpen(self, title, start, kinds):
        """Ask for an existing file; empty if the user gave up."""
        return _path(qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), title, start, kinds))

    def chooseFileToWrite(self, title, start, kinds):
        """Ask for the name of a new file; empty if the user gave up."""
        return _path(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, start, kinds))

    def confirm(self, question):
        """Ask before something that cannot be undone."""
        return slicer.util.confirmYesNoDisplay(question, windowTitle="MIMSegment")

    def openFolder(self, folder):
        """Show a folder in the file manager."""
        os.makedirs(folder, exist_ok=True)
        return qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(folder))

    def openFile(self, path):
        """Open a file with the program that the system has for it."""
        return qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(path))

    def copy(self, text):
        """Put a text on the clipboard."""
        slicer.app.clipboard().setText(text)

    def openSegmentEditor(self, segmentationNode, volumeNode):
        """Go to Segment Editor with a segmentation and its scan."""
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        editor.setSegmentationNode(segmentationNode)
        if volumeNode:
            editor.setSourceVolumeNode(volumeNode)

    def showOverlay(self, volumeNode, overlayNode, opacity):
        """Show a volume in all slice views, with another one over it (None: nothing)."""
        slicer.util.setSliceViewerLayers(
            background=volumeNode, foreground=overlayNode, foregroundOpacity=float(opacity)
        )

    def showChart(self, chartNode):
        """Show a plot chart beside the slice views; `hideChart` brings the user's layout back."""
        before = self._layout()
        slicer.modules.plots.logic().ShowChartInLayout(chartNode)
        if self._layout() != before:
            self._layouts = before, self._layout()

    def hideChart(self):
        """Bring back the layout from before `showChart`; False if the user has changed it since."""
        before, after = self._layouts
        self._layouts = None, None
        if after is None or self._layout() != after:
            return False
        _layoutNode().SetViewArrangement(before)
        return True

    @staticmethod
    def _layout():
        node = _layoutNode()
        return node.GetViewArrangement() if node is not None else None


def _layoutNode():
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def _path(answer):
    # PythonQt returns the name, Qt itself the name and the chosen filter.
    return answer[0] if isinstance(answer, tuple) else answer
