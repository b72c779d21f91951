"""The whole way of Segment: MRML nodes, the backend in a child process, MRML nodes."""

import subprocess

import numpy as np
import pytest
from logic_tools import ROOT, add_volume, labels_of, nodes, oblique, segment, smooth_values

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
import slicer
import vtk
from MIMSegmentLib.Process.Backend import Backend
from tiny_model import write_tiny_bundle

from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing

WIDE = Preprocessing("RAS", (1.0, 1.5, 2.0), Intensity("window", -100, 600))


def segment_with_command_line(folder, volume, *options):
    """What `mimseg segment` makes of the same volume, saved by 3D Slicer's own code: array (k, j, i)."""
    path = folder / "scan.nrrd"
    assert slicer.util.saveNode(volume, str(path))
    return segment_file(folder, path, "tiny", *options)


def segment_file(folder, path, model, *options):
    out = folder / "command line.nrrd"
    program, arguments, environment = Backend().command(
        ["segment", str(path), "--model", model, "-o", str(out), "--quiet", *options]
    )
    subprocess.run([program, *arguments], env=environment, check=True)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(out)))


@pytest.mark.parametrize(
    "matrix",
    [oblique(), oblique((0.7, 0.7, 3.0), (-100.0, 55.5, 12.25), 140.0), oblique((2.0, 1.0, 1.0), angle=0.0)],
    ids=["oblique", "turned over", "straight"],
)
def test_a_result_equals_that_of_the_command_line(logic, scene, folder, matrix):
    logic, record = logic
    volume = add_volume(scene, matrix=matrix)
    before = nodes(scene)
    segment(logic, volume, "tiny")
    assert logic.running == "segment"
    name, result = record.wait()
    assert name == "finished", result
    (node,), (table,) = result["segmentations"], result["tables"]
    new = [identifier for identifier in nodes(scene) if identifier not in before]
    expected = segment_with_command_line(folder, volume)
    assert set(np.unique(expected)) == {0, 3, 7}
    assert np.array_equal(labels_of(logic, node, volume), expected)
    assert result["command"] == "segment"
    assert (result["device"], result["engine"]) == ("cpu", "openvino")
    assert result["seconds"] > 0
    assert result["failures"] == []
    assert [segment["name"] for segment in logic.scene.segments(node)] == ["Grey", "Bright"]
    assert sorted(scene.GetNodeByID(identifier).GetClassName() for identifier in new) == [
        "vtkMRMLSegmentationDisplayNode",
        "vtkMRMLSegmentationNode",
        "vtkMRMLTableNode",
    ]
    spacing = np.prod(volume.GetSpacing())
    assert float(table.GetCellText(0, 1)) == pytest.approx((expected == 3).sum() * spacing / 1000, rel=1e-4)


def on_grid_of_file(array, volume, path):
    """An array on the volume's grid as one on the file's: 3D Slicer turns the axes of left-handed files round."""
    image = sitk.ReadImage(str(path))
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    matrix = slicer.util.arrayFromVTKMatrix(matrix)
    turned = np.zeros_like(array)
    for k, j, i in np.ndindex(array.shape):
        ras = matrix @ (i, j, k, 1)
        index = image.TransformPhysicalPointToContinuousIndex((-ras[0], -ras[1], ras[2]))
        assert np.allclose(index, np.round(index), atol=1e-3)
        turned[tuple(np.round(index).astype(int)[::-1])] = array[k, j, i]
    return turned


@pytest.mark.parametrize("first", [1, -1], ids=["right-handed", "left-handed"])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_file_gives_the_same_by_way_of_slicer_and_by_the_command_line(logic, scene, folder, ending, first):
    logic, record = logic
    path = folder / f"Scan ä{ending}"
    image = sitk.GetImageFromArray((smooth_values((15, 17, 19)) * 7 - 100).astype(np.int16))
    image.SetSpacing((0.9375, 0.9375, 3.3))
    image.SetOrigin((-112.7, 88.1, -45.3))
    tilt = np.array([[1, 0, 0], [0, np.cos(0.3), -np.sin(0.3)], [0, np.sin(0.3), np.cos(0.3)]])
    turn = np.array([[np.cos(-0.2), 0, np.sin(-0.2)], [0, 1, 0], [-np.sin(-0.2), 0, np.cos(-0.2)]])
    image.SetDirection((tilt @ turn @ np.diag([first, 1, 1])).ravel())
    sitk.WriteImage(image, str(path))
    write_tiny_bundle(folder / "models" / "wide", name="wide", preprocessing=WIDE)
    volume = slicer.util.loadVolume(str(path))
    segment(logic, volume, "wide")
    name, result = record.wait()
    assert name == "finished", result
    expected = segment_file(folder, path, "wide")
    assert set(np.unique(expected)) == {0, 3, 7}
    found = labels_of(logic, result["segmentations"][0], volume)
    assert np.array_equal(on_grid_of_file(found, volume, path), expected)


MODELS = ROOT / "Resources" / "Models" / "hippocampus-mr"
DEMO = ROOT / "Resources" / "SampleData" / "MNI152_T1.nii.gz"


@pytest.mark.slow
@pytest.mark.skipif(not (MODELS / "segmentation.json").is_file(), reason="the model hippocampus-mr is not there")
def test_the_demo_volume_gives_the_same_by_way_of_slicer_and_by_the_command_line(logic, scene, folder):
    logic, record = logic
    volume = slicer.util.loadVolume(str(DEMO))
    boxes = ((-46, -10, -46, 6, -33, 5), (10, 46, -46, 6, -33, 5))
    regions = []
    for x0, x1, y0, y1, z0, z1 in boxes:
        regions.append(scene.AddNewNodeByClass("vtkMRMLMarkupsROINode"))
        regions[-1].SetCenter((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2)
        regions[-1].SetSize(x1 - x0, y1 - y0, z1 - z0)
    segment(logic, volume, "hippocampus-mr", rois=regions)
    name, *values = record.wait(600)
    assert name == "finished", values
    (node,) = values[0]["segmentations"]
    expected = segment_file(folder, DEMO, "hippocampus-mr", *("--roi=" + ",".join(map(str, box)) for box in boxes))
    assert np.array_equal(labels_of(logic, node, volume), expected)
    milliliters = sum(row[1] for row in logic.scene.volumes(node))
    assert 2 < milliliters < 15


def test_a_run_tells_how_it_goes(logic, scene):
    logic, record = logic
    segment(logic, add_volume(scene), "tiny")
    record.wait()
    assert record.names[0] == "started"
    assert record["started"] == [["segment"]]
    phases = [phase for phase, *_rest in record["progress"]]
    assert phases.index("read") < phases.index("segment") < phases.index("write")
    assert all(0 <= done <= total for _phase, done, total, _eta in record["progress"])
    assert any("device: cpu" in text for (text,) in record["message"])
    assert logic.expectedSeconds("tiny") >= 0
    assert logic.expectedSeconds("other") is None


def test_a_region_gives_what_the_command_line_gives_for_it(logic, scene, folder):
    logic, record = logic
    volume = add_volume(scene)
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    center = matrix.MultiplyPoint((9, 8, 7, 1))[:3]
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    roi.SetCenter(*center)
    roi.SetSize(10, 9, 20)
    segment(logic, volume, "tiny", rois=[roi])
    name, result = record.wait()
    assert name == "finished", result
    bounds = [end for c, s in zip(center, (10, 9, 20), strict=True) for end in (c - s / 2, c + s / 2)]
    expected = segment_with_command_line(folder, volume, "--roi=" + ",".join(f"{b:.6g}" for b in bounds))
    found = labels_of(logic, result["segmentations"][0], volume)
    assert np.array_equal(found, expected)
    assert 0 < np.count_nonzero(found) < found.size / 2


def test_only_the_chosen_structures_come_back(logic, scene):
    logic, record = logic
    segment(logic, add_volume(scene), "tiny", labels=("Bright",))
    _name, result = record.wait()
    assert [segment["name"] for segment in logic.scene.segments(result["segmentations"][0])] == ["Bright"]


def test_several_volumes_are_segmented_by_one_process(logic, scene):
    logic, record = logic
    volumes = [add_volume(scene, "Kopf", smooth_values(seed=seed)) for seed in range(3)]
    segment(logic, volumes, "tiny")
    _name, result = record.wait()
    assert len(result["segmentations"]) == len(result["tables"]) == 3
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert [node.GetNodeReference(role) for node in result["segmentations"]] == volumes
    arrays = [labels_of(logic, node) for node in result["segmentations"]]
    assert not np.array_equal(arrays[0], arrays[1])
    assert len([1 for (text,) in record["message"] if "command: segment" in text]) == 1


def test_a_volume_that_cannot_be_segmented_does_not_spoil_the_others(logic, scene):
    logic, record = logic
    good, bad = add_volume(scene, "Gut"), add_volume(scene, "Flach", np.zeros((1, 16, 16), np.float32))
    bad.GetImageData().AllocateScalars(vtk.VTK_FLOAT, 3)
    segment(logic, [good, bad], "tiny")
    name, result = record.wait()
    assert name == "finished", result
    assert len(result["segmentations"]) == 1
    assert result["failures"] == ["Flach"]
    assert any("Flach" in message for _code, message in record["warning"])


def test_channels_of_one_case_are_given_together(logic, scene, folder):
    logic, record = logic
    write_tiny_bundle(folder / "models" / "two", channels=("T1", "T2"), name="two")
    volumes = [add_volume(scene, "T1"), add_volume(scene, "T2", smooth_values(seed=1))]
    segment(logic, [tuple(volumes)], "two")
    name, result = record.wait()
    assert name == "finished", result
    assert len(result["segmentations"]) == 1


def test_a_transform_above_the_volume_stays_above_the_result(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 50)
    transform.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    segment(logic, volume, "tiny")
    _name, result = record.wait()
    node = result["segmentations"][0]
    assert node.GetTransformNodeID() == transform.GetID()
    bounds = [np.zeros(6), np.zeros(6)]
    volume.GetRASBounds(bounds[0])
    node.GetRASBounds(bounds[1])
    assert np.all(bounds[1][::2] >= bounds[0][::2] - 3)
    assert np.all(bounds[1][1::2] <= bounds[0][1::2] + 3)


def test_every_time_point_of_a_sequence_is_segmented(logic, scene):
    logic, record = logic
    sequences = slicer.vtkSlicerSequencesLogic()
    sequences.SetMRMLScene(scene)
    volume = add_volume(scene, "Herz")
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "Herz")
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    for number in range(3):
        slicer.util.updateVolumeFromArray(volume, smooth_values(seed=number))
        sequence.SetDataNodeAtValue(volume, str(number))
    browser.AddSynchronizedSequenceNode(sequence)
    sequences.UpdateAllProxyNodes()
    proxy = browser.GetProxyNode(sequence)
    segment(logic, proxy, "tiny", wholeSequence=True)
    name, result = record.wait()
    assert name == "finished", result
    (created,) = result["sequences"]
    assert created.GetNumberOfDataNodes() == 3
    assert browser.IsSynchronizedSequenceNode(created)
    assert result["tables"][0].GetNumberOfRows() == 3
    segments = scene.GetNodesByClass("vtkMRMLSegmentationNode")
    segments.UnRegister(None)
    assert segments.GetNumberOfItems() == 1
    sequences.SetMRMLScene(None)
