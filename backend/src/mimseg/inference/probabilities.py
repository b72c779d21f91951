"""From logits to probabilities, in place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def to_probabilities(logits: NDArray[np.float32], multilabel: bool = False) -> NDArray[np.float32]:
    """Overwrite logits `(K, x, y, z)` by their softmax over K, or by their sigmoid with `multilabel`.

    Works plane by plane: a second array of this size may not fit into memory.
    """
    for index in range(logits.shape[1]):
        plane = logits[:, index]
        if multilabel:
            np.clip(plane, -60, 60, out=plane)
            plane[...] = 1 / (1 + np.exp(-plane))
            continue
        plane -= plane.max(axis=0)
        np.exp(plane, out=plane)
        plane /= plane.sum(axis=0)
    return logits
