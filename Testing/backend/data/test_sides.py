"""Which names say left and right."""

from __future__ import annotations

import pytest

from mimseg.data.labels.sides import side_of, side_pairs
from mimseg.data.labels.structures import Label


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("L kidney", "left"),
        ("kidney_R", "right"),
        ("lh hippocampus", "left"),
        ("Hippocampus-RIGHT", "right"),
        ("left2 lung", "left"),
        ("liver", ""),
        # Lumbar vertebrae and nerve roots are neither left nor right.
        ("vertebrae_L5", ""),
        ("L1 vertebral body", ""),
        ("r2", ""),
    ],
)
def test_a_lone_letter_is_a_side_unless_a_digit_follows(name: str, side: str) -> None:
    assert side_of(Label(1, name, (0, 0, 0))) == side


def test_numbered_vertebrae_are_no_pair_but_ribs_are() -> None:
    def pairs(*names: str) -> dict[int, int]:
        return side_pairs([Label(value, name, (0, 0, 0)) for value, name in enumerate(names, start=1)])

    assert pairs("T12", "L1", "L2", "rib l", "rib r") == {4: 5}
    assert pairs("rib L1", "rib R1", "rib L2") == {1: 2}
