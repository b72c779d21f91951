"""Where the voxels of segmentation nodes lie. The nodes are never changed."""

import slicer
import vtk
from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem

REFERENCE_GEOMETRY = "Reference image geometry"
LABELMAP = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()


def volumeOf(segmentationNode):
    """The volume that a segmentation was made on, or None: a ROI, a model or a segmentation may be its source."""
    node = segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())
    return node if node is not None and node.IsA("vtkMRMLScalarVolumeNode") else None


def volumeHere(segmentationNode):
    """The same, but None too if it has no voxels here: the segmentation has kept the grid that it was made on."""
    node = volumeOf(segmentationNode)
    return node if node is not None and _hasVoxels(node) else None


def _hasVoxels(volumeNode):
    image = volumeNode.GetImageData()
    return image is not None and image.GetNumberOfPoints() > 0


def referenceImage(segmentationNode, volumeNode):
    """The grid of a volume in its own coordinates, as a vtkOrientedImageData; without one that of the segmentation.

    :raises Problem: if the volume has no voxels, or nothing tells the grid.
    """
    image = slicer.vtkOrientedImageData()
    if volumeNode is None:
        geometry = segmentationNode.GetSegmentation().GetConversionParameter(REFERENCE_GEOMETRY)
        if geometry and slicer.vtkSegmentationConverter.DeserializeImageGeometry(geometry, image, True):
            return image
        raise Problem(
            _("The segmentation {name} is not based on a volume.").format(name=segmentationNode.GetName()),
            _("Choose the source geometry of the segmentation in the Segment Editor first."),
        )
    if not _hasVoxels(volumeNode):
        raise Problem(
            _("The volume {name} has no voxels.").format(name=volumeNode.GetName()),
            _("If its file was not found when the scene was loaded, load it again, then choose it."),
        )
    toRAS = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(toRAS)
    image.SetExtent(volumeNode.GetImageData().GetExtent())
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    image.SetGeometryFromImageToWorldMatrix(toRAS)
    return image


def inVolume(segmentationNode, volumeNode):
    """The segmentation as labelmaps in the coordinates of a volume: itself, or a copy outside of the scene.

    What other transforms than the volume's move is brought on the grid of the volume; what was drawn as surfaces or
    contours becomes labelmaps there.

    :param volumeNode: None for the coordinates and the grid of the segmentation.
    :raises Problem: if it cannot be done.
    """
    toVolume = _transformBetween(segmentationNode, volumeNode)
    if toVolume is None and segmentationNode.GetSegmentation().GetSourceRepresentationName() == LABELMAP:
        return segmentationNode
    reference = referenceImage(segmentationNode, volumeNode)
    copy = asLabelmaps(segmentationNode, reference, toVolume)
    if copy is None:
        raise Problem(
            _("The segmentation {name} cannot be turned into a labelmap.").format(name=segmentationNode.GetName()),
            _("Create its binary labelmap in the module Segmentations first."),
        )
    if volumeNode is not None:
        copy.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    if toVolume is not None:
        for layer in range(copy.GetSegmentation().GetNumberOfLayers(LABELMAP)):
            image = copy.GetSegmentation().GetLayerDataObject(layer, LABELMAP)
            if image.GetNumberOfPoints():
                image.DeepCopy(resampled(image, reference, segmentationNode.GetName()))
    return copy


def asLabelmaps(segmentationNode, reference=None, transform=None):
    """A copy outside of the scene whose segments are labelmaps, or None if they cannot be converted.

    :param reference: the grid to convert on, a vtkOrientedImageData; by default the one that it was made on.
    :param transform: what is applied to the segments before.
    """
    copy = slicer.vtkMRMLSegmentationNode()
    copy.SetName(segmentationNode.GetName())
    inside = copy.GetSegmentation()
    inside.DeepCopy(segmentationNode.GetSegmentation())
    if transform is not None:
        copy.ApplyTransform(transform)
    if reference is not None:
        geometry = slicer.vtkSegmentationConverter.SerializeImageGeometry(reference)
        inside.SetConversionParameter(REFERENCE_GEOMETRY, geometry)
    if not inside.CreateRepresentation(LABELMAP):
        return None
    inside.SetSourceRepresentationName(LABELMAP)
    return copy


def resampled(image, reference, name):
    """A labelmap on exactly another grid, by the nearest neighbor.

    :param name: of what lies on it, for the message.
    :raises Problem: if it cannot be done.
    """
    output = slicer.vtkOrientedImageData()
    if not slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, reference, output, False, False
    ):
        raise Problem(
            _("The segment {name} cannot be brought on the grid of the volume.").format(name=name),
            _("Check the transforms of the segmentation and of the volume."),
        )
    return output


def _transformBetween(segmentationNode, volumeNode):
    """vtkGeneralTransform from the coordinates of a segmentation to those of a volume, None if these are the same."""
    if volumeNode is None or segmentationNode.GetTransformNodeID() == volumeNode.GetTransformNodeID():
        return None
    own, others = segmentationNode.GetParentTransformNode(), volumeNode.GetParentTransformNode()
    matrix = vtk.vtkMatrix4x4()
    if slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(own, others, matrix) and matrix.IsIdentity():
        return None
    if others is not None and not others.IsTransformToWorldLinear():
        raise Problem(
            _("The volume {name} lies below a deformation.").format(name=volumeNode.GetName()),
            _("Harden the transform of the volume, or put the segmentation below the same transform."),
        )
    transform = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(own, others, transform)
    return transform


def firstVoxelToRAS(image):
    """vtkMatrix4x4 from indices that count from the first voxel; those of an oriented image may begin elsewhere."""
    toRAS = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(toRAS)
    first = toRAS.MultiplyPoint((*image.GetExtent()[::2], 1.0))
    for row in range(3):
        toRAS.SetElement(row, 3, first[row])
    return toRAS
