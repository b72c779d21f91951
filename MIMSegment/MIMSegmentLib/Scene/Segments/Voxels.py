"""The voxels of segmentation nodes: how many there are, on one grid, and what the segments mean.

The nodes are never changed.
"""

import numpy as np
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from MIMSegmentLib.Scene.Labels import codesOfEntry
from MIMSegmentLib.Scene.Segments.Grid import LABELMAP, asLabelmaps, inVolume, referenceImage, resampled

# A structure has sides if so many mm lie between its parts, and the smaller one has this share of it.
LEAST_GAP = 10.0
LEAST_SHARE = 0.1
# Voxels that are counted at a time: their places need eight bytes each.
CHUNK = 1 << 22


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
    segmentation = segmentationNode.GetSegmentation()
    found = {}
    for image, labels in _layers(_counted(segmentationNode)):
        milliliters = float(np.prod(image.GetSpacing())) / 1000.0
        axis, step = _leftToRight(image)
        along = _voxelsAlong(scalarsOf(image), image.GetDimensions(), axis, labels.values())
        for segmentID, label in labels.items():
            counts = [("", int(along[label].sum())), *_sides(along[label], step)]
            found[segmentID] = [(side, voxels * milliliters, voxels) for side, voxels in counts]
    return [
        (segmentation.GetSegment(segmentID).GetName(), found.get(segmentID, [("", 0.0, 0)]))
        for segmentID in segmentation.GetSegmentIDs()
    ]


def _counted(segmentationNode):
    """The node itself, or a copy where segments were drawn otherwise and are no labelmaps yet."""
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetSourceRepresentationName() == LABELMAP or all(
        segmentation.GetSegment(segmentID).GetRepresentation(LABELMAP) for segmentID in segmentation.GetSegmentIDs()
    ):
        return segmentationNode
    return asLabelmaps(segmentationNode)


def _layers(segmentationNode):
    """`[(vtkOrientedImageData, {segment ID: its label in it})]`: segments that do not overlap share a labelmap."""
    if segmentationNode is None:
        return []
    segmentation = segmentationNode.GetSegmentation()
    found = []
    for layer in range(segmentation.GetNumberOfLayers(LABELMAP)):
        image = segmentation.GetLayerDataObject(layer, LABELMAP)
        if image is not None and image.GetNumberOfPoints() and image.GetPointData().GetScalars() is not None:
            members = segmentation.GetSegmentIDsForLayer(layer, LABELMAP)
            found.append((image, {each: int(segmentation.GetSegment(each).GetLabelValue()) for each in members}))
    return found


def _leftToRight(image):
    """The axis (0 for i) that runs most along left and right, and how many mm a voxel goes to the right on it."""
    toRAS = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(toRAS)
    steps = [toRAS.GetElement(0, axis) for axis in range(3)]
    axis = int(np.argmax(np.abs(steps)))
    return axis, float(np.copysign(image.GetSpacing()[axis], steps[axis]))


def _voxelsAlong(scalars, size, axis, labels):
    """How many voxels of each label lie at each index of an axis: `{label: array}`, counted in one go.

    :param scalars: of all voxels, i fastest.
    :param size: voxels along i, j, k.
    """
    known = np.unique(list(labels))
    counts = np.zeros(known.size * size[axis], np.int64)
    stride = int(np.prod(size[:axis]))
    for start in range(0, scalars.size, CHUNK):
        # Most voxels are background.
        places = np.flatnonzero(scalars[start : start + CHUNK]) + start
        found = scalars[places]
        numbers = np.minimum(np.searchsorted(known, found), known.size - 1)
        ours = known[numbers] == found
        indices = places[ours] // stride % size[axis]
        counts += np.bincount(numbers[ours] * size[axis] + indices, minlength=counts.size)
    return dict(zip(known.tolist(), counts.reshape(known.size, size[axis]), strict=True))


def _sides(along, step):
    """`[("left", voxels), ("right", voxels)]` of a segment that a gap parts along the axis of left and right.

    :param along: its voxels at each index of this axis.
    :param step: mm that an index goes to the right.
    """
    filled = np.flatnonzero(along)
    if filled.size < 2:
        return []
    gaps = np.diff(filled)
    widest = int(np.argmax(gaps))
    if (gaps[widest] - 1) * abs(step) < LEAST_GAP:
        return []
    low = int(along[: filled[widest] + 1].sum())
    both = (low, int(along.sum()) - low)
    if min(both) < LEAST_SHARE * sum(both):
        # A stray voxel is no second side.
        return []
    left, right = both if step > 0 else both[::-1]
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
    layerOf = {segmentID: layer for layer in _layers(node) for segmentID in layer[1]}
    last = on = None
    for segmentID, value in values.items():
        layer = layerOf.get(segmentID)
        if layer is None:
            continue
        if layer is not last:
            # Only one at a time: with many layers they would fill the memory.
            last, on = layer, scalarsOf(resampled(layer[0], reference, segmentID)).reshape(shape)
        mask = on == layer[1][segmentID]
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


def scalarsOf(image):
    """The values of a vtkImageData, i fastest, as a flat array that shares its memory."""
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
