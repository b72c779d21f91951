"""The Segment tab as a user drives it: choose, click, wait, cancel, close the scene, read the nodes, export.

Real Qt behind the harness, real MRML, the real backend in a real child process.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from logic_tools import ROOT, add_segmentation, add_volume, box, is_alive, nodes
from make_screenshots import DEMO_MODEL, DEMO_VOLUME, demo_model_is_here, segment_demo
from panel_tools import FakeDesktop, cells, leftovers, names_of, run_to_end, shown, wait
from tiny_model import write_tiny_bundle


def geometry(node):
    """Direction, spacing and origin of a volume node as one matrix."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def file_geometry(path):
    """The same of a file, in RAS."""
    image = sitk.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3))[:3, :3] @ np.diag(image.GetSpacing()[:3])
    matrix[:3, 3] = image.GetOrigin()[:3]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix


# -- Segment


def test_the_panel_says_that_nothing_leaves_the_computer_and_that_it_is_for_research(panel):
    assert panel.ui.privacyLabel.text == "Nothing leaves this computer. Research use only."


def test_segment_can_be_clicked_as_soon_as_a_volume_is_chosen(panel, scene):
    assert not panel.ui.segmentButton.enabled
    assert "Sample Data" in panel.ui.segmentHintLabel.text
    panel.ui.inputVolumeSelector.setCurrentNode(add_volume(scene))
    assert panel.ui.segmentButton.enabled
    assert panel.ui.segmentHintLabel.text == ""


def test_one_click_makes_a_new_segmentation_that_lies_on_the_scan(panel, scan):
    name, result = run_to_end(panel, panel.ui.segmentButton)
    assert name == "finished"
    (node,) = result["segmentations"]
    assert panel.ui.segmentationSelector.currentNode() is node
    assert node.GetNodeReferenceID(node.GetReferenceImageGeometryReferenceRole()) == scan.GetID()
    names = [segment["name"] for segment in panel.logic.scene.segments(node)]
    assert names == ["Grey", "Bright"]
    assert panel.ui.segmentButton.text == "Segment"
    assert panel.ui.segmentStatusLabel.text.startswith("Done in ")
    assert not shown(panel, panel.ui.segmentProgressBar)


def test_the_result_is_that_of_the_command_line(panel, scan, slicer, tmp_path, monkeypatch):
    _name, result = run_to_end(panel, panel.ui.segmentButton)
    panel.logic.scene.exportVolume(scan, str(tmp_path / "scan.nrrd"))
    command = [sys.executable, "-m", "mimseg", "segment", str(tmp_path / "scan.nrrd"), "--model", "tiny"]
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "backend" / "src"))
    subprocess.run([*command, "-o", str(tmp_path / "scan.nii.gz"), "--quiet"], check=True)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "scan.nii.gz")))
    (node,) = result["segmentations"]
    for segment in panel.logic.scene.segments(node):
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment["id"], scan)
        assert found.any()
        np.testing.assert_array_equal(found != 0, expected == segment["labelValue"])


def test_the_demo_volume_and_the_shipped_model_give_what_the_command_line_gives(panel, slicer, tmp_path, monkeypatch):
    if not demo_model_is_here():
        pytest.skip("the model hippocampus-mr is not in Resources/Models")
    volume, result = segment_demo(panel)
    command = [sys.executable, "-m", "mimseg", "segment", str(DEMO_VOLUME), "--model", DEMO_MODEL]
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "backend" / "src"))
    subprocess.run([*command, "-o", str(tmp_path / "demo.nii.gz"), "--quiet"], check=True)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "demo.nii.gz")))
    (node,) = result["segmentations"]
    segments = panel.logic.scene.segments(node)
    names = [f"{side} {part} hippocampus" for side in ("Left", "Right") for part in ("anterior", "posterior")]
    assert [segment["name"] for segment in segments] == names
    for segment in segments:
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment["id"], volume)
        np.testing.assert_array_equal(found != 0, expected == segment["labelValue"])
    for _name, milliliters, _voxels in panel.logic.scene.volumes(node):
        assert 1 < milliliters < 8


def test_a_scan_much_larger_than_the_model_knows_asks_for_boxes(panel, slicer, tmp_path):
    models = tmp_path / "models ä" / "crop"
    write_tiny_bundle(models, name="crop", channels=("T1",), field_of_view_mm=(35.0, 50.0, 36.0))
    panel.logic.modelsChanged.emit()
    assert wait(lambda: "crop" in [model["name"] for model in panel.catalog.segmenters])
    panel.segmentTab.chooseModel("crop")
    panel.ui.inputVolumeSelector.setCurrentNode(slicer.util.loadVolume(str(DEMO_VOLUME)))
    assert wait(lambda: "Click Add box" in panel.ui.segmentHintLabel.text)
    panel.ui.addRoiButton.click()
    assert panel.ui.segmentHintLabel.text == ""
    assert panel.segmentTab.boxes()[0].GetSize()[0] == pytest.approx(35, abs=5)


def test_a_model_that_finds_its_region_asks_for_no_box(panel, slicer):
    if not demo_model_is_here():
        pytest.skip("the model hippocampus-mr is not in Resources/Models")
    panel.segmentTab.chooseModel(DEMO_MODEL)
    panel.ui.inputVolumeSelector.setCurrentNode(slicer.util.loadVolume(str(DEMO_VOLUME)))
    assert wait(lambda: "found in the scan by the model itself" in panel.ui.modelCardLabel.text)
    assert "Add box" not in panel.ui.segmentHintLabel.text


def test_the_volumes_in_ml_are_shown_beside_the_result(panel, scan):
    _name, result = run_to_end(panel, panel.ui.segmentButton)
    measured = panel.logic.scene.tables.volumesOf(result["segmentations"][0])
    assert cells(panel.ui.volumesTable) == [[name, f"{volume:.2f}"] for name, volume, _voxels in measured]
    assert any(volume > 0 for _name, volume, _voxels in measured)


def test_a_second_run_never_overwrites_the_first_result(panel, scan):
    _name, first = run_to_end(panel, panel.ui.segmentButton)
    _name, second = run_to_end(panel, panel.ui.segmentButton)
    assert first["segmentations"][0] is not second["segmentations"][0]
    assert panel.logic.scene.contains(first["segmentations"][0])


def test_only_checked_structures_are_kept(panel, scan, slicer):
    import qt

    assert names_of(panel.ui.structuresList) == ["Grey", "Bright"]
    panel.ui.structuresList.item(0).setCheckState(qt.Qt.Unchecked)
    assert json.loads(panel.parameters.leftOutStructures) == {"tiny": ["Grey"]}
    assert "Left out: Grey." in panel.ui.segmentHintLabel.text
    _name, result = run_to_end(panel, panel.ui.segmentButton)
    assert "Left out: Grey." in result["segmentations"][0].GetDescription()
    assert [segment["name"] for segment in panel.logic.scene.segments(result["segmentations"][0])] == ["Bright"]
    panel.ui.structuresList.item(1).setCheckState(qt.Qt.Unchecked)
    assert not panel.ui.segmentButton.enabled


def test_a_structure_is_left_out_of_its_own_model_only_and_only_in_its_scene(panel, scan, scene, tmp_path):
    import qt

    write_tiny_bundle(tmp_path / "models ä" / "other")
    panel.catalog.refresh()
    assert wait(lambda: "other" in [model["name"] for model in panel.catalog.usable])

    def left_out_of(model):
        panel.segmentTab.chooseModel(model)
        assert wait(lambda: names_of(panel.ui.structuresList) == ["Grey", "Bright"])
        return panel.segmentTab.structures.leftOut()

    panel.ui.structuresList.item(0).setCheckState(qt.Qt.Unchecked)
    assert left_out_of("other") == []
    assert "Left out" not in panel.ui.segmentHintLabel.text
    assert left_out_of("tiny") == ["Grey"]
    panel.exit()
    panel.enter()
    assert left_out_of("tiny") == ["Grey"]
    scene.Clear(0)
    assert left_out_of("tiny") == []


def test_add_box_puts_a_checked_box_on_the_volume_and_nothing_is_segmented_outside(panel, scan, slicer):
    panel.ui.addRoiButton.click()
    (region,) = panel.segmentTab.boxes()
    region.SetSize(8, 8, 8)
    bounds = [0.0] * 6
    scan.GetRASBounds(bounds)
    middle = [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)]
    assert np.allclose(region.GetCenter(), middle)
    _name, whole = run_to_end(panel, panel.ui.segmentButton)
    found = sum(voxels for _segment, _ml, voxels in panel.logic.scene.volumes(whole["segmentations"][0]))
    assert 0 < found <= 12 * 12 * 12
    assert found < scan.GetImageData().GetNumberOfPoints() / 4


def test_segment_becomes_cancel_and_leaves_no_process_node_or_file(panel, scan, scene, slicer):
    before = nodes(scene)
    panel.ui.segmentButton.click()
    assert panel.ui.segmentButton.text == "Cancel"
    assert shown(panel, panel.ui.segmentProgressBar)
    assert wait(lambda: panel.logic.processId)
    process = panel.logic.processId
    name, _command = run_to_end(panel, panel.ui.segmentButton, seconds=10)
    assert name == "stopped"
    assert not is_alive(process)
    assert nodes(scene) == before
    assert wait(lambda: leftovers(slicer) == [])  # a question to the backend may still run
    assert panel.ui.segmentButton.text == "Segment"
    assert panel.ui.segmentButton.enabled
    assert "Canceled" in panel.ui.segmentStatusLabel.text


def test_closing_the_scene_while_segmenting_leaves_the_new_scene_empty(panel, scan, scene, slicer):
    panel.ui.segmentButton.click()
    assert wait(lambda: panel.logic.processId)
    process = panel.logic.processId
    scene.Clear(0)
    assert wait(lambda: not panel.logic.running, 20)
    assert not is_alive(process)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert wait(lambda: leftovers(slicer) == [])  # a question to the backend may still run
    assert panel.ui.inputVolumeSelector.currentNode() is None
    assert not panel.ui.segmentButton.enabled


def test_closing_slicer_while_segmenting_ends_the_child(panel, opened, scan, slicer):
    panel.ui.segmentButton.click()
    assert wait(lambda: panel.logic.processId)
    process = panel.logic.processId
    opened.cleanup()
    assert not is_alive(process)
    assert wait(lambda: leftovers(slicer) == [])  # a question to the backend may still run


def test_several_volumes_are_segmented_in_one_process(panel, scan, scene):
    import qt

    other = add_volume(scene, "Other")
    panel.ui.moreVolumesSelector.setCheckState(other, qt.Qt.Checked)
    started = []
    panel.logic.work.started.connect(started.append)
    _name, result = run_to_end(panel, panel.ui.segmentButton)
    assert started == ["segment"]
    references = [node.GetNodeReference("referenceImageGeometryRef") for node in result["segmentations"]]
    assert references == [scan, other]


def test_a_failure_is_one_sentence_and_one_remedy_and_the_rest_is_in_the_log(panel, scan, tmp_path):
    (tmp_path / "models ä" / "tiny" / "models" / "model.onnx").write_bytes(b"damaged")
    name, message, hint = run_to_end(panel, panel.ui.segmentButton)
    assert name == "failed"
    assert hint
    assert message in panel.ui.segmentStatusLabel.text.replace("&#x27;", "'").replace("&quot;", '"')
    assert message in panel.ui.logEdit.plainText
    assert panel.ui.segmentButton.enabled


def test_segment_editor_opens_on_the_result_and_its_scan(panel, scan):
    assert not panel.ui.editButton.enabled
    _name, result = run_to_end(panel, panel.ui.segmentButton)
    panel.ui.editButton.click()
    assert panel.desktop.done[-1] == ("openSegmentEditor", result["segmentations"][0], scan)


# -- device


def test_the_device_line_says_loudly_what_will_be_used(panel, monkeypatch):
    assert "PROCESSOR (CPU)" in panel.ui.segmentDeviceLabel.text
    card = {"name": "Example GPU", "kind": "cuda"}
    torch = {"name": "torch", "state": "works", "details": {"devices": [{"device": "cuda", "works": True}]}}
    panel.catalog.examination = {**panel.catalog.examination, "graphics": [card], "packages": [torch]}
    panel.update()
    assert panel.ui.segmentDeviceLabel.text == "Will run on: GRAPHICS CARD (GPU), Example GPU"
    panel.ui.deviceSelector.setCurrentIndex(1)
    assert "PROCESSOR (CPU)" in panel.ui.finetuneDeviceLabel.text
    panel.ui.deviceSelector.setCurrentIndex(2)
    asked = []
    monkeypatch.setattr(panel.logic, "segment", lambda volumes, options, boxes: asked.append(options.device))
    panel.segmentTab.segment()
    assert asked == ["cuda"]
    panel.catalog.examination["packages"] = [{"name": "torch", "state": "missing"}]
    panel.update()
    assert panel.ui.segmentDeviceLabel.text.startswith("Not possible")


# -- export


def test_export_writes_the_checked_files_on_the_grid_of_the_scan(panel, scan, tmp_path):
    run_to_end(panel, panel.ui.segmentButton)
    folder = tmp_path / "Ausgabe ß"
    folder.mkdir()
    assert not panel.ui.exportButton.enabled
    panel.ui.exportFolderEdit.currentPath = str(folder)
    panel.ui.exportNiftiCheckBox.checked = True
    panel.ui.exportNrrdCheckBox.checked = True
    panel.ui.exportButton.click()
    written = sorted(path.name for path in folder.iterdir())
    for ending in (".seg.nrrd", ".nii.gz", ".csv"):
        assert any(name.endswith(ending) for name in written), written
    labelmaps = [path for path in folder.iterdir() if path.name.endswith((".nii.gz", ".nrrd"))]
    assert len(labelmaps) == 3
    for path in labelmaps:
        np.testing.assert_allclose(file_geometry(path), geometry(scan), atol=1e-4)
    assert FakeDesktop.settings["ExportFolder"] == str(folder)
    assert "Written to" in panel.ui.exportStatusLabel.text


def test_export_to_a_folder_that_cannot_be_made_says_what_to_do(panel, scan, tmp_path):
    run_to_end(panel, panel.ui.segmentButton)
    (tmp_path / "file").write_text("")
    panel.ui.exportFolderEdit.currentPath = str(tmp_path / "file" / "below")
    panel.ui.exportButton.click()
    assert "cannot be written" in panel.ui.exportStatusLabel.text


def test_create_labelmap_adds_a_node_with_the_geometry_of_the_scan(panel, scan, scene):
    run_to_end(panel, panel.ui.segmentButton)
    panel.ui.labelmapButton.click()
    node = scene.GetNthNodeByClass(0, "vtkMRMLLabelMapVolumeNode")
    np.testing.assert_allclose(geometry(node), geometry(scan), atol=1e-6)


# -- parameters


def test_what_was_chosen_comes_back_when_the_module_is_entered_again(panel, opened, scan):
    panel.ui.wholeSequenceCheckBox.checked = True
    panel.ui.newModelNameEdit.text = "liver-2"
    opened.exit()
    panel.ui.newModelNameEdit.text = "typed while another module is shown"
    opened.enter()
    assert panel.ui.inputVolumeSelector.currentNode() is scan
    assert panel.ui.wholeSequenceCheckBox.checked
    assert panel.ui.newModelNameEdit.text == "liver-2"


def test_a_result_that_came_while_another_module_was_shown_is_chosen(panel, opened, scan, scene):
    old = add_segmentation(scene, scan, {"Old": box((14, 16, 18), (2, 5), (3, 6), (4, 7))}, "OLD")
    panel.ui.segmentationSelector.setCurrentNode(old)
    panel.ui.segmentButton.click()
    opened.exit()
    assert wait(lambda: scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 2)
    assert wait(lambda: not panel.logic.work.command)
    opened.enter()
    chosen = panel.ui.segmentationSelector.currentNode()
    assert chosen is not old
    assert chosen.GetName() in panel.ui.segmentStatusLabel.text
    assert "Old" not in [row[0] for row in cells(panel.ui.volumesTable)]


def test_a_model_that_was_trained_while_another_module_was_shown_is_chosen(panel, opened, scan, tmp_path):
    write_tiny_bundle(tmp_path / "models ä" / "newer")
    opened.exit()
    panel._newModel = "newer"
    panel.catalog.refresh()
    assert wait(lambda: "newer" in [model["name"] for model in panel.catalog.usable])
    opened.enter()
    assert panel.segmentTab.modelName == "newer"


def test_a_volume_that_is_loaded_already_is_chosen_but_a_labelmap_is_not(panel, opened, scene):
    opened.exit()
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    node = add_volume(scene)
    opened.enter()
    assert panel.ui.inputVolumeSelector.currentNode() is node
