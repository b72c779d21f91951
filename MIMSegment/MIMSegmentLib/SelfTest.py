import time

import slicer

from MIMSegmentLib.Scene.DemoVolume import sampleName


class SelfTest:
    """Drives the panel inside Slicer as a user would, with the demo volume and the shipped model.

    :param case: a ScriptedLoadableModuleTest, for its assertions and messages.
    """

    model = "hippocampus-mr"
    timeoutSeconds = 300

    def __init__(self, case):
        self.case = case

    def run(self):
        """All steps; skips segmenting where OpenVINO or the model is missing, and says so."""
        self.case.delayDisplay("Load the demo volume from Sample Data")
        import SampleData

        volume = SampleData.SampleDataLogic().downloadSample(sampleName())
        assert volume is not None

        slicer.util.selectModule("MIMSegment")
        panel = slicer.modules.MIMSegmentWidget.panel
        ui = panel.ui
        ui.inputVolumeSelector.setCurrentNode(volume)
        self._wait(lambda: panel.catalog.examination is not None and panel.catalog.models)
        if not panel.catalog.examination["can"]["segment"]:
            self.case.delayDisplay("OpenVINO is not installed: segmenting is not tested")
            return
        panel.segmentTab.chooseModel(self.model)
        if panel.segmentTab.modelName != self.model:
            self.case.delayDisplay(f"The model {self.model} is not here: segmenting is not tested")
            return
        self._wait(lambda: panel.catalog.channels(self.model))

        self.case.delayDisplay("Segment both hippocampi, which the model finds by itself")
        outcome = []
        for signal in (panel.logic.work.finished, panel.logic.work.failed, panel.logic.work.stopped):
            signal.connect(lambda *values: outcome.append(values))
        ui.segmentButton.click()
        self._wait(lambda: outcome)
        self._check(volume, panel, outcome[0][0])

        self.case.delayDisplay("Cancel leaves nothing behind")
        before = slicer.mrmlScene.GetNumberOfNodes()
        outcome.clear()
        ui.segmentButton.click()
        ui.segmentButton.click()
        self._wait(lambda: outcome)
        assert outcome[0] == ("segment",)
        assert slicer.mrmlScene.GetNumberOfNodes() == before
        self.case.delayDisplay("Test passed")

    def _check(self, volume, panel, result):
        assert isinstance(result, dict), result
        node = result["segmentations"][0]
        assert panel.ui.segmentationSelector.currentNode() is node
        role = node.GetReferenceImageGeometryReferenceRole()
        assert node.GetNodeReferenceID(role) == volume.GetID()
        volumes = [milliliters for _name, milliliters, _voxels in panel.logic.scene.volumes(node)]
        assert len(volumes) == 4  # anterior and posterior, left and right
        assert all(milliliters > 0.2 for milliliters in volumes), volumes
        assert panel.logic.running == ""

    def _wait(self, condition):
        end = time.monotonic() + self.timeoutSeconds
        while not condition():
            if time.monotonic() > end:
                self.case.fail("This takes too long")
            slicer.app.processEvents()
