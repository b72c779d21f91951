"""What `mimseg rank` takes for a scan, and what it leaves as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import write_dataset
from tiny_model import write_tiny_bundle

from mimseg.commands.rank.run import RankSettings, rank
from mimseg.errors import UserError


@pytest.fixture
def settings(tmp_path: Path) -> RankSettings:
    data = write_dataset(tmp_path / "data", 2)
    model = write_tiny_bundle(tmp_path / "tiny")
    return RankSettings((data / "imagesTr",), (str(model),), tmp_path / "out", threads=1)


def test_a_segmentation_that_was_corrected_is_not_replaced_unasked(settings: RankSettings, tmp_path: Path) -> None:
    rank(settings)
    rank(settings)  # nothing was changed
    corrected, other = (settings.output / f"case_{number}_segmentation.nii.gz" for number in range(2))
    corrected.write_bytes((tmp_path / "data" / "labelsTr" / "case_0.nii.gz").read_bytes())
    by_hand, untouched = corrected.read_bytes(), other.read_bytes()
    with pytest.raises(UserError, match="case_0_segmentation") as refusal:
        rank(settings)
    assert "--replace" in refusal.value.hint
    assert "case_1" not in refusal.value.message
    assert (corrected.read_bytes(), other.read_bytes()) == (by_hand, untouched)
    rank(replace(settings, maps=False))
    assert corrected.read_bytes() == by_hand
    rank(replace(settings, replace=True))
    assert corrected.read_bytes() != by_hand
    rank(settings)


def test_a_folder_without_a_record_is_somebodys_work(settings: RankSettings) -> None:
    settings.output.mkdir()
    (settings.output / "case_1_segmentation.nii.gz").write_bytes(b"drawn elsewhere")
    with pytest.raises(UserError, match="case_1_segmentation"):
        rank(settings)
