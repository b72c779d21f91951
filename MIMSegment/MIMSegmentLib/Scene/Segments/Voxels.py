"""The voxels of segmentation nodes: how many there are, on one grid, and what the segments mean.

The nodes are never changed.
"""

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from MIMSegmentLib.Scene.Labels import codesOfEntry
from MIMSegmentLib.Scene.Segments.Grid import LABELMAP, asLabelmaps, inVolume, referenceImage, resampled

# A structure has sides if so many mm lie between its parts, and the smaller one has this share of it.
LEAST_GAP = 10.0
LEAST_SHARE = 0.1


def segments(segmentationNode):
    """`[Structure]`-like dictionaries of the segments: id, name, color (0..255), codes, labelValue."""
    found = []
    segmentation = segmentationNode.GetSegmentation()
    for segmentID in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segmentID)
        entry = {
            "id": segmentID,
            "name": segment.GetName().strip(),
            "color": [round(255 * channel) for channel in segment.GetColor()],
            "labelValue": int(segment.GetLabelValue()),
        }
        entry.update(codesOf(segment))
        found.append(entry)
    return found


def codesOf(segment):
    """Codes of a vtkSegment, see `codesOfEntry`."""
    text = vtk.reference("")
    return codesOfEntry(str(text)) if segment.GetTag(segment.GetTerminologyEntryTagName(), text) else {}


def volumes(segmentationNode):
    """`[(name, mL, voxels)]` of the segments, in their order."""
    return [(name, parts[0][1], parts[0][2]) for name, parts in measured(segmentationNode)]


def volumesBySide(segmentationNode):
    """`[(name, mL, voxels)]` of the segments; one that lies on both sides has rows for left and right."""
    return [
        (_name(name, side), milliliters, voxels)
        for name, parts in measured(segmentationNode)
        for side, milliliters, voxels in (parts[1:] or parts)
    ]


def _name(name, side):
    if not side:
        return name
    return (_("{name}, left") if side == "left" else _("{name}, right")).format(name=name)


def measured(segmentationNode):
    """`[(name, [("", mL, voxels), and ("left", ..), ("right", ..) where the segment has sides])]`."""
    rows = []
    segmentation = segmentationNode.GetSegmentation()
    for segmentID in segmentation.GetSegmentIDs():
        image = _labelmap(segmentationNode, segmentID)
        parts = [("", 0.0, 0)]
        if image is not None and image.GetNumberOfPoints():
            milliliters = float(np.prod(image.GetSpacing())) / 1000.0
            mask = scalarsOf(image).reshape(image.GetDimensions()[::-1]) != 0
            counts = [("", int(np.count_nonzero(mask))), *_sides(mask, image)]
            parts = [(side, voxels * milliliters, voxels) for side, voxels in counts]
        rows.append((segmentation.GetSegment(segmentID).GetName(), parts))
    return rows


def _sides(mask, image):
    """`[("left", voxels), ("right", voxels)]` of a mask (k, j, i) that a gap parts along the axis of left and right."""
    toRAS = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(toRAS)
    steps = [toRAS.GetElement(0, axis) for axis in range(3)]
    axis = int(np.argmax(np.abs(steps)))
    along = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != 2 - axis))
    filled = np.flatnonzero(along)
    if filled.size < 2:
        return []
    gaps = np.diff(filled)
    widest = int(np.argmax(gaps))
    if (gaps[widest] - 1) * image.GetSpacing()[axis] < LEAST_GAP:
        return []
    low = int(along[: filled[widest] + 1].sum())
    both = (low, int(along.sum()) - low)
    if min(both) < LEAST_SHARE * sum(both):
        # A stray voxel is no second side.
        return []
    left, right = both if steps[axis] > 0 else both[::-1]
    return [("left", left), ("right", right)]


def labelArray(segmentationNode, values, volumeNode=None):
    """The segments as one array (k, j, i) on the grid of the volume; later segments win where they overlap.

    :param values: voxel value by segment ID, in the order of painting.
    :param volumeNode: None takes the grid that the segmentation was made on.
    :returns: the array, and the number of voxels that segments share.
    """
    node = inVolume(segmentationNode, volumeNode)
    reference = referenceImage(node, volumeNode)
    shape = reference.GetDimensions()[::-1]
    array = np.zeros(shape, np.uint8 if max(values.values(), default=0) < 256 else np.uint16)
    shared = 0
    for segmentID, value in values.items():
        image = _labelmap(node, segmentID)
        if image is None or not image.GetNumberOfPoints():
            continue
        mask = scalarsOf(resampled(image, reference, segmentID)).reshape(shape) != 0
        # Segments that mean the same may share voxels.
        shared += int(np.count_nonzero((array[mask] != 0) & (array[mask] != value)))
        array[mask] = value
    return array, shared


def sharedVoxels(segmentationNode, volumeNode):
    """How many voxels lie in several segments, on the grid of a volume."""
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfLayers() < 2:
        # Segments of one layer cannot overlap; those that overlap have several.
        return 0
    values = {segmentID: number for number, segmentID in enumerate(segmentation.GetSegmentIDs(), start=1)}
    return labelArray(segmentationNode, values, volumeNode)[1]


def _labelmap(segmentationNode, segmentID):
    """The voxels of one segment as a vtkOrientedImageData of its own, or None if it has none."""
    node = segmentationNode
    if node.GetSegmentation().GetSegment(segmentID).GetRepresentation(LABELMAP) is None:
        # Drawn as a surface: converted in a copy, the user's node stays as it is.
        node = asLabelmaps(segmentationNode)
    image = slicer.vtkOrientedImageData()
    return image if node is not None and node.GetBinaryLabelmapRepresentation(segmentID, image) else None


def scalarsOf(image):
    """The values of a vtkImageData, i fastest, as a flat array that shares its memory."""
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
