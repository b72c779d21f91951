import os
import shutil

import slicer
from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.ResultFiles import fileName
from MIMSegmentLib.Scene.Segments.Grid import volumeOf

# Where Slicer keeps the SOP Instance UIDs of the files that a volume was loaded from, separated by blanks.
ATTRIBUTE = "DICOM.instanceUIDs"


def checkDicom(segmentationNode):
    """Quickly: may the segmentation become a DICOM segmentation?

    :raises Problem: its volume does not come from DICOM files, or these are gone.
    """
    _files(volumeOf(segmentationNode), firstOnly=True)


def passOn(scene, segmentationNode, folder):
    """Put the segmentation and the DICOM files of its volume into a folder, for the backend.

    :param scene: a `Scene`.
    :returns: `(file, folder)` of the two, relative to `folder`; their names can be told to the user.
    :raises Problem: as `checkDicom` does, or the files cannot be written.
    """
    volumeNode = volumeOf(segmentationNode)
    files = _files(volumeNode)
    # In folders of their own, since both may have the same name.
    labels = os.path.join("labels", fileName(segmentationNode.GetName()) + ".seg.nrrd")
    series = os.path.join("series", fileName(volumeNode.GetName()))
    scene.saveSegmentation(scene.inVolume(segmentationNode, volumeNode), os.path.join(folder, labels))
    _gather(files, os.path.join(folder, series))
    return labels, series


def _gather(files, folder):
    """The files of one series, which may lie among those of others, in a folder of their own."""
    try:
        os.makedirs(folder)
        for number, file in enumerate(files):
            _linkOrCopy(file, os.path.join(folder, f"{number:05d}.dcm"))
    except OSError as fault:
        raise Problem(
            _("The DICOM files cannot be passed on ({reason}).").format(reason=fault.strerror or fault),
            _("Check that they can be read, and that there is space for a copy on the disk of temporary files."),
        ) from fault


def _linkOrCopy(file, target):
    # Windows does not remove links to read-only files: scans of patients would stay among temporary files.
    if os.access(file, os.W_OK):
        try:
            os.link(file, target)
            return
        except OSError:
            # On another disk, or one that has no links.
            pass
    shutil.copyfile(file, target)


def _files(volumeNode, firstOnly=False):
    if volumeNode is None:
        raise Problem(
            _("The segmentation belongs to no volume, so there is no DICOM series to refer to."),
            _("Choose its volume as source geometry in the Segment Editor."),
        )
    identifiers = (volumeNode.GetAttribute(ATTRIBUTE) or "").split()
    if not identifiers:
        raise Problem(
            _("The volume {name} was not loaded from DICOM, and a DICOM segmentation refers to a DICOM series.").format(
                name=volumeNode.GetName()
            ),
            _("Load the series with the DICOM module and segment it there."),
        )
    database = getattr(slicer, "dicomDatabase", None)
    found = {}
    for identifier in identifiers[:1] if firstOnly else identifiers:
        path = database.fileForInstance(identifier) if database is not None else ""
        if not path or not os.path.isfile(path):
            raise Problem(
                _("The DICOM files of the volume {name} are not in the DICOM database of this computer.").format(
                    name=volumeNode.GetName()
                ),
                _("Import them with the DICOM module."),
            )
        found[path] = True
    return list(found)
