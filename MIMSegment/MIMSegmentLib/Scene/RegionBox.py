import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

# In mm, for models that do not say what they were made for.
USUAL_EDGES = (60.0, 60.0, 60.0)


class RegionBox:
    """Adds boxes (Markups ROI) to a scene."""

    def __init__(self, scene):
        self._scene = scene

    def add(self, volumeNode, edges=None):
        """A new box where the slice views meet (else in the middle of the volume), turned with the volume.

        :param edges: size in mm along the volume's axes that run to the right, to the front and up.
        """
        node = self._scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", self._scene.GenerateUniqueName(_("Box")))
        node.CreateDefaultDisplayNodes()
        self.outline([node])
        node.SetSize(*(edges or USUAL_EDGES))
        toWorld = np.eye(4)
        toWorld[:3, :3] = axesOf(volumeNode)
        toWorld[:3, 3] = self._center(volumeNode)
        node.SetAndObserveObjectToNodeMatrix(_vtkMatrix(toWorld))
        return node

    @staticmethod
    def outline(nodes):
        """Draw only the edges of boxes, so that they cover neither the scan nor a result."""
        for node in nodes:
            if node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetFillVisibility(False)

    def _center(self, volumeNode):
        bounds = [0.0] * 6
        if volumeNode is not None:
            volumeNode.GetRASBounds(bounds)
        low, high = np.array(bounds[0::2]), np.array(bounds[1::2])
        shown = self._whereViewsMeet()
        if shown is None or not np.all((low <= shown) & (shown <= high)):
            return (low + high) / 2
        return shown

    def _whereViewsMeet(self):
        """The one point, RAS in mm, that all three slice views show; None if there is none."""
        normals, offsets = [], []
        for name in ("Red", "Green", "Yellow"):
            view = self._scene.GetSingletonNode(name, "vtkMRMLSliceNode")
            if view is None:
                return None
            matrix = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
            normal = matrix[:3, 2] / np.linalg.norm(matrix[:3, 2])
            normals.append(normal)
            offsets.append(normal @ matrix[:3, 3])
        # Two views that show (nearly) the same plane do not meet in a point.
        return np.linalg.solve(normals, offsets) if abs(np.linalg.det(normals)) > 0.1 else None


def axesOf(volumeNode):
    """Unit vectors in RAS, as columns, of the volume's axes that run to the right, to the front and up.

    Those of RAS itself for volumes without an image or below a deformation.
    """
    above = vtk.vtkMatrix4x4()
    if volumeNode is None or volumeNode.GetImageData() is None:
        return np.eye(3)
    transformNode = volumeNode.GetParentTransformNode()
    if transformNode is not None and not transformNode.GetMatrixTransformToWorld(above):
        return np.eye(3)
    toRAS = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(toRAS)
    vtk.vtkMatrix4x4.Multiply4x4(above, toRAS, toRAS)
    columns = slicer.util.arrayFromVTKMatrix(toRAS)[:3, :3]
    columns = columns / np.linalg.norm(columns, axis=0)
    axes = np.zeros((3, 3))
    free = [0, 1, 2]
    # The axis that lies closest to any of right, front and up is given first.
    for _number in range(3):
        direction, axis = max(
            ((d, a) for d in range(3) if not axes[:, d].any() for a in free), key=lambda pair: abs(columns[pair])
        )
        axes[:, direction] = columns[:, axis] * (1 if columns[direction, axis] >= 0 else -1)
        free.remove(axis)
    # Sheared axes are no box.
    return axes if np.allclose(axes.T @ axes, np.eye(3), atol=1e-3) else np.eye(3)


def _vtkMatrix(array):
    matrix = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            matrix.SetElement(row, column, float(array[row, column]))
    return matrix
