"""The model card: what a user must know first, and a history that does not bury it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mimseg.bundle.description import Description
from mimseg.bundle.documents.model_card import model_card
from mimseg.bundle.locations import find_bundle
from mimseg.bundle.reader import open_bundle

RUN = {"method": "MAE", "steps": 499, "seconds": 1333.0}


@pytest.fixture
def shipped() -> Description:
    return open_bundle(find_bundle("abdomen-ct")).description


def finetuning(steps: int, **others: Any) -> dict[str, Any]:
    return {"finetuning": {"steps": steps, "seconds": 90.0, "training_cases": 4}, **others}


def started_from(name: str, training: dict[str, Any], **about: str) -> dict[str, Any]:
    return {"model": name, "version": "1.0", "training": training, **about}


def test_limits_and_licence_come_before_the_training(shipped: Description) -> None:
    card = model_card(shipped)
    titles = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert titles == ["Use", "Limits", "Structures", "Scores", "Licence and sources", "Training"]


def test_earlier_trainings_are_a_line_each_and_a_pretraining_run_is_told_in_full(shipped: Description) -> None:
    training = finetuning(30, pretraining=started_from("second", finetuning(20, pretraining=started_from("first", {}))))
    card = model_card(replace(shipped, training=training))
    assert "| Model | Steps | Minutes | Cases |" in card
    assert "| second 1.0 | 20 | 2 | 4 |" in card
    assert "| first 1.0 | - | - | - |" in card
    assert "Pre-training" not in card
    assert card.count("Finetuning") == 1
    training["pretraining"]["training"]["pretraining"] = RUN
    card = model_card(replace(shipped, training=training))
    assert "### Pre-training" in card
    assert "| method | MAE |" in card
    assert "| second 1.0 | 20 |" in card


def test_the_sources_of_a_model_that_was_started_from_are_named(shipped: Description) -> None:
    start = started_from("theirs", {}, licence="CC-BY-4.0", attribution="Weights by Jane Roe.", citation="Roe 2025.")
    card = model_card(replace(shipped, training=finetuning(9, pretraining=start)))
    assert "It was trained further from theirs 1.0: CC-BY-4.0. Weights by Jane Roe. Roe 2025." in card
    own = started_from("ours", {}, licence=shipped.licence, attribution=shipped.attribution, citation=shipped.citation)
    assert "from ours" not in model_card(replace(shipped, training=finetuning(9, pretraining=own)))
    own["model"], own["attribution"] = shipped.name, "An earlier text about the same data."
    assert "An earlier text" not in model_card(replace(shipped, training=finetuning(9, pretraining=own)))
    own["licence"] = "CC-BY-NC-4.0"
    assert "An earlier text" in model_card(replace(shipped, training=finetuning(9, pretraining=own)))


def test_volumes_and_places_of_a_structure_stand_in_one_line(shipped: Description) -> None:
    volumes = {"Liver": {"least": 1030.0, "largest": 2557.0}, "Gallbladder": {"least": 0.0, "largest": 80.8}}
    training = finetuning(9, volumes_ml=volumes, places_mm={"Liver": {"left": -75.0, "back": -40.9, "up": 2.4}})
    card = model_card(replace(shipped, training=training))
    assert "| Liver | 1030 | 2557 | -75 | -40.9 | 2.4 |" in card
    assert "| Gallbladder | 0 | 80.8 | - | - | - |" in card


def test_a_model_without_a_record_says_so(shipped: Description) -> None:
    assert "## Training\n\nNot stated." in model_card(replace(shipped, training={}))
