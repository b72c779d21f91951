import re
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from slicer.util import arrayFromVolume

# What MR sequences are called in the names of volumes; a T2 FLAIR is a FLAIR.
SEQUENCES = ("FLAIR", "DWI", "ADC", "SWI", "PD", "T2", "T1")
# HU: a CT holds air, an MR of the body nothing so low.
AIR = -800
SAMPLES = 200000


@dataclass(frozen=True)
class VolumeFacts:
    """What a volume is, as far as it can be told.

    :param name: of the volume.
    :param extent: mm along its axes, ascending; None for an empty volume.
    :param modality: "CT", "MR", or "" if nothing tells.
    :param certain: True if its DICOM files say so, False if its values do.
    :param sequence: one of SEQUENCES that its name holds, or "".
    """

    name: str
    extent: tuple = None
    modality: str = ""
    certain: bool = False
    sequence: str = ""


def factsOf(volumeNode):
    """The `VolumeFacts` of a volume node."""
    name = volumeNode.GetName() or ""
    image = volumeNode.GetImageData()
    if image is None or not image.GetNumberOfPoints():
        return VolumeFacts(name)
    sizes = zip(image.GetDimensions(), volumeNode.GetSpacing(), strict=True)
    extent = tuple(sorted(count * step for count, step in sizes))
    said = _dicomModality(volumeNode)
    return VolumeFacts(name, extent, said or _modalityByValues(volumeNode), bool(said), sequenceIn(name))


def geometryOf(volumeNode):
    """Sizes, and the matrix from voxels to RAS below all transforms, for comparing."""
    toRAS = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(toRAS)
    image = volumeNode.GetImageData()
    return image.GetDimensions() if image is not None else (), tuple(toRAS.GetData())


def sequenceIn(name):
    """The MR sequence that a name speaks of, or ""."""
    words = [re.sub(r"^(T[12])WI?$", r"\1", word) for word in re.split(r"[^A-Z0-9]+", name.upper())]
    return next((sequence for sequence in SEQUENCES if sequence in words), "")


def _dicomModality(volumeNode):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(volumeNode.GetScene())
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy is not None else 0
    said = hierarchy.GetItemAttribute(item, "DICOM.Modality") if item else ""
    return said if said in ("CT", "MR") else ""


def _modalityByValues(volumeNode):
    values = arrayFromVolume(volumeNode).ravel()
    values = values[:: max(1, values.size // SAMPLES)]
    if not np.issubdtype(values.dtype, np.number) or not values.size:
        return ""
    # Values below zero, but no air: a CT cut within the body, or an MR with normalised values.
    return "CT" if values.min() <= AIR else "MR" if values.min() >= 0 else ""
