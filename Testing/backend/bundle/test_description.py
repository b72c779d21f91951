"""A model's description: what it keeps through JSON, and the wrong or missing entry that is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_files import describe

from mimseg.bundle.description import Description, read_description
from mimseg.data.labels.structures import Label
from mimseg.errors import UserError


def changed(**changes: Any) -> dict[str, Any]:
    """A description's JSON with entries replaced."""
    return {**describe().to_json(), **changes}


def test_a_description_survives_json() -> None:
    description = describe(
        multilabel=False,
        field_of_view_mm=None,
        training={"a": [1, 2.5, "x", None, True]},
        one_piece=(("right|hand",), ("left", "right|hand")),
    )
    assert description.pieces == [[2], [1, 2]]
    assert Description.from_json(json.loads(json.dumps(description.to_json()))) == description


def test_a_model_without_pieces_is_read_by_older_versions() -> None:
    assert "one_piece" not in describe().to_json()
    assert describe(one_piece=(("left", "right|hand"),)).pieces_in_words() == (
        "only the largest piece is kept of all structures together"
    )
    assert describe(one_piece=(("left",), ("right|hand",))).pieces_in_words() == (
        "pieces smaller than a tenth of the largest are dropped from left, right|hand"
    )


def test_numbers_that_json_lacks_become_null() -> None:
    content = describe(scores={"hd95": float("nan"), "dice": np.float32(0.5), "rows": [np.int64(3)]}).to_json()
    assert json.loads(json.dumps(content, allow_nan=False))["scores"] == {"hd95": None, "dice": 0.5, "rows": [3]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "../up"),
        ("name", "CON"),
        ("name", "con"),
        ("name", ""),
        ("name", 3),
        ("title", " "),
        ("modality", "XR"),
        ("channels", []),
        ("channels", "T1"),
        ("channels", ["T1", "T2"]),
        ("multilabel", 0),
        ("multilabel", True),
        ("preprocessing", {"orientation": "RAS"}),
        ("window", [16, 16]),
        ("window", [16, 24, 16.0]),
        ("window", [16, 16, 16]),
        ("one_piece", "left"),
        ("one_piece", ["left"]),
        ("one_piece", [["left", "nose"]]),
        ("one_piece", [[]]),
        ("overlap", 1.0),
        ("overlap", "0.5"),
        ("overlap", True),
        ("labels", []),
        ("labels", [{"value": 1}]),
        ("labels", [{"value": 1, "name": "one"}]),
        ("labels", {"1": "one"}),
        ("network", {}),
        ("network", {"window": [16, 24, 16], "surprise": 1}),
        ("network", None),
        ("field_of_view_mm", [1, 2]),
        ("field_of_view_mm", [1, 2, -3]),
        ("training", []),
        ("scores", "good"),
        ("versions", {"torch": 2}),
        ("surprise", 1),
    ],
)
def test_a_wrong_entry_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(UserError) as fault:
        Description.from_json(changed(**{name: value}), "here.json")
    assert "here.json" in str(fault.value)
    assert fault.value.code == "bad-model"


@pytest.mark.parametrize("name", sorted(describe().to_json()))
def test_a_missing_entry_is_refused(name: str) -> None:
    content = describe().to_json()
    del content[name]
    with pytest.raises(UserError):
        Description.from_json(content)


@pytest.mark.parametrize("content", [None, [], {}, {"format": "other"}, changed(format_version=2)])
def test_other_formats_and_versions_are_refused(content: Any) -> None:
    with pytest.raises(UserError) as fault:
        Description.from_json(content)
    assert fault.value.code in ("not-a-model", "model-version")


def test_labels_must_be_in_the_order_of_the_classes() -> None:
    one, two = describe().labels
    with pytest.raises(UserError, match="ordered"):
        describe(labels=(two, one))
    described = describe(labels=(Label(3, "three", (1, 2, 3)), Label(700, "many", (4, 5, 6))))
    assert Description.from_json(described.to_json()).labels == described.labels


def test_damaged_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "segmentation.json"
    for content in (b"{", b"\xff\xfe\x00", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(UserError) as fault:
            read_description(path)
        assert str(path) in fault.value.message
