"""Where nodes and files of the scene lie, and results as the backend writes them."""

from pathlib import Path

import numpy as np
import slicer
import vtk
from logic_tools import add_volume, box

SHAPE = (12, 14, 16)


def ras_of(image):
    """4x4 matrix from indices to RAS of a SimpleITK image."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    matrix[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ matrix


def ras_of_node(node):
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def write_result(path, volume_path, masks):
    """A result as the backend writes it. `masks`: {(value, name, code or None): mask (k, j, i)}."""
    from mimseg.data.labels.labelmaps import write_labelmap
    from mimseg.data.labels.structures import Code, Label
    from mimseg.data.volumes import read_volume

    volume = read_volume(Path(volume_path))
    labels = np.zeros(volume.array.shape, np.uint8)
    table = []
    for number, ((value, name, code), mask) in enumerate(masks.items()):
        labels[mask.transpose(2, 1, 0)] = value
        kind = Code("SCT", code, name) if code else None
        table.append(Label(value, name, (200, 10 * number, 20), type=kind))
    write_labelmap(Path(path), labels, volume.grid, table)
    return labels.transpose(2, 1, 0)


def add_scan(scene):
    values = np.random.default_rng(1).integers(-1000, 2000, SHAPE).astype(np.int16)
    return add_volume(scene, "Kopf ä", values)


def add_result(tool, scan, folder):
    """`(path, array (k, j, i))` of a result on the scan."""
    tool.exportVolume(scan, str(folder / "scan.nrrd"))
    masks = {
        (3, "Liver", "10200004"): box(SHAPE, (2, 6), (3, 8), (4, 9)),
        (7, "Größe", None): box(SHAPE, (7, 9), (3, 8), (4, 9)),
    }
    return str(folder / "ä.seg.nrrd"), write_result(folder / "ä.seg.nrrd", folder / "scan.nrrd", masks)


def add_sequence(scene, scan, count=3):
    logic = slicer.vtkSlicerSequencesLogic()
    logic.SetMRMLScene(scene)
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Herz")
    sequence.SetIndexName("time")
    sequence.SetIndexUnit("s")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
    for number in range(count):
        slicer.util.updateVolumeFromArray(scan, np.full(SHAPE, number, np.int16))
        sequence.SetDataNodeAtValue(scan, str(0.5 * number))
    browser.AddSynchronizedSequenceNode(sequence)
    logic.UpdateAllProxyNodes()
    return logic, browser, sequence


def ball(scan, radius, voxel=(8, 7, 6)):
    """Surface of a ball, mm, around a voxel (i, j, k) of a scan."""
    sphere = vtk.vtkSphereSource()
    sphere.SetCenter(*(ras_of_node(scan) @ [*voxel, 1])[:3])
    sphere.SetRadius(radius)
    sphere.SetThetaResolution(30)
    sphere.SetPhiResolution(30)
    sphere.Update()
    return sphere.GetOutput()
