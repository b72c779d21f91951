import weakref

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from MIMSegmentLib.Scene import Voxels

ROLE = "MIMSegment.segmentation"
EVENTS = ("SourceRepresentationModified", "SegmentAdded", "SegmentRemoved", "SegmentModified")
# A brush stroke is many modifications; large segmentations take a while to measure.
PATIENCE_MILLISECONDS = 500


class VolumeTables:
    """Tables of the volumes of segmentations, locked, and always as the segmentations are.

    A table refers to its segmentation, so that both are found together again in a scene that was saved and loaded.

    :param scene: a vtkMRMLScene.
    :param placeBeside: puts a node beside another one in the subject hierarchy.
    """

    def __init__(self, scene, placeBeside):
        self._scene = scene
        self._placeBeside = placeBeside
        self._observed = {}
        self._changed = set()
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(PATIENCE_MILLISECONDS)
        self._timer.connect("timeout()", _weakly(self.update))
        self._tag = scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, _weakly(self._refresh))
        self._refresh()

    def add(self, segmentationNode):
        """A new table node: each structure with its volume in mL and its voxels, left and right apart."""
        title = _("{name} volumes").format(name=segmentationNode.GetName())
        table = self._scene.AddNewNodeByClass("vtkMRMLTableNode", self._scene.GenerateUniqueName(title))
        table.SetNodeReferenceID(ROLE, segmentationNode.GetID())
        table.SetUseColumnTitleAsColumnHeader(True)
        table.SetLocked(True)
        _fill(table, segmentationNode)
        self._placeBeside(table, segmentationNode)
        self._observe(segmentationNode)
        return table

    def update(self):
        """Measure again what was changed."""
        changed, self._changed = self._changed, set()
        for table in self._tables():
            segmentationNode = table.GetNodeReference(ROLE)
            if segmentationNode is not None and segmentationNode.GetID() in changed:
                _fill(table, segmentationNode)

    def stop(self):
        """Observe nothing any more."""
        self._timer.stop()
        self._scene.RemoveObserver(self._tag)
        for segmentation, tags in self._observed.values():
            for tag in tags:
                segmentation.RemoveObserver(tag)
        self._observed = {}

    def _refresh(self, *_ignored):
        """A scene was loaded."""
        for table in self._tables():
            segmentationNode = table.GetNodeReference(ROLE)
            if segmentationNode is not None:
                self._observe(segmentationNode)
                self._changed.add(segmentationNode.GetID())
        if self._changed:
            self.update()

    def _observe(self, segmentationNode):
        identifier, segmentation = segmentationNode.GetID(), segmentationNode.GetSegmentation()
        if self._observed.get(identifier, (None,))[0] is segmentation:
            return

        def onModified(tables):
            tables._changed.add(identifier)
            tables._timer.start()

        tags = [
            segmentation.AddObserver(getattr(slicer.vtkSegmentation, event), _weakly(self, onModified))
            for event in EVENTS
        ]
        self._observed[identifier] = segmentation, tags

    def _tables(self):
        count = self._scene.GetNumberOfNodesByClass("vtkMRMLTableNode")
        nodes = [self._scene.GetNthNodeByClass(number, "vtkMRMLTableNode") for number in range(count)]
        return [node for node in nodes if node.GetNodeReferenceID(ROLE)]


def _weakly(target, function=None):
    """A function for an observer that does not keep alive who observes."""
    if function is None:
        method = weakref.WeakMethod(target)
        return lambda *_arguments: (method() or (lambda: None))()
    reference = weakref.ref(target)
    return lambda *_arguments: function(reference()) if reference() is not None else None


def _fill(table, segmentationNode):
    columns = (
        (_("Structure"), vtk.vtkStringArray()),
        (_("Volume (mL)"), vtk.vtkDoubleArray()),
        (_("Voxels"), vtk.vtkLongArray()),
    )
    for structure, milliliters, voxels in Voxels.volumesBySide(segmentationNode):
        for (_title, column), value in zip(columns, (structure, round(milliliters, 4), voxels), strict=True):
            column.InsertNextValue(value)
    with slicer.util.NodeModify(table):
        table.RemoveAllColumns()
        for title, column in columns:
            column.SetName(title)
            table.AddColumn(column)
            table.SetColumnTitle(title, title)
