"""A picture of the worst case of a fold: what was found, what was missed, what is too much."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mimseg.commands.crossvalidate.scores import worst_case
from mimseg.commands.finetune.data import LabelledData
from mimseg.data.labels.structures import Label
from mimseg.data.preprocessing import restore_probability
from mimseg.networks.settings import NetworkSettings
from mimseg.reports.pictures import write_png
from mimseg.reports.preview import draw_preview

if TYPE_CHECKING:
    from torch import nn

LEGEND = (Label(1, "right", (60, 180, 75)), Label(2, "missed", (230, 60, 60)), Label(3, "too much", (245, 170, 40)))


def draw_worst_case(
    path: Path,
    rows: Sequence[dict[str, Any]],
    data: LabelledData,
    network: nn.Module,
    shape: NetworkSettings,
    overlap: float,
    pieces: Sequence[Sequence[int]] = (),
) -> None:
    """Write a PNG of three planes of the case with the lowest Dice, in the colours of `LEGEND`.

    Args:
        path: The PNG.
        rows: Scores of the cases of this fold, numbered from 1.
        data: All cases, prepared, in the order of their numbers.
        network: Has seen none of the fold's cases.
        shape: Its settings.
        overlap: Of windows.
        pieces: Groups of classes of which only the main piece stays.
    """
    from mimseg.training.validation import judged, predict_case

    number = worst_case(rows)
    names = list(dict.fromkeys(case.identifier for case in data.training))
    # Of a case that was cut, the first box is shown.
    case = next(case for case in data.training if case.identifier == names[number - 1])
    if case.prepared is None:
        raise ValueError("the case was loaded without what scoring needs")
    found, true = judged(predict_case(network, case, shape, overlap, pieces), case)
    missed, extra = (true & ~found).any(axis=0), (found & ~true).any(axis=0)
    labels = np.array(true.any(axis=0), np.uint8)
    labels[missed], labels[extra & ~missed] = 2, 3
    image = restore_probability(case.prepared.array[0], case.prepared)
    write_png(path, draw_preview(image, labels, case.prepared.source_grid, LEGEND))
