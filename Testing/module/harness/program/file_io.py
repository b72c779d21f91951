"""Reading and writing nodes, as `slicer.util.loadVolume` and its kin ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vtk
from harness.errors import NotOffered

VOLUME_ENDINGS = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
# What writes and reads each kind of node: its storage node, and the endings that were recorded to work.
STORAGES = {
    "SegmentationFile": ("vtkMRMLSegmentationStorageNode", (".seg.nrrd", ".nrrd")),
    "MarkupsFile": ("vtkMRMLMarkupsROIStorageNode", (".mrk.json",)),
    "TableFile": ("vtkMRMLTableStorageNode", (".csv", ".tsv")),
}


class qSlicerIOManager:
    """`slicer.app.coreIOManager()`: volumes, label maps, segmentations, tables."""

    def __repr__(self) -> str:
        return f"qSlicerIOManager (qSlicerIOManager at: {id(self):#x})"

    def fileType(self, filename: str) -> str:
        """Return the kind of a file by its ending."""
        name = str(filename).lower()
        if name.endswith(".seg.nrrd"):
            return "SegmentationFile"
        if name.endswith(VOLUME_ENDINGS):
            return "VolumeFile"
        if name.endswith((".csv", ".tsv")):
            return "TableFile"
        raise NotOffered(f"reading {filename}")

    def loadNodes(self, kind: str, properties: dict, loaded: Any, messages: Any) -> bool:
        """Read one file into the scene."""
        import slicer

        path = properties["fileName"]
        name = properties.get("name") or Path(path).name.split(".")[0]
        node = None
        if not Path(path).is_file():
            pass
        elif kind == "VolumeFile":
            options = 1 if properties.get("labelmap") else 0
            node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
        elif kind == "SegmentationFile":
            node = self._load_segmentation(path, name)
        elif kind == "TableFile":
            node = slicer.modules.tables.logic().AddTable(path, name)
        else:
            raise NotOffered(f"loading a {kind}")
        if node is None:
            messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"Error: Loading {path} -  load failed.\n")
            return False
        loaded.AddItem(node)
        return True

    @staticmethod
    def _load_segmentation(path: str, name: str) -> Any:
        import slicer

        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", slicer.mrmlScene.GenerateUniqueName(name))
        storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
        storage.SetFileName(path)
        if not str(path).endswith(STORAGES["SegmentationFile"][1]) or not storage.ReadData(node):
            slicer.mrmlScene.RemoveNode(storage)
            slicer.mrmlScene.RemoveNode(node)
            return None
        node.SetAndObserveStorageNodeID(storage.GetID())
        node.CreateDefaultDisplayNodes()
        return node

    def fileWriterFileType(self, node: Any, *_: Any) -> str:
        """Return what writes a node."""
        for kind, name in (
            ("vtkMRMLVolumeNode", "VolumeFile"),
            ("vtkMRMLSegmentationNode", "SegmentationFile"),
            ("vtkMRMLTableNode", "TableFile"),
            ("vtkMRMLMarkupsNode", "MarkupsFile"),
        ):
            if node.IsA(kind):
                return name
        raise NotOffered(f"writing a {node.GetClassName()}")

    def saveNodes(self, kind: str, properties: dict, messages: Any) -> bool:
        """Write one node to a file."""
        import slicer

        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self._save_scene(path)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        endings = VOLUME_ENDINGS if kind == "VolumeFile" else STORAGES[kind][1]
        if not path.lower().endswith(endings):
            return False
        storage = node.GetStorageNode()
        if storage is None:
            node.AddDefaultStorageNode()
            storage = node.GetStorageNode()
        storage.SetFileName(path)
        if "useCompression" in properties:
            storage.SetUseCompression(int(properties["useCompression"]))
        return bool(storage.WriteData(node))

    @staticmethod
    def _save_scene(path: str) -> bool:
        import slicer

        if not path.endswith(".mrb"):
            raise NotOffered(f"saving the scene to {path}")
        return bool(slicer.mrmlScene.WriteToMRB(path, None))
