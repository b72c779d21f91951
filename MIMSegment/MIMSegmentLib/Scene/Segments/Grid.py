"""Where the voxels of segmentation nodes lie. The nodes are never changed."""

import slicer
import vtk
from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem

REFERENCE_GEOMETRY = "Reference image geometry"


def volumeOf(segmentationNode):
    """The volume that a segmentation was made on, or None: a ROI, a model or a segmentation may be its source."""
    node = segmentationNode.GetNodeReference(segmentationNode.GetReferenceImageGeometryReferenceRole())
    return node if node is not None and node.IsA("vtkMRMLScalarVolumeNode") else None


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


def firstVoxelToRAS(image):
    """vtkMatrix4x4 from indices that count from the first voxel; those of an oriented image may begin elsewhere."""
    toRAS = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(toRAS)
    first = toRAS.MultiplyPoint((*image.GetExtent()[::2], 1.0))
    for row in range(3):
        toRAS.SetElement(row, 3, first[row])
    return toRAS
