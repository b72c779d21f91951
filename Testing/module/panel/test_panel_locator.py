"""By what a new model finds its region, chosen on the Fine-tune tab and understood by the backend."""

import pytest
from fake_backend import arguments_of, fake_backend
from logic_tools import Recorder, add_cases
from panel_tools import open_panel, show, wait
from tiny_model import write_tiny_bundle

from mimseg.commands.finetune.locator import parse_locator
from mimseg.data.labels.structures import Label


def choose(selector, value):
    """Choose the entry with this data."""
    assert selector.findData(value) >= 0, [selector.itemText(row) for row in range(selector.count)]
    selector.setCurrentIndex(selector.findData(value))


@pytest.fixture
def panel(monkeypatch, tmp_path, slicer, scene, open_module):
    """The Fine-tune tab with cases, and a model `head` of two sides."""
    sides = (Label(2, "Left-Part", (220, 60, 60)), Label(41, "Right-Part", (60, 60, 220)))
    backend, _set_mode = fake_backend(tmp_path / "module")
    panel = open_panel(monkeypatch, tmp_path, open_module, backend).panel
    write_tiny_bundle(tmp_path / "models ä" / "head", name="head", labels=sides)
    real = panel.logic.listModels

    def list_models(callback):
        def named(answer):
            for model in answer.result["models"]:
                if model["name"] == "head":
                    model["labels"] = [label.name for label in sides]
            callback(answer)

        real(named)

    monkeypatch.setattr(panel.logic, "listModels", list_models)
    panel.logic.modelsChanged.emit()
    assert wait(lambda: "head" in [model["name"] for model in panel.catalog.usable])
    add_cases(panel.logic, scene)
    panel.finetuneTab.cases.show()
    panel.ui.newModelNameEdit.text = "Kern"
    show(panel, "finetune")
    return panel


def asked(panel):
    """What the backend is asked for by Plan."""
    recorder = Recorder(panel.logic)
    record = {"metric": []}
    panel.logic.work.metric.connect(lambda name, value, fields: record["metric"].append((name, value, fields)))
    panel.ui.planButton.click()
    name, *outcome = recorder.wait(120)
    assert name == "finished", outcome
    return arguments_of(record)[-1]


def test_a_model_that_finds_its_region_is_asked_for_by_clicks(panel):
    ui = panel.ui
    assert not ui.locatorStructureSelector.enabled
    assert not [text for text in asked(panel) if "locator" in text]
    choose(ui.locatorModelSelector, "head")
    texts = [ui.locatorStructureSelector.itemText(row) for row in range(ui.locatorStructureSelector.count)]
    assert texts == ["Part, left and right", "Left-Part", "Right-Part"]
    assert ui.trainedSideSelector.enabled
    choose(ui.trainedSideSelector, "left")
    arguments = asked(panel)
    assert "--locator=head:Part" in arguments
    assert "--trained-side=left" in arguments
    both = parse_locator("head:Part", "left")
    assert [(place.side, place.mirrored) for place in both.places] == [("left", False), ("right", True)]
    choose(ui.locatorStructureSelector, "Right-Part")
    assert not ui.trainedSideSelector.enabled
    arguments = asked(panel)
    assert "--locator=head:Right-Part" in arguments
    assert not [text for text in arguments if "trained-side" in text]


def test_the_choice_stays_with_the_scene_and_ends_with_the_model(panel):
    choose(panel.ui.locatorModelSelector, "head")
    choose(panel.ui.trainedSideSelector, "right")
    assert (panel.parameters.locatorModel, panel.parameters.locatorStructure) == ("head", "Part")
    panel.catalog.changed.emit()
    assert panel.finetuneTab.locator.chosen() == {"locator": "head:Part", "trainedSide": "right"}
    panel.catalog.models = [model for model in panel.catalog.models if model["name"] != "head"]
    panel.catalog.changed.emit()
    assert panel.finetuneTab.locator.chosen() == {"locator": "", "trainedSide": ""}
