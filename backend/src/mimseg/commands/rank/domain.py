"""Cases that may not belong to the data at all: another modality, another part of the body, a damaged scan.

The uncertainty that orders the cases is the warning, too, because of everything measured it separates shifted volumes
from normal ones best (`Testing/benchmarks/out_of_domain.py`; whole table: Resources/Studies/out-of-domain). Area under
the ROC curve, mean and worst over 12 kinds of shift, shipped hippocampus model, 31 normal and 57 shifted volumes:

    uncertainty 1.00, 0.99; disagreement of two views 0.99, 0.91; predicted volume 0.92, 0.49; encoder features,
    Mahalanobis 0.90, 0.60 and nearest neighbours 0.82, 0.55; intensity histogram 0.83, 0.50; error of the MAE decoder's
    reconstruction 0.65, 0.00

The reconstruction is therefore not offered: smooth volumes, such as one with a wrong voxel size, are easier to
reconstruct than normal ones. `LIMIT` was chosen on these volumes: no normal one is warned of, and neither is mild noise
or mild blur.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Robust standard deviations above the median, and least factor on the median where all cases are much alike.
LIMIT = 8.0
LEAST_FACTOR = 1.25
# Fewer cases do not tell what is usual.
FEWEST_CASES = 8


def odd_ones(uncertainty: Sequence[float]) -> list[str | None]:
    """What to tell about each case whose uncertainty is far above that of most others, None for usual ones.

    The median of all cases and 1.4826 times their median absolute deviation say what is usual, so this needs
    `FEWEST_CASES` or more, most of which belong together.
    """
    values = np.asarray(uncertainty, np.float64)
    if len(values) < FEWEST_CASES:
        return [None] * len(values)
    usual = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - usual)))
    limit = max(usual + LIMIT * spread, LEAST_FACTOR * usual)
    return [
        f"The model is far less sure of it ({value:.2f}) than of most others ({usual:.2f}). Is it of the right "
        "modality, body part, orientation and voxel size? If it is, label it first: the model needs it."
        if value > limit
        else None
        for value in values
    ]
