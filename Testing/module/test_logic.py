"""The whole way of each button: MRML nodes, the backend in a child process, MRML nodes."""

import gc
import os
import shutil
import signal
import subprocess
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from logic_tools import (
    FOLDER,
    ROOT,
    Recorder,
    add_segmentation,
    add_volume,
    box,
    is_alive,
    nodes,
    oblique,
    scripted_backend,
    smooth_values,
    wait,
    wait_until,
)

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
import slicer
import vtk
from MIMSegmentLib.Backend import Backend
from MIMSegmentLib.Logic import Logic
from tiny_model import write_tiny_bundle

from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing

WIDE = Preprocessing("RAS", (1.0, 1.5, 2.0), Intensity("window", -100, 600))

posix = pytest.mark.skipif(os.name == "nt", reason="kills processes as Linux and macOS do")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for everything, with the tiny model as the only one of the user's."""
    path = tmp_path / FOLDER
    (path / "models").mkdir(parents=True)
    (path / "temporary").mkdir()
    write_tiny_bundle(path / "models" / "tiny")
    monkeypatch.setenv("MIMSEG_MODELS", str(path / "models"))
    monkeypatch.setattr("MIMSegmentLib.Logic._temporaryParent", lambda: str(path / "temporary"))
    return path


@pytest.fixture
def make_logic(scene, folder, caplog):
    made = []

    def make(backend=None):
        made.append(Logic(scene, backend, str(folder / "data")))
        return made[-1], Recorder(made[-1])

    yield make
    for logic in made:
        logic.shutdown()
        assert not logic.running
    assert os.listdir(folder / "temporary") == []
    faults = [record.getMessage() for record in caplog.get_records("call") if record.levelname == "ERROR"]
    assert not faults, "a function connected to a signal failed"


@pytest.fixture
def logic(make_logic):
    return make_logic()


def labels_of(logic, node, volume=None):
    values = {segment["id"]: segment["labelValue"] for segment in logic.scene.segments(node)}
    return logic.scene.labelArray(node, values, volume)[0]


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


# -- segment


@pytest.mark.parametrize(
    "matrix",
    [oblique(), oblique((0.7, 0.7, 3.0), (-100.0, 55.5, 12.25), 140.0), oblique((2.0, 1.0, 1.0), angle=0.0)],
    ids=["oblique", "turned over", "straight"],
)
def test_a_result_equals_that_of_the_command_line(logic, scene, folder, matrix):
    logic, record = logic
    volume = add_volume(scene, matrix=matrix)
    before = nodes(scene)
    logic.segment(volume, "tiny")
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
    logic.segment(volume, "wide")
    name, result = record.wait()
    assert name == "finished", result
    expected = segment_file(folder, path, "wide")
    assert set(np.unique(expected)) == {0, 3, 7}
    found = labels_of(logic, result["segmentations"][0], volume)
    assert np.array_equal(on_grid_of_file(found, volume, path), expected)


MODELS = ROOT / "Resources" / "Models" / "hippocampus-mr"
DEMO = ROOT / "Resources" / "SampleData" / "MNI152_temporal_lobes_T1.nii.gz"


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
    logic.segment(volume, "hippocampus-mr", roiNode=regions)
    name, *values = record.wait(600)
    assert name == "finished", values
    (node,) = values[0]["segmentations"]
    expected = segment_file(folder, DEMO, "hippocampus-mr", *("--roi=" + ",".join(map(str, box)) for box in boxes))
    assert np.array_equal(labels_of(logic, node, volume), expected)
    milliliters = sum(row[1] for row in logic.scene.volumes(node))
    assert 2 < milliliters < 15


def test_a_run_tells_how_it_goes(logic, scene):
    logic, record = logic
    logic.segment(add_volume(scene), "tiny")
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
    logic.segment(volume, "tiny", roiNode=roi)
    name, result = record.wait()
    assert name == "finished", result
    bounds = [end for c, s in zip(center, (10, 9, 20), strict=True) for end in (c - s / 2, c + s / 2)]
    expected = segment_with_command_line(folder, volume, "--roi=" + ",".join(f"{b:.6g}" for b in bounds))
    found = labels_of(logic, result["segmentations"][0], volume)
    assert np.array_equal(found, expected)
    assert 0 < np.count_nonzero(found) < found.size / 2


def test_only_the_chosen_structures_come_back(logic, scene):
    logic, record = logic
    logic.segment(add_volume(scene), "tiny", labels=("Bright",))
    _name, result = record.wait()
    assert [segment["name"] for segment in logic.scene.segments(result["segmentations"][0])] == ["Bright"]


def test_several_volumes_are_segmented_by_one_process(logic, scene):
    logic, record = logic
    volumes = [add_volume(scene, "Kopf", smooth_values(seed=seed)) for seed in range(3)]
    logic.segment(volumes, "tiny")
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
    logic.segment([good, bad], "tiny")
    name, result = record.wait()
    assert name == "finished", result
    assert len(result["segmentations"]) == 1
    assert result["failures"] == ["Flach"]
    assert any("Flach" in message for _code, message in record["warning"])


def test_channels_of_one_case_are_given_together(logic, scene, folder):
    logic, record = logic
    write_tiny_bundle(folder / "models" / "two", channels=("T1", "T2"), name="two")
    volumes = [add_volume(scene, "T1"), add_volume(scene, "T2", smooth_values(seed=1))]
    logic.segment([tuple(volumes)], "two")
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
    logic.segment(volume, "tiny")
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
    logic.segment(proxy, "tiny", wholeSequence=True)
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


# -- what goes wrong


def test_a_model_that_is_missing_is_told_in_one_sentence_with_a_remedy(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    before = nodes(scene)
    logic.segment(volume, "gone")
    name, message, hint = record.wait()
    assert name == "failed"
    assert "gone" in message
    assert "tiny" in hint
    assert nodes(scene) == before


def test_a_damaged_model_is_told(logic, scene, folder):
    logic, record = logic
    path = folder / "models" / "tiny" / "models" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-10])
    logic.segment(add_volume(scene), "tiny")
    name, message, hint = record.wait()
    assert name == "failed"
    assert "tiny" in message
    assert hint


@pytest.mark.parametrize("volumes", [None, [], [None]])
def test_no_volume_is_told_and_nothing_is_started(logic, volumes):
    logic, record = logic
    logic.segment(volumes, "tiny")
    assert record.wait()[0] == "failed"
    assert logic.processId == 0


def test_no_model_is_told(logic, scene):
    logic, record = logic
    logic.segment(add_volume(scene), "")
    assert record.wait()[0] == "failed"


def test_a_missing_backend_is_told(make_logic, scene, folder):
    logic, record = make_logic(Backend(str(folder)))
    logic.segment(add_volume(scene), "tiny")
    name, _message, hint = record.wait()
    assert name == "failed"
    assert hint


def test_a_python_that_cannot_be_started_is_told(make_logic, scene, folder):
    (folder / "python").write_text("this is no program")
    logic, record = make_logic(Backend(interpreter=str(folder / "python"), startupEnvironment=lambda: {}))
    logic.segment(add_volume(scene), "tiny")
    name, message, hint = record.wait()
    assert name == "failed"
    assert str(folder / "python") in message
    assert hint


def test_after_a_fault_in_the_preparation_another_run_can_be_started(logic, scene, monkeypatch, caplog):
    logic, record = logic
    with monkeypatch.context() as patch:
        patch.setattr(logic.scene, "exportVolume", lambda *_arguments: 1 / 0)
        logic.segment(add_volume(scene), "tiny")
        assert record.wait()[0] == "failed"
    assert [entry.levelname for entry in caplog.records] == ["ERROR"]
    caplog.clear()
    record.clear()
    logic.segment(add_volume(scene), "tiny")
    assert record.wait()[0] == "finished"


def test_a_fault_in_taking_over_the_result_ends_the_run(logic, scene, monkeypatch, caplog):
    logic, record = logic
    monkeypatch.setattr(logic.scene, "volumesTable", lambda *_arguments: 1 / 0)
    volume = add_volume(scene)
    before = nodes(scene)
    logic.segment(volume, "tiny")
    assert record.wait()[0] == "failed"
    assert nodes(scene) == before
    caplog.clear()


def test_only_one_run_at_a_time(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    logic.segment(volume, "tiny")
    with pytest.raises(RuntimeError):
        logic.segment(volume, "tiny")
    assert record.wait()[0] == "finished"


@pytest.mark.parametrize("delay", [0.0, 0.15, 0.4, 0.8])
def test_cancel_within_a_second_leaves_no_process_no_node_and_no_file(logic, scene, folder, delay):
    logic, record = logic
    volume = add_volume(scene, values=smooth_values((120, 120, 120)))
    before = nodes(scene)
    logic.segment(volume, "tiny")
    assert wait_until(lambda: logic.processId, 5)
    process = logic.processId
    wait(delay)
    began = time.monotonic()
    logic.cancel()
    logic.cancel()
    assert record.wait() == ("stopped", "segment")
    assert time.monotonic() - began < 5
    assert not is_alive(process)
    assert nodes(scene) == before
    assert os.listdir(folder / "temporary") == []
    record.clear()
    wait(0.1)
    assert record.events == []


def test_after_a_cancel_the_next_run_works(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    logic.segment(volume, "tiny")
    logic.cancel()
    assert record.wait()[0] == "stopped"
    record.clear()
    logic.segment(volume, "tiny")
    assert record.wait()[0] == "finished"


def test_a_run_may_be_started_from_the_end_of_another(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    logic.finished.connect(lambda result: logic.segment(volume, "tiny") if len(record["finished"]) == 1 else None)
    logic.segment(volume, "tiny")
    assert wait_until(lambda: len(record["finished"]) == 2, 60)


def test_closing_the_scene_stops_the_run_and_nothing_reaches_the_new_scene(logic, scene, folder):
    logic, record = logic
    logic.segment(add_volume(scene, values=smooth_values((100, 100, 100))), "tiny")
    assert wait_until(lambda: logic.processId, 5)
    process = logic.processId
    scene.Clear(0)
    add_volume(scene, "New")
    after = nodes(scene)
    assert record.wait() == ("stopped", "segment")
    assert not is_alive(process)
    wait(0.2)
    assert nodes(scene) == after


def test_a_volume_that_is_removed_meanwhile_makes_no_node(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    logic.segment(volume, "tiny")
    scene.RemoveNode(volume)
    before = nodes(scene)
    name, message, _hint = record.wait()
    assert name == "failed"
    assert "removed" in message
    assert nodes(scene) == before


@posix
def test_a_backend_that_is_killed_is_told(logic, scene):
    logic, record = logic
    volume = add_volume(scene, values=smooth_values((100, 100, 100)))
    before = nodes(scene)
    logic.segment(volume, "tiny")
    assert wait_until(lambda: logic.processId, 5)
    os.kill(logic.processId, signal.SIGKILL)
    name, message, hint = record.wait()
    assert name == "failed"
    assert "ended from outside" in message
    assert "memory" in hint
    assert nodes(scene) == before


def test_shutdown_ends_the_backend_at_once(make_logic, scene, folder):
    logic, record = make_logic()
    logic.segment(add_volume(scene, values=smooth_values((100, 100, 100))), "tiny")
    answers = []
    logic.checkComputer(answers.append)
    assert wait_until(lambda: logic.processId, 5)
    process = logic.processId
    logic.shutdown()
    assert not is_alive(process)
    assert record.wait() == ("stopped", "segment")
    assert len(answers) == 1
    assert os.listdir(folder / "temporary") == []


# -- a backend that misbehaves


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("sys.exit(1)", "exit code 1"),
        ("sys.exit(3)", "memory"),
        ("sys.exit(77)", "exit code 77"),
        ("tell('error', code='x', message='The disk is full.', hint='Empty it.'); sys.exit(2)", "The disk is full."),
        ("tell('result', outputs=[])", "no result"),
        ("pass", "without a result"),
        ("tell('result', outputs=[]); sys.exit(1)", "exit code 1"),
    ],
    ids=["bug", "memory", "unknown", "own words", "no file", "silence", "result but failure"],
)
def test_every_bad_end_of_the_backend_is_told(make_logic, scene, folder, script, words):
    logic, record = make_logic(scripted_backend(folder, script))
    volume = add_volume(scene)
    before = nodes(scene)
    logic.segment(volume, "tiny")
    name, message, hint = record.wait()
    assert name == "failed"
    assert words in message
    assert hint
    assert nodes(scene) == before


def test_lines_that_are_no_events_go_to_the_log(make_logic, scene, folder):
    script = (
        "print('Warning: some library talks'); print('{\"event\": '); print('{\"event\": \"party\"}'); print('[1]')\n"
        'print(\'{"event": "progress"}\'); print(\'{"event": "metric", "value": null}\')\n'
        'print(\'{"event": "metric", "name": "loss", "value": "high"}\')\n'
        "sys.stdout.flush(); sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush()\n"
        "tell('metric', name='loss', value=0.5, step=3)\nprint('last words, no line end', end='')\n"
        "tell('error', code='x', message='End.', hint='Done.'); sys.exit(2)"
    )
    logic, record = make_logic(scripted_backend(folder, script))
    logic.segment(add_volume(scene), "tiny")
    assert record.wait()[0] == "failed"
    log = [text for (text,) in record["message"]]
    assert "Warning: some library talks" in log
    assert '{"event": "party"}' in log
    assert record["metric"] == [["loss", 0.5, {"step": 3}]]


@posix
def test_a_backend_that_ignores_the_stop_is_killed_with_its_children(make_logic, scene, folder, monkeypatch):
    monkeypatch.setattr("MIMSegmentLib.ProcessRunner.ProcessRunner.killAfterMilliseconds", 300)
    script = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "tell('metric', name='child', value=child.pid)\ntime.sleep(60)"
    )
    logic, record = make_logic(scripted_backend(folder, script))
    logic.segment(add_volume(scene), "tiny")
    assert wait_until(lambda: record["metric"], 20)
    processes = [logic.processId, int(record["metric"][0][1])]
    logic.cancel()
    assert record.wait() == ("stopped", "segment")
    assert wait_until(lambda: not any(is_alive(process) for process in processes), 5)


def test_a_damaged_result_file_leaves_the_scene_alone(make_logic, scene, folder):
    script = (
        "stem = ARGUMENTS[1][:-5]\nfolder = ARGUMENTS[ARGUMENTS.index('--output') + 1]\n"
        "open(folder + '/' + stem + '_segmentation.seg.nrrd', 'w').write('NRRD0004')\ntell('result', outputs=[])"
    )
    logic, record = make_logic(scripted_backend(folder, script))
    volume = add_volume(scene)
    before = nodes(scene)
    logic.segment(volume, "tiny")
    name, message, _hint = record.wait()
    assert name == "failed"
    assert "cannot be read" in message
    assert nodes(scene) == before


def test_messages_name_the_volume_and_not_the_temporary_file(make_logic, scene, folder):
    script = (
        "tell('warning', code='w', message=f'{ARGUMENTS[1]} is odd.')\n"
        "tell('error', code='x', message=f'{ARGUMENTS[1]} is too small.', hint='Take another.'); sys.exit(2)"
    )
    logic, record = make_logic(scripted_backend(folder, script))
    logic.segment(add_volume(scene, "Kopf ä/1"), "tiny")
    assert record.wait()[1] == "Kopf ä/1 is too small."
    assert record["warning"] == [["w", "Kopf ä/1 is odd."]]


# -- export


@pytest.fixture
def segmented(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    logic.segment(volume, "tiny")
    _name, result = record.wait()
    record.clear()
    return logic, record, volume, result["segmentations"][0]


def test_exported_files_open_with_the_volumes_geometry(segmented, folder):
    logic, _record, volume, node = segmented
    paths = logic.exportResult(node, str(folder / "out ß"), (".nii.gz", ".nrrd", ".seg.nrrd"))
    assert sorted(os.listdir(folder / "out ß")) == sorted(os.path.basename(path) for path in paths)
    assert [os.path.basename(path) for path in paths] == [
        "Kopf ä_1 tiny.nii.gz",
        "Kopf ä_1 tiny.nrrd",
        "Kopf ä_1 tiny.seg.nrrd",
        "Kopf ä_1 tiny-volumes.csv",
    ]
    expected = labels_of(logic, node, volume)
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    for path in paths[:3]:
        image = sitk.ReadImage(path)
        assert image.GetSize() == volume.GetImageData().GetDimensions()
        spacing, direction = np.array(image.GetSpacing()), np.array(image.GetDirection()).reshape(3, 3)
        ras = np.diag([-1, -1, 1]) @ direction @ np.diag(spacing)
        for row in range(3):
            assert matrix.GetElement(row, 3) == pytest.approx(
                (-image.GetOrigin()[row] if row < 2 else image.GetOrigin()[row]), abs=1e-4
            )
            for column in range(3):
                assert matrix.GetElement(row, column) == pytest.approx(ras[row, column], abs=1e-5)
        if not path.endswith(".seg.nrrd"):
            assert np.array_equal(sitk.GetArrayFromImage(image), expected)
    table = Path(paths[-1]).read_text(encoding="utf-8-sig").splitlines()
    assert table[0] == "structure,value,volume_ml,voxels"
    assert table[1].startswith("Grey,3,")


def test_a_labelmap_node_is_made_on_demand(segmented, scene):
    logic, _record, volume, node = segmented
    (name,) = logic.exportResult(node, "", ("labelmap",))
    labelmap = scene.GetFirstNodeByName(name)
    assert labelmap.IsA("vtkMRMLLabelMapVolumeNode")
    assert np.array_equal(slicer.util.arrayFromVolume(labelmap) != 0, labels_of(logic, node, volume) != 0)


def test_an_output_folder_that_cannot_be_written_is_told(segmented, folder):
    logic, record, _volume, node = segmented
    (folder / "file").write_text("")
    assert logic.exportResult(node, str(folder / "file"), (".nrrd",)) == []
    ((message, hint),) = record["failed"]
    assert "cannot be written" in message
    assert hint


@pytest.mark.parametrize(("target", "formats"), [("", (".nrrd",)), ("x", ()), ("x", (".exe",))])
def test_an_export_without_folder_or_format_is_told(segmented, target, formats):
    logic, record, _volume, node = segmented
    assert logic.exportResult(node, target, formats) == []
    assert len(record["failed"]) == 1


def test_a_result_without_its_volume_can_still_be_exported(segmented, scene, folder):
    logic, record, volume, node = segmented
    expected = labels_of(logic, node, volume)
    scene.RemoveNode(volume)
    paths = logic.exportResult(node, str(folder / "out"), (".nrrd",))
    assert record["failed"] == []
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(paths[0])), expected)


# -- models and computer


def ask(question, *arguments, **options):
    answers = []
    question(*arguments, answers.append, **options)
    assert wait_until(lambda: answers, 60)
    assert len(answers) == 1
    return answers[0]


def test_models_are_listed_shown_exported_removed_and_imported(logic, folder):
    logic, record = logic
    listed = ask(logic.listModels)
    assert listed.ok
    assert "tiny" in [model["name"] for model in listed.result["models"]]
    assert ask(logic.showModel, "tiny").result["description"]["modality"] == "MR"
    target = folder / "ä b.zip"
    exported = ask(logic.exportModel, "tiny", str(target))
    assert Path(exported.result["file"]) == target
    assert record["modelsChanged"] == []
    assert ask(logic.removeModel, "tiny").ok
    assert not (folder / "models" / "tiny").exists()
    assert ask(logic.importModel, str(target)).result["name"] == "tiny"
    assert len(record["modelsChanged"]) == 2
    again = ask(logic.importModel, str(target))
    assert not again.ok
    assert again.message
    assert again.hint
    assert ask(logic.importModel, str(target), replace=True).ok
    assert os.listdir(folder / "temporary") == []


def test_a_question_is_answered_while_a_run_goes_on(logic, scene):
    logic, record = logic
    logic.segment(add_volume(scene, values=smooth_values((100, 100, 100))), "tiny")
    assert ask(logic.listModels).ok
    assert logic.running == "segment"
    logic.cancel()
    record.wait()


def test_a_question_without_answer_is_told(logic):
    logic, _record = logic
    answer = ask(logic.showModel, "gone")
    assert not answer.ok
    assert "gone" in answer.message


def test_the_computer_is_examined(logic):
    logic, _record = logic
    answer = ask(lambda callback: logic.checkComputer(callback, quick=True))
    assert answer.ok
    assert "openvino on cpu" in answer.result["can"]["segment"]


def test_another_python_is_used_from_then_on(logic, folder):
    logic, record = logic
    logic.useInterpreter(str(folder / "python"))
    answer = ask(logic.listModels)
    assert not answer.ok
    assert "python" in answer.message
    logic.useInterpreter("")
    assert len(record["modelsChanged"]) == 2
    assert ask(logic.listModels).ok


# -- training cases


def add_cases(logic, scene, count=3, shape=(16, 16, 16)):
    """Cases from the scene whose structure is the bright middle of the volume."""
    for number in range(count):
        generator = np.random.default_rng(number)
        mask = box(shape, *((4 + number % 2, 11),) * 3)
        values = (generator.normal(20, 5, shape) + mask * 60).astype(np.float32)
        volume = add_volume(scene, f"Fall {number}", values, oblique((1.0, 1.0, 1.0)))
        node = add_segmentation(scene, volume, {"Kern": mask})
        logic.cases.addFromScene(logic.scene, volume, node)


def test_good_cases_have_no_problem_that_prevents_training(logic, scene):
    logic, record = logic
    add_cases(logic, scene)
    logic.checkCases()
    name, result = record.wait()
    assert name == "finished", result
    assert result["command"] == "check"
    assert [problem for problem in result["problems"] if problem["severity"] == "error"] == []


def test_problems_of_cases_are_told_in_plain_words(logic, scene):
    logic, record = logic
    add_cases(logic, scene)
    entry = logic.cases.entries()[1]
    os.remove(logic.cases.path(entry["image"]))
    logic.checkCases()
    _name, result = record.wait()
    (problem,) = [problem for problem in result["problems"] if problem["severity"] == "error"]
    assert problem["case"] == entry["id"]
    assert problem["message"]
    assert problem["remedy"]


def test_the_backend_looks_into_the_cases(logic, scene):
    logic, record = logic
    add_cases(logic, scene, 2)
    first, second = logic.cases.entries()
    shutil.copy(logic.cases.path(first["image"]), logic.cases.path(second["image"]))
    logic.checkCases()
    _name, result = record.wait()
    assert [problem for problem in result["problems"] if "case" in problem and problem["message"]]


def test_no_case_is_a_problem_and_no_failure(logic):
    logic, record = logic
    logic.checkCases()
    _name, result = record.wait()
    assert result["problems"][0]["severity"] == "error"


# -- training, with a stand-in for the backend


TRAINING = """
if ARGUMENTS[0] == "models":
    tell("result", models=[])
    sys.exit(0)
output = ARGUMENTS[ARGUMENTS.index("--output") + 1]
work = output + ".training" if ARGUMENTS[0] == "finetune" else output
os.makedirs(work, exist_ok=True)
if "--resume" not in ARGUMENTS and os.listdir(work):
    tell("error", code="output-exists", message="Exists.", hint="Resume.")
    sys.exit(2)
tell("metric", name="arguments", value=0, arguments=ARGUMENTS)
if "--finish" not in ARGUMENTS and "RUN" not in open(__file__.replace("__main__.py", "mode.txt")).read():
    for step in range(3):
        tell("metric", name="loss", value=1.0 / (step + 1), step=step)
    open(os.path.join(work, "checkpoint.pt"), "w").close()
    tell("metric", name="validation_dice", value=0.5, step=3)
    sys.stdin.read()
    tell("error", code="stopped", message="Stopped.", hint="")
    sys.exit(130)
os.makedirs(output, exist_ok=True)
if ARGUMENTS[0] == "finetune":
    open(os.path.join(output, "segmentation.json"), "w").close()
    tell("result", model=output, validation_dice=0.75, steps=3)
else:
    open(os.path.join(output, "pretraining.json"), "w").close()
    open(os.path.join(output, "reconstruction.png"), "w").close()
    tell("result", run=output, validation_loss=0.1, steps=3)
"""


@pytest.fixture
def trainer(make_logic, scene, folder):
    """`(logic, record, set mode)`; in the mode RUN a training ends by itself, otherwise it waits for a stop."""
    backend = scripted_backend(folder / "module", TRAINING)
    mode = folder / "module" / "Resources" / "backend" / "mimseg" / "mode.txt"
    mode.write_text("WAIT")
    logic, record = make_logic(backend)
    add_cases(logic, scene)
    return logic, record, mode.write_text


def arguments_of(record):
    return [fields["arguments"] for name, _value, fields in record["metric"] if name == "arguments"]


def test_a_training_learns_from_the_cases_and_its_model_is_announced(trainer, folder):
    logic, record, set_mode = trainer
    set_mode("RUN")
    logic.startFinetuning("Mein Kern", 5, "tiny", "cpu")
    assert logic.running == "finetune"
    name, result = record.wait()
    assert name == "finished", result
    assert (result["command"], result["model"], result["validation_dice"]) == ("finetune", "mein-kern", 0.75)
    assert Path(result["path"]) == folder / "models" / "mein-kern"
    assert len(record["modelsChanged"]) == 1
    (arguments,) = arguments_of(record)
    assert arguments[arguments.index("--init") + 1] == "tiny"
    assert "--title=Mein Kern" in arguments
    assert logic.unfinishedTrainings() == []


def test_metrics_arrive_with_their_steps(trainer):
    logic, record, _set_mode = trainer
    logic.startFinetuning("Kern", 5)
    assert wait_until(lambda: any(name == "validation_dice" for name, *_ in record["metric"]), 20)
    losses = [(value, fields["step"]) for name, value, fields in record["metric"] if name == "loss"]
    assert losses == [(1.0, 0), (0.5, 1), (pytest.approx(1 / 3), 2)]
    logic.cancel()
    record.wait()


def wait_for_checkpoint(record):
    assert wait_until(lambda: any(name == "validation_dice" for name, *_ in record["metric"]), 20)


def test_stop_and_keep_the_best_makes_a_model(trainer):
    logic, record, _set_mode = trainer
    logic.startFinetuning("Kern", 5)
    wait_for_checkpoint(record)
    logic.stopFinetuning()
    name, result = record.wait()
    assert name == "finished", result
    assert result["model"] == "kern"
    assert "--finish" in arguments_of(record)[-1]
    assert record["started"] == [["finetune"]]
    assert logic.unfinishedTrainings() == []


def test_a_stopped_training_is_resumed_with_the_same_request(trainer):
    logic, record, set_mode = trainer
    logic.startFinetuning("Kern", 5, "none", "cpu")
    wait_for_checkpoint(record)
    logic.stopFinetuning(keepBest=False)
    assert record.wait() == ("stopped", "finetune")
    assert logic.unfinishedTrainings() == ["kern"]
    (first,) = arguments_of(record)
    record.clear()
    set_mode("RUN")
    logic.resumeFinetuning("kern")
    name, result = record.wait()
    assert name == "finished", result
    (second,) = arguments_of(record)
    assert [argument for argument in second if argument != "--resume"] == first
    assert "--resume" in second


def test_a_stopped_training_can_be_finished_later(trainer):
    logic, record, _set_mode = trainer
    logic.startFinetuning("Kern", 5)
    wait_for_checkpoint(record)
    logic.cancel()
    record.wait()
    record.clear()
    logic.finishFinetuning("kern")
    assert record.wait()[0] == "finished"


def test_cases_that_change_do_not_change_a_training_that_is_resumed(trainer, scene):
    logic, record, set_mode = trainer
    logic.startFinetuning("Kern", 5)
    wait_for_checkpoint(record)
    logic.cancel()
    record.wait()
    (arguments,) = arguments_of(record)
    before = Path(arguments[1]).read_text(encoding="utf-8")
    add_cases(logic, scene, 1)
    record.clear()
    set_mode("RUN")
    logic.resumeFinetuning("kern")
    record.wait()
    assert Path(arguments_of(record)[0][1]) == Path(arguments[1])
    assert "Fall_0" in before


def test_a_training_goes_on_when_the_scene_is_closed(trainer, scene):
    logic, record, _set_mode = trainer
    logic.startFinetuning("Kern", 5)
    wait_for_checkpoint(record)
    scene.Clear(0)
    wait(0.2)
    assert logic.running == "finetune"
    assert len(logic.cases.entries()) == 3
    logic.stopFinetuning()
    assert record.wait()[0] == "finished"


@pytest.mark.parametrize("title", ["", "   ", "///"])
def test_a_training_without_a_usable_name_is_refused(trainer, title):
    logic, record, _set_mode = trainer
    logic.startFinetuning(title, 5)
    assert record.wait()[0] == "failed"


def test_a_name_that_is_taken_is_refused(trainer):
    logic, record, _set_mode = trainer
    logic.startFinetuning("Tiny", 5)
    name, message, hint = record.wait()
    assert name == "failed"
    assert "tiny" in message
    assert hint


def test_training_without_cases_is_refused(logic):
    logic, record = logic
    logic.startFinetuning("Kern", 5)
    assert record.wait()[0] == "failed"


def test_models_that_cannot_be_written_are_told(trainer, folder, monkeypatch):
    logic, record, _set_mode = trainer
    (folder / "file").write_text("")
    monkeypatch.setenv("MIMSEG_MODELS", str(folder / "file" / "models"))
    logic.startFinetuning("Kern", 5)
    name, message, hint = record.wait()
    assert name == "failed"
    assert "cannot be written" in message
    assert hint


def test_an_unknown_training_cannot_be_resumed(logic):
    logic, record = logic
    logic.resumeFinetuning("gone")
    assert record.wait()[0] == "failed"


def test_a_pre_training_stops_resumes_and_is_offered_as_a_start(trainer, folder):
    logic, record, set_mode = trainer
    data = folder / "scans ä"
    data.mkdir()
    logic.startPretraining([str(data)], "Vor 1", 5, "cpu")
    assert logic.running == "pretrain"
    wait_for_checkpoint(record)
    logic.stopPretraining()
    assert record.wait() == ("stopped", "pretrain")
    assert logic.unfinishedPretrainings() == ["vor-1"]
    assert logic.pretrainings() == []
    record.clear()
    set_mode("RUN")
    logic.resumePretraining("vor-1")
    name, result = record.wait()
    assert name == "finished", result
    assert result["command"] == "pretrain"
    assert logic.pretrainings() == [{"name": "vor-1", "path": result["run"]}]
    assert logic.unfinishedPretrainings() == []
    assert Path(logic.reconstructionPicture()).is_file()


@pytest.mark.parametrize("folders", [[], [""], ["/no/such/folder"]])
def test_a_pre_training_without_a_folder_is_refused(logic, folders):
    logic, record = logic
    logic.startPretraining(folders, "x", 5)
    assert record.wait()[0] == "failed"


def test_a_training_that_was_stopped_before_it_learned_anything_does_not_block_its_name(trainer, folder):
    logic, record, set_mode = trainer
    (folder / "models" / "kern.training").mkdir()
    (folder / "models" / "kern.training" / "settings.json").write_text("{}")
    set_mode("RUN")
    logic.startFinetuning("Kern", 5)
    assert record.wait()[0] == "finished"


# -- what a Slicer that was killed left behind


def test_scans_that_a_killed_slicer_left_behind_are_removed(make_logic, folder):
    # No process has this number: they are smaller.
    left, mine, other = (folder / "temporary" / name for name in (f"MIMSegment-{2**30}-a", "x", "MIMSegment-y"))
    for path in (left, mine, other):
        path.mkdir()
        (path / "scan.nrrd").write_text("")
    living = folder / "temporary" / f"MIMSegment-{os.getpid()}-b"
    living.mkdir()
    make_logic()
    found = sorted(os.listdir(folder / "temporary"))
    for path in (mine, other, living):
        shutil.rmtree(path)
    assert found == sorted([mine.name, other.name, living.name] + ([left.name] if os.name == "nt" else []))
    shutil.rmtree(left, ignore_errors=True)


def test_a_logic_that_is_forgotten_is_released_and_the_scene_can_be_closed(scene, folder):
    reference = weakref.ref(Logic(scene, dataFolder=str(folder / "data")))
    gc.collect()
    assert reference() is None
    scene.Clear(0)
