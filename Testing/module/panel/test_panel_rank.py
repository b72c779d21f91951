"""Which case to label next, by clicks: rank, load with proposal and map, correct, add. With a stand-in backend."""

import numpy as np
import pytest
from fake_backend import arguments_of, fake_backend
from logic_tools import Recorder, add_segmentation, add_volume, box, nodes
from panel_tools import cells, open_panel, show, shown

SHAPE = (14, 16, 18)


@pytest.fixture
def ranked(monkeypatch, tmp_path, slicer, scene, open_module):
    """The panel, with a stand-in that ranks the scan `b` before `a`; only `b` has a proposal and a map."""
    from MIMSegmentLib.Scene.Scene import Scene

    volume = add_volume(scene, "Kopf")
    doubts = add_volume(scene, "doubts", np.linspace(0, 1, np.prod(SHAPE)).reshape(SHAPE).astype(np.float32))
    proposal = add_segmentation(scene, volume, {"Kern": box(SHAPE, (2, 8), (3, 9), (4, 10))})
    files = Scene(scene)
    paths = {name: str(tmp_path / "scans ä" / name) for name in ("b.nrrd", "b.seg.nrrd", "b-map.nrrd")}
    files.exportVolume(volume, paths["b.nrrd"])
    files.saveSegmentation(proposal, paths["b.seg.nrrd"])
    files.exportVolume(doubts, paths["b-map.nrrd"])
    scene.Clear(0)
    first = {"case": "b", "images": [paths["b.nrrd"]], "uncertainty": 0.75, "proposed": True}
    first.update(segmentation=paths["b.seg.nrrd"], uncertainty_map=paths["b-map.nrrd"], warnings=[])
    second = {"case": "a", "images": [str(tmp_path / "gone.nrrd")], "uncertainty": 0.25, "proposed": False}
    second.update(
        segmentation=None, uncertainty_map=None, warnings=[{"code": "out-of-domain", "message": "Unlike the others."}]
    )
    (tmp_path / "ranking.html").write_text("")
    result = {"cases": [first, second], "report": str(tmp_path / "ranking.html")}
    backend, _set_mode = fake_backend(tmp_path / "module", result)
    panel = open_panel(monkeypatch, tmp_path, open_module, backend).panel
    show(panel, "finetune")
    panel.ui.rankSectionButton.collapsed = False
    return panel


def rank(panel, folder):
    panel.ui.unlabeledFolderEdit.currentPath = str(folder)
    recorder = Recorder(panel.logic)
    panel.ui.rankButton.click()
    return recorder, recorder.wait(20)


def test_scans_are_listed_with_the_one_to_label_next_first(ranked, tmp_path):
    assert not ranked.ui.rankButton.enabled
    recorder, (name, result) = rank(ranked, tmp_path)
    assert name == "finished", result
    assert cells(ranked.ui.rankingTable) == [["b", "0.75", "label this one"], ["a", "0.25", "Unlike the others."]]
    assert shown(ranked, ranked.ui.rankingTable)
    assert "Label these next: b" in ranked.ui.rankStatusLabel.text
    (arguments,) = arguments_of(recorder)
    assert arguments[arguments.index("--model") + 1] == "tiny"
    # Nothing is labeled yet.
    assert "--labelled" not in arguments
    ranked.ui.rankReportButton.click()
    assert ranked.desktop.done[-1] == ("openFile", result["report"])
    assert [case.name for case in ranked.logic.ranking()] == ["b", "a"]


def test_a_ranked_scan_is_loaded_with_its_proposal_and_map_and_becomes_a_case(ranked, tmp_path, scene):
    rank(ranked, tmp_path)
    ranked.ui.loadRankedButton.click()
    (call,) = [entry for entry in ranked.desktop.done if entry[0] == "showOverlay"]
    _name, volume, overlay, opacity = call
    assert (volume.GetName(), overlay.GetName(), opacity) == ("b", "b uncertainty", 0.5)
    segmentation = ranked.ui.segmentationSelector.currentNode()
    assert segmentation.GetName() == "b proposal"
    assert segmentation.GetNodeReference("referenceImageGeometryRef") is volume
    display = overlay.GetDisplayNode()
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeIron"
    assert display.GetApplyThreshold()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0, 1)
    assert display.GetLowerThreshold() == pytest.approx(0.1)
    ranked.ui.uncertaintySlider.value = 0.25
    assert ranked.desktop.done[-1] == ("showOverlay", volume, overlay, 0.25)
    ranked.ui.editRankedButton.click()
    assert ranked.desktop.done[-1] == ("openSegmentEditor", segmentation, volume)
    ranked.ui.addRankedButton.click()
    ((case, structures),) = cells(ranked.ui.casesTable)
    assert case.startswith("b_")
    assert structures == "Kern"
    assert "Added to the training cases" in ranked.ui.rankStatusLabel.text
    recorder, _end = rank(ranked, tmp_path)
    assert "--labelled" in arguments_of(recorder)[0]
    scene.Clear(0)
    assert not ranked.ui.addRankedButton.enabled
    assert not ranked.ui.uncertaintySlider.enabled


def test_a_scan_that_cannot_be_read_leaves_the_scene_as_it_was(ranked, tmp_path, scene):
    rank(ranked, tmp_path)
    ranked.ui.rankingTable.selectRow(1)
    before = nodes(scene)
    ranked.ui.loadRankedButton.click()
    assert "gone.nrrd" in ranked.ui.rankStatusLabel.text
    assert nodes(scene) == before
    assert not ranked.ui.addRankedButton.enabled


def test_scans_that_the_model_was_not_made_for_are_warned_of(ranked):
    assert not shown(ranked, ranked.ui.rankHintLabel)
    ranked.rankSection.showHint("tiny", {"description": {"field_of_view_mm": [35, 50, 38]}})
    assert "35 \u00d7 50 \u00d7 38 mm" in ranked.ui.rankHintLabel.text
    assert shown(ranked, ranked.ui.rankHintLabel)


def test_a_folder_that_is_not_there_is_told(ranked, tmp_path):
    _recorder, (name, message, _hint) = rank(ranked, tmp_path / "nowhere")
    assert name == "failed"
    assert "nowhere" in message


def test_the_map_lies_over_the_scan_in_every_slice_view(slicer, scene):
    from MIMSegmentLib.Panel.Desktop import Desktop

    views = [scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode") for _number in range(2)]
    volume, overlay = add_volume(scene, "scan"), add_volume(scene, "map")
    Desktop().showOverlay(volume, overlay, 0.4)
    for view in views:
        assert (view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()) == (volume.GetID(), overlay.GetID())
        assert view.GetForegroundOpacity() == pytest.approx(0.4)
    Desktop().showOverlay(volume, None, 0.4)
    assert not any(view.GetForegroundVolumeID() for view in views)
