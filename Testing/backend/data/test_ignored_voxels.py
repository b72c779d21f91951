"""Voxels that nobody judged: 255 in what is trained on, and in no score of validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.train

from synthetic import ball_scan, write_scan  # noqa: E402

from mimseg.data.cases import Case  # noqa: E402
from mimseg.data.intensity import Intensity  # noqa: E402
from mimseg.data.labels.scheme import IGNORED, LabelScheme  # noqa: E402
from mimseg.data.labels.structures import Label  # noqa: E402
from mimseg.data.preprocessing import Preprocessing  # noqa: E402
from mimseg.events import Reporter  # noqa: E402
from mimseg.training.crops.cache import load_training_case  # noqa: E402
from mimseg.training.validation import judged, mean_dice  # noqa: E402

PREPROCESSING = Preprocessing("RAS", None, Intensity("zscore", 0, 1))
PAIR = (Label(1, "ball", (255, 0, 0)), Label(2, "block", (0, 255, 0)))


@pytest.mark.parametrize("regions", [None, ((1, 2), (2,))])
def test_ignored_voxels_are_not_drawn_from_and_not_scored(tmp_path: Path, regions) -> None:
    image, label = ball_scan(0)
    ignored = np.zeros_like(label, bool)
    ignored[:10] = True
    write_scan(tmp_path / "a.nii.gz", image)
    write_scan(tmp_path / "l.nii.gz", np.where(ignored, 9, label).astype(np.uint8))
    scheme = LabelScheme(PAIR, regions, ignored=9)
    case = Case("a", (tmp_path / "a.nii.gz",), tmp_path / "l.nii.gz")
    loaded = load_training_case(case, PREPROCESSING, scheme, True, Reporter())
    assert loaded.label is not None
    assert np.array_equal(loaded.label.numpy(), np.where(ignored, IGNORED, label))
    assert len(loaded.points) == 2
    assert all((points[:, 0] >= 10).all() for points in loaded.points)
    whole = label > 0 if regions else label == 1
    true = np.stack([whole, label == 2])
    wrong = np.where(ignored, ~true, true)
    assert mean_dice(wrong, loaded) == 1.0
    found, expected = judged(wrong, loaded)
    assert not found[:, ignored].any()
    assert np.array_equal(found, expected)
