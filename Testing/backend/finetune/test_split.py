"""Which cases validate where the user says nothing: whole subjects."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.train

from mimseg.commands.finetune.data import split_cases  # noqa: E402
from mimseg.commands.finetune.settings import FinetuneSettings  # noqa: E402
from mimseg.data.cases import Case, Dataset  # noqa: E402
from mimseg.errors import UserError  # noqa: E402
from mimseg.networks.unetr_settings import UnetrSettings  # noqa: E402
from mimseg.training.budget import Budget  # noqa: E402


def split(subjects: list[str], **choices: str) -> tuple[list[str], list[str]]:
    """Names of the cases that train and validate."""
    cases = tuple(Case(f"c{n}", (Path(f"c{n}.nii"),), Path(f"l{n}.nii"), subject) for n, subject in enumerate(subjects))
    settings = FinetuneSettings(Path(), Path(), Budget(1), None, UnetrSettings(), **choices)  # type: ignore[arg-type]
    training, validation = split_cases(Dataset(cases, {}), settings)
    return [case.identifier for case in training], [case.identifier for case in validation]


def test_a_subject_with_several_cases_is_never_split() -> None:
    training, validation = split([f"s{n // 2}" for n in range(10)])
    assert validation == ["c8", "c9"]
    assert training == [f"c{n}" for n in range(8)]
    mixed = ["a", "b", "", "c", "a", "d", "e", "d", "f", "g", "h", "i"]  # c2 is a subject of its own
    training, validation = split(mixed)
    assert validation == ["c5", "c7", "c11"]
    assert split(["a", "a", "b", "b", "c", "c", "d", "d"])[1] == [], "four people are too few to set one aside"


def test_where_each_case_is_a_subject_every_fifth_case_validates_as_before() -> None:
    for subjects in ([""] * 12, [f"s{n}" for n in range(12)]):
        assert split(subjects)[1] == ["c4", "c9"]
    assert split([""] * 5)[1] == ["c4"]
    assert split([""] * 4) == (["c0", "c1", "c2", "c3"], [])
    assert split([""] * 12, cases="c1,c2,c3,c6,c7,c8")[1] == ["c7"]


def test_a_chosen_split_of_a_subject_is_refused() -> None:
    with pytest.raises(UserError, match="in both training and validation"):
        split(["a", "a", "b"], validation="c0")


def test_all_cases_train_if_none_is_to_validate() -> None:
    assert split([""] * 12, validation="none") == ([f"c{n}" for n in range(12)], [])
    assert split([""] * 12, validation="none", cases="c1,c2,c3,c4,c5") == (["c1", "c2", "c3", "c4", "c5"], [])
