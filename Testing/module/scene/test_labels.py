"""Structures of a new case get the values that earlier cases gave them, by name or by code."""

import pytest

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
from MIMSegmentLib.Scene.Labels import Labels

HIPPOCAMPUS = "5366008"


def segment(identifier, name, code=None, modifier=None):
    entry = {"id": identifier, "name": name}
    if code:
        entry["type"] = {"scheme": "SCT", "value": code, "meaning": "x"}
    if modifier:
        entry["modifier"] = {"scheme": "SCT", "value": modifier, "meaning": "x"}
    return entry


def test_names_decide_whatever_their_case_and_spaces():
    labels = Labels()
    assert labels.match([segment("a", "Liver"), segment("b", "Left  Kidney")]) == {"a": 1, "b": 2}
    assert labels.match([segment("x", " left kidney"), segment("y", "LIVER")]) == {"x": 2, "y": 1}
    assert [entry["name"] for entry in labels.toJson()] == ["Liver", "Left Kidney"]


def test_a_code_decides_where_no_name_does():
    labels = Labels()
    labels.match([segment("a", "Liver", "10200004")])
    assert labels.match([segment("b", "Foie", "10200004")]) == {"b": 1}


def test_a_name_wins_over_a_code():
    labels = Labels()
    labels.match([segment("a", "Liver", "1"), segment("b", "Spleen", "2")])
    assert labels.match([segment("c", "Spleen", "1")]) == {"c": 2}


def test_left_and_right_that_share_a_code_stay_apart():
    labels = Labels()
    both = [segment("a", "Left", HIPPOCAMPUS), segment("b", "Right", HIPPOCAMPUS)]
    assert labels.match(both) == {"a": 1, "b": 2}
    # Which of the two it is, nothing tells.
    assert labels.match([segment("c", "Hippocampus", HIPPOCAMPUS)]) == {"c": 3}


def test_the_side_belongs_to_the_code():
    labels = Labels()
    labels.match([segment("a", "L", HIPPOCAMPUS, "7771000"), segment("b", "R", HIPPOCAMPUS, "24028007")])
    matched = labels.match(
        [segment("c", "rechts", HIPPOCAMPUS, "24028007"), segment("d", "links", HIPPOCAMPUS, "7771000")]
    )
    assert matched == {"c": 2, "d": 1}


def test_slicers_default_code_says_nothing():
    labels = Labels()
    labels.match([segment("a", "Segment_1", "85756007")])
    assert labels.match([segment("b", "Tumor", "85756007")]) == {"b": 2}
    assert "type" not in labels.toJson()[0]


def test_two_segments_of_one_name_are_one_structure():
    assert Labels().match([segment("a", "Liver"), segment("b", "liver")]) == {"a": 1, "b": 1}


def test_a_structure_is_not_claimed_twice_by_name_and_by_code():
    labels = Labels()
    labels.match([segment("a", "Liver", "1")])
    assert labels.match([segment("b", "Leber", "1"), segment("c", "Liver", "1")]) == {"c": 1, "b": 2}
