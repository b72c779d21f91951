"""Which model fits a volume, what is asked before one that does not runs, and how its result is marked."""

import numpy as np
import pytest
from fake_backend import fake_backend
from logic_tools import Recorder, add_volume, oblique, smooth_values
from panel_tools import FakeDesktop, open_panel, run_to_end, wait
from tiny_model import write_tiny_bundle

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import slicer
from MIMSegmentLib.Panel.Segment.ModelFit import bestFor, doubtsOf
from MIMSegmentLib.Panel.Texts import regionText
from MIMSegmentLib.Scene.VolumeFacts import VolumeFacts, factsOf, sequenceIn

CROP = {"name": "crop", "title": "Crop", "modality": "MR", "channels": ["T1"], "field_of_view_mm": [35, 50, 36]}
ABDOMEN = {"name": "abdomen", "title": "Abdomen", "modality": "CT", "channels": ["CT"], "field_of_view_mm": None}
FINDS_ITSELF = {**CROP, "name": "head", "title": "Head", "locator": {"name": "where"}}
HEAD = VolumeFacts("Head T1", (180.0, 200.0, 240.0), "MR", True, "T1")
BELLY = VolumeFacts("Belly", (250.0, 400.0, 400.0), "CT", False)


@pytest.mark.parametrize(
    ("name", "sequence"),
    [
        ("MNI152_T1", "T1"), ("sub-01_T2w", "T2"), ("t2_flair 3D", "FLAIR"), ("Head", ""), ("", ""),
        ("CT1 abdomen", ""), ("PAT1", ""), ("PD", "PD"),
    ],
)  # fmt: skip
def test_the_sequence_in_a_name(name, sequence):
    assert sequenceIn(name) == sequence


def test_doubts_name_the_volume_and_what_the_model_was_made_for():
    assert doubtsOf(CROP, HEAD, hasBoxes=True) == []
    (larger,) = doubtsOf(CROP, HEAD)
    assert "Head T1 is much larger" in larger.sentence
    assert "35" in larger.sentence
    assert not larger.impossible
    assert doubtsOf(FINDS_ITSELF, HEAD) == []
    (kind,) = doubtsOf(CROP, BELLY, hasBoxes=True)
    assert not kind.impossible
    said = VolumeFacts("Belly", (250.0, 400.0, 400.0), "CT", True)
    assert doubtsOf(CROP, said, hasBoxes=True)[0].impossible
    flair = VolumeFacts("Head FLAIR", (30.0, 40.0, 40.0), "MR", False, "FLAIR")
    assert "FLAIR" in doubtsOf(CROP, flair)[0].sentence
    assert doubtsOf(ABDOMEN, BELLY) == []


def test_the_card_of_a_model_that_finds_its_region_asks_for_no_box():
    assert "put one around" in regionText(CROP)
    assert "not needed" in regionText(FINDS_ITSELF)
    assert regionText(ABDOMEN) == ""
    assert "not needed" in regionText({**ABDOMEN, "field_of_view_mm": [333, 333, 440]})


def test_a_model_for_any_contrast_asks_about_no_sequence():
    anything = {**ABDOMEN, "modality": "MR", "channels": ["any contrast"]}
    assert doubtsOf(anything, HEAD) == []
    assert doubtsOf({**anything, "channels": ["T2"]}, HEAD) != []


def test_the_model_that_fits_best_takes_the_scan_as_it_is():
    assert bestFor([ABDOMEN, CROP, FINDS_ITSELF], HEAD)[0] == "head"
    name, why = bestFor([ABDOMEN, CROP], HEAD)
    assert name == "crop"
    assert "MR T1" in why
    assert "box" in why
    assert bestFor([CROP, ABDOMEN], BELLY)[0] == "abdomen"
    assert bestFor([CROP], BELLY) == ("", "")


def test_what_a_volume_is(scene):
    air = smooth_values() * 20 - 1000
    node = add_volume(scene, "Scan", air.astype(np.int16), oblique((1.0, 2.0, 3.0)))
    facts = factsOf(node)
    assert (facts.modality, facts.certain) == ("CT", False)
    assert facts.extent == pytest.approx((18.0, 32.0, 42.0))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "MR")
    assert (factsOf(node).modality, factsOf(node).certain) == ("MR", True)
    assert factsOf(add_volume(scene)).modality == "MR"
    assert factsOf(add_volume(scene, "z", smooth_values() - 50)).modality == ""
    assert factsOf(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")).extent is None


@pytest.fixture
def panel(monkeypatch, tmp_path, slicer, scene, open_module):
    models = tmp_path / "models ä"
    models.mkdir()
    write_tiny_bundle(models / "tiny")
    panel = open_panel(monkeypatch, tmp_path, open_module, fake_backend(tmp_path / "module")[0]).panel
    panel.catalog._facts["tiny"]["description"].update(modality="MR", channels=["T1"], field_of_view_mm=[9, 9, 9])
    return panel


def test_what_does_not_fit_is_asked_first_and_marked_if_the_user_insists(panel, scene):
    panel.ui.inputVolumeSelector.setCurrentNode(add_volume(scene, "Head FLAIR"))
    assert "much larger" in panel.ui.segmentHintLabel.text or "Add box" in panel.ui.segmentHintLabel.text
    recorder = Recorder(panel.logic)
    panel.ui.segmentButton.click()
    ((_name, question),) = panel.desktop.done
    assert "FLAIR" in question
    assert "Segment all the same?" in question
    assert recorder.names == []
    FakeDesktop.answers["confirm"] = True
    name, result = run_to_end(panel, panel.ui.segmentButton)
    assert name == "finished"
    (node,) = result["segmentations"]
    assert node.GetName() == "Head FLAIR tiny (unsuited)"
    assert "FLAIR" in node.GetDescription()
    assert "model tiny, version 1" in node.GetDescription()
    assert panel.ui.resultInfoLabel.text == node.GetDescription()


def test_what_cannot_be_right_is_refused(panel, scene):
    node = add_volume(scene, "Belly")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    hierarchy.SetItemAttribute(item, "DICOM.Modality", "CT")
    panel.ui.inputVolumeSelector.setCurrentNode(node)
    panel.ui.segmentButton.click()
    assert not panel.logic.running
    assert "Belly is a CT scan" in panel.ui.segmentStatusLabel.text
    assert '<a href="models">' in panel.ui.segmentStatusLabel.text


def test_the_panel_picks_the_model_that_fits_unless_the_user_chose_one(panel, scene):
    catalog = panel.catalog
    entry = {**catalog.models[0], **ABDOMEN}
    catalog.models = [{**catalog.models[0], **{key: CROP[key] for key in ("modality", "channels")}}, entry]
    catalog.changed.emit()
    belly = add_volume(scene, "Belly", (smooth_values() * 20 - 1000).astype(np.int16))
    head = add_volume(scene, "Head T1")
    # The test's fixture chose the model by hand.
    panel.ui.inputVolumeSelector.setCurrentNode(belly)
    assert panel.segmentTab.modelName == "tiny"
    panel.segmentTab._picked = False
    panel.ui.inputVolumeSelector.setCurrentNode(head)
    assert panel.segmentTab.modelName == "tiny"
    panel.ui.inputVolumeSelector.setCurrentNode(belly)
    assert panel.segmentTab.modelName == "abdomen"
    assert "Abdomen was chosen" in panel.ui.segmentHintLabel.text
    panel.ui.inputVolumeSelector.setCurrentNode(head)
    assert panel.segmentTab.modelName == "tiny"
    assert wait(lambda: panel.logic.running == "")


def test_the_backend_tells_its_methods_of_pre_training():
    from mimseg.commands.models.collection import list_methods
    from mimseg.networks.methods import METHODS

    assert [method["name"] for method in list_methods()] == list(METHODS)
    assert all(method["title"] and method["summary"] for method in list_methods())


def test_the_backend_tells_what_is_needed_to_pick_a_model():
    from mimseg.commands.models.collection import list_models

    for entry in list_models():
        assert {"channels", "field_of_view_mm", "locator", "modality"} <= set(entry.to_json())
