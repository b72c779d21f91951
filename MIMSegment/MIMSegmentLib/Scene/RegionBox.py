from slicer.i18n import tr as _

# In mm, for models that do not say what they were made for.
USUAL_EDGES = (60.0, 60.0, 60.0)


class RegionBox:
    """Adds boxes (Markups ROI) to a scene."""

    def __init__(self, scene):
        self._scene = scene

    def add(self, volumeNode, edges=None):
        """A new box at the center of the slice views; where there are none, of the volume.

        :param edges: size along x, y, z in mm.
        """
        node = self._scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", self._scene.GenerateUniqueName(_("Box")))
        node.CreateDefaultDisplayNodes()
        node.SetSize(*(edges or USUAL_EDGES))
        node.SetCenter(*self._center(volumeNode))
        return node

    def _center(self, volumeNode):
        bounds = [0.0] * 6
        if volumeNode is not None:
            volumeNode.GetRASBounds(bounds)
        center = [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)]
        # Each slice view adds the coordinate along its own normal, unless it shows something else.
        for axis, name in enumerate(("Yellow", "Green", "Red")):
            view = self._scene.GetSingletonNode(name, "vtkMRMLSliceNode")
            shown = view.GetSliceToRAS().GetElement(axis, 3) if view is not None else None
            if shown is not None and bounds[2 * axis] <= shown <= bounds[2 * axis + 1]:
                center[axis] = shown
        return center
