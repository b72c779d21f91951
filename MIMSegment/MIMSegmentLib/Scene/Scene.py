import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from slicer.i18n import tr as _

from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.Segments import Grid, NodeFile, Voxels
from MIMSegmentLib.Scene.VolumeTables import VolumeTables


class Scene:
    """Between a MRML scene and files. What it is given is never changed; results are always new nodes.

    :param scene: a vtkMRMLScene.
    :ivar tables: the tables of volumes in it: a `VolumeTables`.
    """

    def __init__(self, scene):
        self.scene = scene
        self.tables = VolumeTables(scene, self.placeBeside)

    # -- volumes to files

    def exportVolume(self, volumeNode, path):
        """Write a volume to `path`, in its own coordinates: a transform above it is left out.

        :raises Problem: if the volume is empty or the file cannot be written.
        """
        if volumeNode is None or volumeNode.GetImageData() is None or not volumeNode.GetImageData().GetNumberOfPoints():
            name = volumeNode.GetName() if volumeNode is not None else "-"
            raise Problem(_("The volume {name} is empty.").format(name=name), _("Choose another volume."))
        # A storage node of our own: the volume must neither forget its file nor pass for saved.
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetUseCompression(False)
        NodeFile.writeNode(storage, volumeNode, path)

    def regionsForVolume(self, roiNodes, volumeNode):
        """Boxes in mm, RAS, in the coordinates of the volume's file, as the backend takes them.

        A box along RAS is (x0, x1, y0, y1, z0, z1); a turned one a corner and its three edges, twelve numbers.
        Transforms above the ROI and above the volume are taken into account; below one that is not linear it is the
        box along RAS around it all.
        """
        return tuple(self._region(node, volumeNode) for node in roiNodes)

    def _region(self, roiNode, volumeNode):
        toWorld = vtk.vtkMatrix4x4()
        toWorld.DeepCopy(roiNode.GetObjectToWorldMatrix())
        half = [0.5 * length for length in roiNode.GetSize()]
        worldToVolume = vtk.vtkGeneralTransform()
        transformNode = volumeNode.GetParentTransformNode() if volumeNode is not None else None
        slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, transformNode, worldToVolume)
        linear = transformNode is None or transformNode.IsTransformToWorldLinear()

        def inFile(*shares):
            inBox = [share * length for share, length in zip(shares, half, strict=True)]
            return np.array(worldToVolume.TransformPoint(toWorld.MultiplyPoint((*inBox, 1.0))[:3]))

        corner = inFile(-1.0, -1.0, -1.0)
        edges = [inFile(*(1.0 if axis == own else -1.0 for axis in range(3))) - corner for own in range(3)]
        lengths = np.abs(edges)
        if linear and np.any(lengths.max(axis=1) < 0.999999 * np.linalg.norm(edges, axis=1)):
            return tuple(float(number) for vector in (corner, *edges) for number in vector)
        # Points between the corners matter only below a non-linear transform.
        steps = (-1.0, 1.0) if linear else (-1.0, 0.0, 1.0)
        points = [inFile(x, y, z) for x in steps for y in steps for z in steps]
        low, high = np.min(points, axis=0), np.max(points, axis=0)
        return tuple(float(bound) for pair in zip(low, high, strict=True) for bound in pair)

    # -- sequences

    def sequenceOf(self, volumeNode):
        """`(browser node, sequence node)` of a volume that shows a sequence, or None."""
        for browser in self._nodes("vtkMRMLSequenceBrowserNode"):
            sequence = browser.GetSequenceNode(volumeNode)
            if sequence is not None and sequence.GetNumberOfDataNodes() > 0:
                return browser, sequence
        return None

    def addSequence(self, browserNode, sequenceNode, nodes, name):
        """A new sequence of `nodes` at the time points of `sequenceNode`, shown by the same browser.

        What is corrected in the node that shows it is kept in the sequence.

        :param nodes: one for each time point; None leaves it out. They may be removed from the scene afterwards.
        """
        created = self.scene.AddNewNodeByClass("vtkMRMLSequenceNode", self.scene.GenerateUniqueName(name))
        created.SetIndexName(sequenceNode.GetIndexName())
        created.SetIndexUnit(sequenceNode.GetIndexUnit())
        created.SetIndexType(sequenceNode.GetIndexType())
        for number, node in enumerate(nodes):
            if node is not None:
                created.SetDataNodeAtValue(node, sequenceNode.GetNthIndexValue(number))
        browserNode.AddSynchronizedSequenceNode(created)
        # Slicer would fill a missing time point with its neighbour's; any other mode would show and change that one.
        browserNode.SetMissingItemMode(created, browserNode.MissingItemSetToDefault)
        browserNode.SetSaveChanges(created, True)
        return created

    # -- results to nodes

    def importSegmentation(self, path, volumeNode, name="", labels=()):
        """A new segmentation node from a `.seg.nrrd` file that was computed on `volumeNode`.

        :param labels: keep only segments of these names, whatever their case; empty keeps all.
        :raises Problem: if the file cannot be read; then the scene is as before.
        """
        before = _nodeIDs(self.scene)
        try:
            return self._importSegmentation(path, volumeNode, name, labels)
        except BaseException:
            for identifier in _nodeIDs(self.scene) - before:
                node = self.scene.GetNodeByID(identifier)
                if node is not None:
                    self.scene.RemoveNode(node)
            raise

    def _importSegmentation(self, path, volumeNode, name, labels):
        uniqueName = self.scene.GenerateUniqueName(name or "Segmentation")
        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", uniqueName)
        self._readSegmentation(path, node)
        segmentation = node.GetSegmentation()
        wanted = {label.strip().casefold() for label in labels}
        for segmentID in segmentation.GetSegmentIDs():
            if wanted and segmentation.GetSegment(segmentID).GetName().strip().casefold() not in wanted:
                segmentation.RemoveSegment(segmentID)
        node.CreateDefaultDisplayNodes()
        self.attach(node, volumeNode)
        # The surfaces of the segments; shown in 3D as soon as they exist.
        node.CreateClosedSurfaceRepresentation()
        display = node.GetDisplayNode()
        display.SetVisibility3D(True)
        display.SetPreferredDisplayRepresentationName3D(
            slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
        )
        return node

    def attach(self, segmentationNode, volumeNode):
        """Give a segmentation the volume's grid, its transform, and its place in the subject hierarchy."""
        segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        self.placeBeside(segmentationNode, volumeNode)

    def _readSegmentation(self, path, node):
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(path)
        try:
            # A damaged file can end the process that gives it to the storage node.
            sitk.ReadImage(path)
            if not storage.ReadData(node):
                raise RuntimeError("ReadData")
        except RuntimeError as fault:
            raise Problem(
                _("The result {path} cannot be read.").format(path=path), _("Try again; the log may say more.")
            ) from fault

    # -- segmentations to files

    volumeOf = staticmethod(Grid.volumeOf)
    volumeHere = staticmethod(Grid.volumeHere)
    inVolume = staticmethod(Grid.inVolume)
    segments = staticmethod(Voxels.segments)
    volumes = staticmethod(Voxels.volumes)
    measured = staticmethod(Voxels.measured)
    labelArray = staticmethod(Voxels.labelArray)
    sharedVoxels = staticmethod(Voxels.sharedVoxels)

    def exportSegmentation(self, segmentationNode, volumeNode, path, values):
        """Write the segments as a labelmap file on the grid of the volume's file.

        :param values: voxel value by segment ID.
        :returns: voxels by segment ID, and the number of voxels that segments share: the later one keeps them.
        :raises Problem: if the file cannot be written.
        """
        array, shared = self.labelArray(segmentationNode, values, volumeNode)
        if volumeNode is not None:
            toRAS = vtk.vtkMatrix4x4()
            volumeNode.GetIJKToRASMatrix(toRAS)
        else:
            toRAS = Grid.firstVoxelToRAS(Grid.referenceImage(segmentationNode, None))
        self.writeLabels(array, toRAS, path)
        numbers = np.bincount(array.ravel(), minlength=max(values.values(), default=0) + 1)
        return {segmentID: int(numbers[value]) for segmentID, value in values.items()}, shared

    def writeLabels(self, array, toRAS, path):
        """Write an array (k, j, i) of labels with a vtkMatrix4x4 from its indices to RAS."""
        node = slicer.vtkMRMLLabelMapVolumeNode()
        node.SetName("labels")
        node.SetIJKToRASMatrix(toRAS)
        node.SetAndObserveImageData(NodeFile.imageFromArray(array))
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetUseCompression(True)
        NodeFile.writeNode(storage, node, path)

    def saveSegmentation(self, segmentationNode, path):
        """Write labelmaps (see `inVolume`) as a `.seg.nrrd` file of the whole grid, with names, colors and codes."""
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetCropToMinimumExtent(False)
        storage.SetUseCompression(True)
        NodeFile.writeNode(storage, segmentationNode, path)

    def addLabelmap(self, segmentationNode, name):
        """A new labelmap node with the segments, their names and colors."""
        node = self.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", self.scene.GenerateUniqueName(name))
        identifiers = vtk.vtkStringArray()
        for segmentID in segmentationNode.GetSegmentation().GetSegmentIDs():
            identifiers.InsertNextValue(segmentID)
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        volumeNode = self.volumeHere(segmentationNode)
        if not logic.ExportSegmentsToLabelmapNode(segmentationNode, identifiers, node, volumeNode):
            self.scene.RemoveNode(node)
            raise Problem(
                _("The segmentation {name} cannot be turned into a labelmap.").format(name=segmentationNode.GetName()),
                _("Check that it has segments."),
            )
        self.placeBeside(node, segmentationNode)
        return node

    # -- bookkeeping

    def saveStateForUndo(self):
        """One step back from here undoes everything that follows."""
        self.scene.SaveStateForUndo()

    def firstVolume(self):
        """The volume that the slice views show, else the first one; never a labelmap. None if there is none."""
        selection = self.scene.GetNthNodeByClass(0, "vtkMRMLSelectionNode")
        shown = (
            self.scene.GetNodeByID(selection.GetActiveVolumeID())
            if selection and selection.GetActiveVolumeID()
            else None
        )
        if shown is not None and shown.GetClassName() == "vtkMRMLScalarVolumeNode":
            return shown
        for node in self._nodes("vtkMRMLScalarVolumeNode"):
            if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors():
                return node
        return None

    def hideOtherSegmentations(self, volumeNode):
        """Hide the segmentations of other volumes: they do not belong over this one."""
        for node in self._nodes("vtkMRMLSegmentationNode"):
            if self.volumeOf(node) is not volumeNode and node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(False)

    def contains(self, node):
        """True if the node is still in the scene."""
        return node is not None and node.GetScene() is self.scene and self.scene.IsNodePresent(node) != 0

    def remove(self, nodes):
        """Remove nodes with what only they use."""
        for node in nodes:
            if node is None or not self.contains(node):
                continue
            for number in range(node.GetNumberOfDisplayNodes() if hasattr(node, "GetNumberOfDisplayNodes") else 0):
                display = node.GetNthDisplayNode(number)
                if display is not None:
                    self.scene.RemoveNode(display)
            self.scene.RemoveNode(node)

    def placeBeside(self, node, neighbour):
        """Put a node into the subject, study or folder of another one."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        if hierarchy is None:
            return
        beside = hierarchy.GetItemByDataNode(neighbour)
        parent = hierarchy.GetItemParent(beside) if beside else hierarchy.GetSceneItemID()
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.SetItemParent(item, parent)
        else:
            hierarchy.CreateItem(parent, node)

    def _nodes(self, className):
        collection = self.scene.GetNodesByClass(className)
        collection.UnRegister(None)
        return [collection.GetItemAsObject(number) for number in range(collection.GetNumberOfItems())]


def _nodeIDs(scene):
    return {scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())}
