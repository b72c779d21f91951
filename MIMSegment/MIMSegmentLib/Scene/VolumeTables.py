import weakref

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from MIMSegmentLib.Scene.Segments import Voxels

ROLE = "MIMSegment.segmentation"
EVENTS = ("SourceRepresentationModified", "SegmentAdded", "SegmentRemoved", "SegmentModified")
# A brush stroke is many modifications; large segmentations take a while to measure.
PATIENCE_MILLISECONDS = 500


class VolumeTables:
    """Tables of the volumes of segmentations, locked, and always as the segmentations are.

    A table refers to its segmentation, or to its sequence of segmentations, so that both are found together again in a
    scene that was saved and loaded.

    :param scene: a vtkMRMLScene.
    :param placeBeside: puts a node beside another one in the subject hierarchy.
    """

    def __init__(self, scene, placeBeside):
        self._scene = scene
        self._placeBeside = placeBeside
        # What is observed, with the tags of its observers, by (ID of the node, time point): the vtkSegmentation of each
        # time point, and a sequence itself as time point None.
        self._observed = {}
        # By time point, as long as they hold.
        self._volumes = {}
        self._changed = set()
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(PATIENCE_MILLISECONDS)
        self._timer.connect("timeout()", _weakly(self.update))
        self._tags = [
            scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, _weakly(self._refresh)),
            scene.AddObserver(slicer.vtkMRMLScene.EndCloseEvent, _weakly(self._forget)),
            scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, _weakly(self._release)),
        ]
        self._refresh()

    def add(self, node, name=""):
        """A new table node: each structure with its volume in mL and its voxels, left and right apart.

        :param node: a segmentation, or a sequence of segmentations: then mL of each structure at each time point.
        """
        title = _("{name} volumes").format(name=name or node.GetName())
        table = self._scene.AddNewNodeByClass("vtkMRMLTableNode", self._scene.GenerateUniqueName(title))
        table.SetNodeReferenceID(ROLE, node.GetID())
        table.SetUseColumnTitleAsColumnHeader(True)
        table.SetLocked(True)
        self._observe(node)
        self._fill(table, node)
        self._placeBeside(table, node)
        return table

    def volumesOf(self, segmentationNode):
        """`Voxels.volumesBySide` of a segmentation; its voxels are counted once until it changes."""
        self._observe(segmentationNode)
        return self._volumesOf((segmentationNode.GetID(), ""), segmentationNode)

    def update(self):
        """Measure again what was changed."""
        changed, self._changed = self._changed, set()
        for table in self._tables():
            node = table.GetNodeReference(ROLE)
            if node is not None and node.GetID() in changed:
                self._observe(node)
                self._fill(table, node)

    def stop(self):
        """Observe nothing any more."""
        self._timer.stop()
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._forget()

    def _forget(self):
        """The scene was closed: what is observed would not be released otherwise."""
        for key in list(self._observed):
            self._unobserve(key)
        self._volumes, self._changed = {}, set()

    def _release(self):
        """A node was removed: what is observed of it would stay in memory otherwise."""
        for key in list(self._observed):
            if self._scene.GetNodeByID(key[0]) is None:
                self._unobserve(key)

    def _unobserve(self, key):
        observed, tags = self._observed.pop(key, (None, ()))
        for tag in tags:
            observed.RemoveObserver(tag)
        self._volumes.pop(key, None)

    def _refresh(self, *_ignored):
        """A scene was loaded."""
        for table in self._tables():
            node = table.GetNodeReference(ROLE)
            if node is not None:
                self._observe(node)
                # To measure all time points takes long; their table was saved with them.
                if not _isSequence(node):
                    self._changed.add(node.GetID())
        if self._changed:
            self.update()

    def _observe(self, node):
        """Hear of changes; again where a time point has another vtkSegmentation, as when one that was shown is kept."""
        identifier = node.GetID()

        def onModified(tables, key=None):
            tables._volumes.pop(key, None)
            tables._changed.add(identifier)
            tables._timer.start()

        wanted = {key: each.GetSegmentation() for key, each in _timePoints(node)}
        events = [getattr(slicer.vtkSegmentation, name) for name in EVENTS]
        if _isSequence(node):
            wanted[identifier, None] = node
        for key in [key for key in self._observed if key[0] == identifier and key not in wanted]:
            self._unobserve(key)
        for key, observed in wanted.items():
            if self._observed.get(key, (None,))[0] is observed:
                continue
            self._unobserve(key)
            heard = _weakly(self, lambda tables, key=key: onModified(tables, key))
            own = [vtk.vtkCommand.ModifiedEvent] if observed is node else events
            self._observed[key] = observed, [observed.AddObserver(event, heard) for event in own]

    def _fill(self, table, node):
        rows = [(key[1], self._volumesOf(key, each)) for key, each in _timePoints(node)]
        columns = _columnsOfTimePoints(node, rows) if _isSequence(node) else _columns(rows[0][1])
        with slicer.util.NodeModify(table):
            table.RemoveAllColumns()
            for title, column in columns:
                column.SetName(title)
                table.AddColumn(column)
                table.SetColumnTitle(title, title)

    def _volumesOf(self, key, segmentationNode):
        if key not in self._volumes:
            self._volumes[key] = Voxels.volumesBySide(segmentationNode)
        return self._volumes[key]

    def _tables(self):
        count = self._scene.GetNumberOfNodesByClass("vtkMRMLTableNode")
        nodes = [self._scene.GetNthNodeByClass(number, "vtkMRMLTableNode") for number in range(count)]
        return [node for node in nodes if node.GetNodeReferenceID(ROLE)]


def _isSequence(node):
    return node.IsA("vtkMRMLSequenceNode")


def _timePoints(node):
    """`[((ID of the node, time point), segmentation node)]`; a segmentation is its only one."""
    if not _isSequence(node):
        return [((node.GetID(), ""), node)]
    numbers = range(node.GetNumberOfDataNodes())
    return [((node.GetID(), node.GetNthIndexValue(number)), node.GetNthDataNode(number)) for number in numbers]


def _weakly(target, function=None):
    """A function for an observer that does not keep alive who observes."""
    if function is None:
        method = weakref.WeakMethod(target)
        return lambda *_arguments: (method() or (lambda: None))()
    reference = weakref.ref(target)
    return lambda *_arguments: function(reference()) if reference() is not None else None


def _columns(volumes):
    """Structure, mL, voxels."""
    columns = (
        (_("Structure"), vtk.vtkStringArray()),
        (_("Volume (mL)"), vtk.vtkDoubleArray()),
        (_("Voxels"), vtk.vtkLongArray()),
    )
    for structure, milliliters, voxels in volumes:
        for (_title, column), value in zip(columns, (structure, round(milliliters, 4), voxels), strict=True):
            column.InsertNextValue(value)
    return columns


def _columnsOfTimePoints(sequenceNode, rows):
    """The time point, and mL of each structure, 0 where it is not. `rows`: `[(time point, volumesBySide(...))]`."""
    index = vtk.vtkStringArray()
    columns = {}
    for number, (value, volumes) in enumerate(rows):
        index.InsertNextValue(str(value))
        for structure, milliliters, _voxels in volumes:
            title = _("{name} (mL)").format(name=structure)
            if title not in columns:
                columns[title] = vtk.vtkDoubleArray()
                columns[title].SetNumberOfTuples(len(rows))
                columns[title].Fill(0.0)
            columns[title].SetValue(number, round(milliliters, 4))
    return ((sequenceNode.GetIndexName() or _("Time point"), index), *columns.items())
