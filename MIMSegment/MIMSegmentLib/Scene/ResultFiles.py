import csv
import io
import logging
import os
import re

from slicer.i18n import tr as _

from MIMSegmentLib.Files import writeText
from MIMSegmentLib.Problem import Problem

DICOM = ".dcm"
FORMATS = (".nii.gz", ".nrrd", ".seg.nrrd", DICOM, "labelmap")


class ResultFiles:
    """Writes a segmentation for other programs.

    :param scene: a `Scene`.
    """

    def __init__(self, scene):
        self._scene = scene

    @staticmethod
    def existing(segmentationNode, folder, formats):
        """Names of files that `write` would replace."""
        stem = fileName(segmentationNode.GetName())
        names = [stem + ending for ending in formats if ending != "labelmap"]
        names += [f"{stem}-volumes.csv"] if names else []
        return [name for name in names if os.path.exists(os.path.join(folder, name))]

    @staticmethod
    def dicomPath(segmentationNode, folder):
        """Where the DICOM segmentation of a segmentation belongs."""
        return os.path.join(folder, fileName(segmentationNode.GetName()) + DICOM)

    def write(self, segmentationNode, folder, formats, warn=logging.warning):
        """Write one file for each format, and `<name>-volumes.csv`.

        Existing files of the same name are replaced. With "labelmap" a node is made instead. A DICOM segmentation is
        not written here but by the backend, to the path that `dicomPath` tells.

        :param warn: is told, in a sentence, of what a labelmap cannot hold.
        :returns: the paths; for "labelmap" the name of the node.
        :raises Problem: with nothing left behind that is incomplete.
        """
        if segmentationNode is None or not segmentationNode.GetSegmentation().GetNumberOfSegments():
            raise Problem(_("There is no segmentation to export."), _("Choose a segmentation with segments."))
        unknown = [name for name in formats if name not in FORMATS]
        if unknown or not formats:
            raise Problem(_("No known format is chosen."), _("Choose at least one format."))
        name = fileName(segmentationNode.GetName())
        files = [ending for ending in FORMATS if ending in formats and ending != "labelmap"]
        if files and not folder:
            raise Problem(_("No folder is chosen."), _("Choose a folder to export to."))
        written, shared = [], 0
        volumeNode = self._scene.volumeHere(segmentationNode)
        # Once for all files, so that they agree.
        labelmaps = self._scene.inVolume(segmentationNode, volumeNode) if files else None
        for ending in files:
            if ending == DICOM:
                continue
            path = os.path.join(folder, name + ending)
            if ending == ".seg.nrrd":
                self._scene.saveSegmentation(labelmaps, path)
            else:
                values = labelValues(self._scene.segments(labelmaps))
                _voxels, shared = self._scene.exportSegmentation(labelmaps, volumeNode, path, values)
            written.append(path)
        if files:
            written.append(self._writeTable(labelmaps, os.path.join(folder, f"{name}-volumes.csv")))
        if "labelmap" in formats:
            node = self._scene.addLabelmap(segmentationNode, segmentationNode.GetName())
            written.append(node.GetName())
            shared = self._scene.sharedVoxels(segmentationNode, node)
        if shared:
            warn(
                _(
                    "Segments overlap in {count} voxels; a labelmap gives them to the later segment. "
                    "A segmentation for 3D Slicer (.seg.nrrd) keeps both."
                ).format(count=shared)
            )
        return written

    def _writeTable(self, segmentationNode, path):
        values = labelValues(self._scene.segments(segmentationNode))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["structure", "value", "side", "volume_ml", "voxels"])
        for value, (name, parts) in zip(values.values(), self._scene.measured(segmentationNode), strict=True):
            for side, milliliters, voxels in parts:
                writer.writerow([name, value, side, f"{milliliters:.4f}", voxels])
        # The mark lets spreadsheet programs read umlauts.
        writeText(path, text.getvalue(), encoding="utf-8-sig")
        return path


def labelValues(segments):
    """Voxel value by segment ID: the segments' own if these differ from each other, else 1, 2, 3 ..."""
    own = [segment["labelValue"] for segment in segments]
    if len(set(own)) == len(own) and all(0 < value < 65536 for value in own):
        return {segment["id"]: segment["labelValue"] for segment in segments}
    return {segment["id"]: number for number, segment in enumerate(segments, start=1)}


def fileName(name):
    """A file name on every system that still looks like `name`."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "_", name).strip(" .")[:100] or "segmentation"
