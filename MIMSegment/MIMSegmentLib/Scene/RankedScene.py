import os

import slicer
from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem

# The map goes from 0 to 1; what lies below this is not drawn, so that the scan is seen.
LEAST_SHOWN = 0.1


class RankedScene:
    """Loads what a ranking says of a scan: the scan, the proposed segmentation, the map of uncertainty.

    :param scene: a `Scene`.
    """

    def __init__(self, scene):
        self._scene = scene

    def load(self, case):
        """New nodes `(volume, segmentation, uncertainty)` of a `RankedCase`; the last two may be None.

        :raises Problem: if a file cannot be read; then the scene is as before.
        """
        created = []
        try:
            volume = self._loadVolume(case.image, case.name, created)
            segmentation = uncertainty = None
            if case.segmentation:
                name = _("{name} proposal").format(name=case.name)
                segmentation = self._scene.importSegmentation(case.segmentation, volume, name)
                created.append(segmentation)
            if case.uncertaintyMap:
                name = _("{name} uncertainty").format(name=case.name)
                uncertainty = self._loadVolume(case.uncertaintyMap, name, created, show=False)
                colorByUncertainty(uncertainty)
        except BaseException:
            self._scene.remove(created)
            raise
        return volume, segmentation, uncertainty

    def _loadVolume(self, path, name, created, show=True):
        try:
            if not os.path.isfile(path):
                raise RuntimeError(path)
            node = slicer.util.loadVolume(path, {"name": name, "show": show})
        except RuntimeError as fault:
            raise Problem(
                _("The scan {path} cannot be read.").format(path=path),
                _("If it was moved or is a DICOM series, load it yourself and segment it on the Segment tab."),
            ) from fault
        created.append(node)
        return node


def colorByUncertainty(volumeNode):
    """Draw a map from dark (sure) to bright (unsure), in the same way for every scan; sure voxels are left out."""
    volumeNode.CreateDefaultDisplayNodes()
    display = volumeNode.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeIron")
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.SetThreshold(LEAST_SHOWN, 1.0)
    display.ApplyThresholdOn()
