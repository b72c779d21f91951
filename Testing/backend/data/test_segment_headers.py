"""Headers of Slicer segmentations that other programs wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from segmentation_files import segment, write_segmentation

from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names
from mimseg.errors import UserError


@pytest.mark.parametrize("value", [-1, 0, 70000])
def test_a_label_value_that_no_labelmap_can_hold_is_refused_in_words(tmp_path: Path, value: int) -> None:
    path = tmp_path / "s.seg.nrrd"
    write_segmentation(path, [np.ones((3, 4, 5))], [segment("liver", 1), segment("spleen", value)])
    for read in (read_labelmap, read_segment_names):
        with pytest.raises(UserError, match=rf"s\.seg\.nrrd.*“spleen”.*{value}") as caught:
            read(path)
        assert caught.value.code == "bad-labels"
        assert "65535" in caught.value.hint
