"""What the panel shows is what the scene holds: saved, closed, loaded and reloaded in every order."""

import shutil
import sys

import pytest
from fake_backend import fake_backend
from logic_tools import add_segmentation, add_volume, box
from panel_tools import FakeDesktop, open_panel, shown, wait
from tiny_model import write_tiny_bundle


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
    panel.ui.finetuneMinutesSpinBox.value = 77


def check(panel):
    """What was chosen is what the panel shows, and what the scene says."""
    parameters = panel.parameters
    assert panel.ui.inputVolumeSelector.currentNode().GetName() == parameters.inputVolume.GetName() == "Chosen"
    assert panel.ui.segmentationSelector.currentNode().GetName() == parameters.segmentation.GetName() == "Result"
    assert (panel.ui.deviceSelector.currentIndex, parameters.device) == (1, "cpu")
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


def closed(opened, slicer, scene, while_shown):
    """Close the scene while the module is shown or another one is; then the module is shown."""
    slicer.util.selectModule("MIMSegment" if while_shown else "Data")
    scene.Clear(0)
    slicer.util.selectModule("MIMSegment")
    return opened.panel


@pytest.mark.parametrize("while_shown", [True, False])
def test_how_the_user_works_outlives_the_scene(opened, slicer, scene, while_shown):
    panel = opened.panel
    choose(panel, scene)
    panel.ui.exportNiftiCheckBox.checked = True
    panel.ui.exportSegNrrdCheckBox.checked = False
    panel.ui.pretrainMinutesSpinBox.value = 78
    closed(opened, slicer, scene, while_shown)
    assert (panel.ui.deviceSelector.currentIndex, panel.parameters.device) == (1, "cpu")
    assert (panel.ui.exportNiftiCheckBox.checked, panel.ui.exportSegNrrdCheckBox.checked) == (True, False)
    assert (panel.ui.finetuneMinutesSpinBox.value, panel.ui.pretrainMinutesSpinBox.value) == (77, 78)
    assert panel.ui.inputVolumeSelector.currentNode() is None


@pytest.mark.parametrize("while_shown", [True, False])
def test_the_model_that_the_user_chose_outlives_the_scene(opened, slicer, scene, tmp_path, while_shown):
    panel = opened.panel
    write_tiny_bundle(tmp_path / "models ä" / "abdomen")
    panel.catalog.refresh()
    assert wait(lambda: len(panel.catalog.usable) == 2)
    panel.segmentTab.chooseModel("tiny")
    closed(opened, slicer, scene, while_shown)
    assert panel.segmentTab.modelName == panel.parameters.modelName == "tiny"
    assert panel.segmentTab._picked


def test_a_chosen_model_that_is_gone_leaves_the_choice_to_the_scan(opened, tmp_path):
    panel = opened.panel
    write_tiny_bundle(tmp_path / "models ä" / "abdomen")
    panel.catalog.refresh()
    assert wait(lambda: len(panel.catalog.usable) == 2)
    panel.segmentTab.chooseModel("abdomen")
    shutil.rmtree(tmp_path / "models ä" / "abdomen")
    panel.catalog.refresh()
    assert wait(lambda: len(panel.catalog.usable) == 1)
    assert panel.segmentTab.modelName == "tiny"
    assert not panel.segmentTab._picked


def test_what_was_said_of_a_closed_scene_is_gone_with_it(opened, slicer, scene):
    panel = opened.panel
    choose(panel, scene)
    panel.segmentTab.status.end("Done in 3 s: a name")
    panel.exportSection._say("Written to a folder: a name")
    closed(opened, slicer, scene, True)
    for label in (panel.ui.segmentStatusLabel, panel.ui.exportStatusLabel):
        assert label.text == ""
        assert not shown(panel, label)


def reads_of_a_keystroke(panel):
    """How many values are read from the parameters when one letter is typed."""
    names, parameters = [], panel.parameters
    before = parameters.getValue
    parameters.getValue = lambda name: names.append(name) or before(name)
    panel.ui.newModelNameEdit.text += "x"
    del parameters.getValue
    return len(names)


def test_typing_stays_as_quick_however_often_the_module_was_visited(opened, slicer, scene):
    panel = opened.panel
    once = reads_of_a_keystroke(panel)
    for _number in range(3):
        slicer.util.selectModule("Data")
        slicer.util.selectModule("MIMSegment")
    assert reads_of_a_keystroke(panel) == once > 0


def add_pretraining(panel, folder):
    """A finished pre-training in the list of starts, chosen; returns its path."""
    run = folder / "pretrainings" / "Meier"
    run.mkdir(parents=True)
    (run / "pretraining.json").write_text("{}")
    panel.logic.pretrainings = lambda: [{"name": run.name, "path": str(run)}] if run.exists() else []
    panel.finetuneTab.showStarts()
    panel.ui.startFromSelector.setCurrentIndex(1)
    return run


def test_no_path_of_this_computer_gets_into_the_scene(opened, scene, tmp_path):
    panel = opened.panel
    run = add_pretraining(panel, tmp_path)
    assert panel.finetuneTab.initial() == str(run)
    for edit in (panel.ui.unlabeledFolderEdit, panel.ui.pretrainFolderEdit, panel.ui.ownScansEdit):
        edit.currentPath = str(tmp_path)
    panel.ui.exportFolderEdit.currentPath = str(tmp_path)
    text = saved(scene)
    assert "pretraining:Meier" in text.replace("%3A", ":")
    assert tmp_path.name not in text


def test_a_start_that_is_not_on_this_computer_is_named(opened, slicer, scene, tmp_path):
    panel = opened.panel
    run = add_pretraining(panel, tmp_path)
    text = saved(scene)
    scene.Clear(0)
    load(scene, text)
    assert panel.finetuneTab.initial() == str(run)
    assert panel.ui.startHintLabel.text == ""
    shutil.rmtree(run)
    load(scene, text)
    assert panel.finetuneTab.initial() == "tiny"
    assert "Meier" in panel.ui.startHintLabel.text
    panel.ui.startFromSelector.setCurrentIndex(1)
    assert panel.ui.startHintLabel.text == ""
