"""The voxels of segmentation nodes: on which grid they lie, how many there are, and what the segments mean.

The nodes are never changed.
"""

import os

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from MIMSegmentLib.Files import replacing
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.Labels import codesOfEntry

REFERENCE_GEOMETRY = "Reference image geometry"
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
            mask = _scalars(image).reshape(image.GetDimensions()[::-1]) != 0
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
    reference, applyTransforms = referenceImage(segmentationNode, volumeNode)
    shape = reference.GetDimensions()[::-1]
    array = np.zeros(shape, np.uint8 if max(values.values(), default=0) < 256 else np.uint16)
    shared = 0
    for segmentID, value in values.items():
        image = _labelmap(segmentationNode, segmentID, reference, applyTransforms)
        if image is None or not image.GetNumberOfPoints():
            continue
        resampled = slicer.vtkOrientedImageData()
        # Nearest neighbor; exactly the reference grid.
        if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            image, reference, resampled, False, False
        ):
            raise Problem(
                _("The segment {name} cannot be brought on the grid of the volume.").format(name=segmentID),
                _("Check the transforms of the segmentation and of the volume."),
            )
        mask = _scalars(resampled).reshape(shape) != 0
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


def referenceImage(segmentationNode, volumeNode):
    """The grid to sample on, as a vtkOrientedImageData, and whether transforms above the nodes matter for it."""
    image = slicer.vtkOrientedImageData()
    if volumeNode is None:
        geometry = segmentationNode.GetSegmentation().GetConversionParameter(REFERENCE_GEOMETRY)
        if geometry and slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, image, True):
            return image, False
        raise Problem(
            _("The segmentation {name} is not based on a volume.").format(name=segmentationNode.GetName()),
            _("Choose the source geometry of the segmentation in the Segment Editor first."),
        )
    together = segmentationNode.GetTransformNodeID() == volumeNode.GetTransformNodeID()
    toRAS = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(toRAS)
    if not together and volumeNode.GetParentTransformNode() is not None:
        above = vtk.vtkMatrix4x4()
        if not volumeNode.GetParentTransformNode().GetMatrixTransformToWorld(above):
            raise Problem(
                _("The volume {name} lies below a deformation.").format(name=volumeNode.GetName()),
                _("Harden the transform of the volume, or put the segmentation below the same transform."),
            )
        vtk.vtkMatrix4x4.Multiply4x4(above, toRAS, toRAS)
    image.SetExtent(volumeNode.GetImageData().GetExtent())
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.SetGeometryFromImageToWorldMatrix(toRAS)
    return image, not together


def _labelmap(segmentationNode, segmentID, reference=None, applyTransforms=False):
    """The voxels of one segment as a vtkOrientedImageData of its own, or None if it has none."""
    node = segmentationNode
    segment = node.GetSegmentation().GetSegment(segmentID)
    binary = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if segment.GetRepresentation(binary) is None:
        # Drawn as a surface: converted in a copy, the user's node stays as it is.
        node = slicer.vtkMRMLSegmentationNode()
        node.GetSegmentation().DeepCopy(segmentationNode.GetSegmentation())
        if reference is not None:
            geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(reference)
            node.GetSegmentation().SetConversionParameter(REFERENCE_GEOMETRY, geometry)
        if not node.GetSegmentation().CreateRepresentation(binary):
            return None
    image = slicer.vtkOrientedImageData()
    if not node.GetBinaryLabelmapRepresentation(segmentID, image):
        return None
    transformNode = segmentationNode.GetParentTransformNode()
    if applyTransforms and transformNode is not None:
        transform = vtk.vtkGeneralTransform()
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(transformNode, None, transform)
        slicer.vtkOrientedImageDataResample.TransformOrientedImage(image, transform)
    return image


def writeNode(storage, node, path):
    """Write a node with a storage node; the file is complete or absent.

    A storage node reports success on a full disk: what was written is read again and compared.

    :raises Problem: if it cannot be written.
    """
    with replacing(path) as temporary:
        storage.SetFileName(temporary)
        if not storage.WriteData(node) or not os.path.isfile(temporary):
            raise OSError(_("the folder is not writable, or the disk is full"))
        if not _isWhole(node, temporary, storage.GetUseCompression() or path.endswith(".gz")):
            raise OSError(_("the file came out incomplete; the disk may be full"))


def _isWhole(node, path, compressed):
    """True if a file holds the voxels of a node: as many, and the same ones in whatever order of the axes."""
    segments = node.IsA("vtkMRMLSegmentationNode")
    expected = None if segments else _scalars(node.GetImageData())
    if not segments and not compressed:
        return os.path.getsize(path) >= expected.nbytes
    try:
        found = sitk.GetArrayFromImage(sitk.ReadImage(path))
    except RuntimeError:
        return False
    if segments:
        # Segments that overlap lie in layers of their own.
        return int(np.count_nonzero(found)) == sum(voxels for _name, _milliliters, voxels in volumes(node))
    return found.size == expected.size and np.array_equal(_histogram(found), _histogram(expected))


def _histogram(array):
    """How often each byte occurs."""
    values = np.ascontiguousarray(array).view(np.uint8).ravel()
    counts = np.zeros(256, np.int64)
    # In parts: numpy makes 64-bit numbers of the bytes.
    for start in range(0, values.size, 1 << 22):
        counts += np.bincount(values[start : start + (1 << 22)], minlength=256)
    return counts


def imageFromArray(array):
    """vtkImageData that holds a copy of an array (k, j, i)."""
    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[::-1])
    scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    return image


def _scalars(image):
    return numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
