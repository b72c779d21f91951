"""What the panel shows is what the scene holds: saved, closed, loaded and reloaded in every order."""

import sys

import pytest
from fake_backend import fake_backend
from logic_tools import add_segmentation, add_volume, box
from panel_tools import FakeDesktop, open_panel


@pytest.fixture
def opened(monkeypatch, tmp_path, slicer, scene, open_module):
    return open_panel(monkeypatch, tmp_path, open_module, fake_backend(tmp_path / "module")[0])


def saved(scene):
    """The scene as text, without its files."""
    scene.SetSaveToXMLString(1)
    scene.Commit()
    scene.SetSaveToXMLString(0)
    return scene.GetSceneXMLString()


def load(scene, text):
    """Load a scene in place of what is there."""
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(text)
    scene.Connect()
    scene.SetLoadFromXMLString(0)


def choose(panel, scene):
    """Choose something everywhere; returns the names of volume and segmentation."""
    add_volume(scene, "First")
    chosen = add_volume(scene, "Chosen")
    add_segmentation(scene, chosen, {"A": box((14, 16, 18), (2, 5), (2, 5), (2, 5))}, "Earlier")
    result = add_segmentation(scene, chosen, {"A": box((14, 16, 18), (2, 5), (2, 5), (2, 5))}, "Result")
    panel.ui.inputVolumeSelector.setCurrentNode(chosen)
    panel.ui.segmentationSelector.setCurrentNode(result)
    panel.ui.deviceSelector.setCurrentIndex(1)
    panel.ui.pretrainFolderEdit.currentPath = "scans"
    panel.ui.finetuneMinutesSpinBox.value = 77


def check(panel):
    """What was chosen is what the panel shows, and what the scene says."""
    parameters = panel.parameters
    assert panel.ui.inputVolumeSelector.currentNode().GetName() == parameters.inputVolume.GetName() == "Chosen"
    assert panel.ui.segmentationSelector.currentNode().GetName() == parameters.segmentation.GetName() == "Result"
    assert (panel.ui.deviceSelector.currentIndex, parameters.device) == (1, "cpu")
    assert panel.ui.pretrainFolderEdit.currentPath == parameters.pretrainFolder == "scans"
    assert panel.ui.finetuneMinutesSpinBox.value == parameters.finetuneMinutes == 77


@pytest.mark.parametrize("shown_when_loading", [True, False])
@pytest.mark.parametrize("shown_when_closing", [True, False])
@pytest.mark.parametrize("times", [1, 2])
def test_a_saved_scene_comes_back_as_it_was(opened, slicer, scene, shown_when_closing, shown_when_loading, times):
    panel = opened.panel
    choose(panel, scene)
    text = saved(scene)
    for _number in range(times):
        slicer.util.selectModule("MIMSegment" if shown_when_closing else "Data")
        scene.Clear(0)
        slicer.util.selectModule("MIMSegment" if shown_when_loading else "Data")
        load(scene, text)
        slicer.util.selectModule("MIMSegment")
        check(panel)


def test_a_scene_that_is_added_to_the_shown_one_leaves_the_panel_alive(opened, slicer, scene):
    panel = opened.panel
    choose(panel, scene)
    text = saved(scene)
    scene.SetLoadFromXMLString(1)
    scene.SetSceneXMLString(text)
    scene.Import()
    scene.SetLoadFromXMLString(0)
    assert panel.parameters is not None
    panel.ui.finetuneMinutesSpinBox.value = 78
    assert panel.parameters.finetuneMinutes == 78
    assert panel.ui.inputVolumeSelector.currentNode() is panel.parameters.inputVolume


def test_reloading_the_module_while_it_is_shown_gives_a_living_panel(opened, slicer, scene, monkeypatch):
    before = opened.panel
    volume = add_volume(scene)
    before.ui.inputVolumeSelector.setCurrentNode(volume)
    slicer.util.reloadScriptedModule("MIMSegment")
    panel = slicer.modules.MIMSegmentWidget.panel
    assert panel is not before
    assert panel.parameters is not None
    assert panel.ui.inputVolumeSelector.currentNode() is volume
    panel.ui.finetuneMinutesSpinBox.value = 78
    assert panel.parameters.finetuneMinutes == 78
    assert sys.modules["MIMSegment"].MIMSegmentWidget is type(slicer.modules.MIMSegmentWidget)
    assert FakeDesktop.settings is not None
