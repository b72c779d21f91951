"""Windows of nothing but one value, as of air or cut-off intensities, are computed once.

The network sees a window and not where it lies: equal windows give equal values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mimseg.inference.sliding_window import Predict


class ConstantWindows:
    """Runs windows, and keeps the values of the last one in which each channel was constant.

    Args:
        run: Maps a batch `(1, C, *window)` to values `(1, F, *window)`.
    """

    def __init__(self, run: Predict) -> None:
        self._run = run
        self._of = b""
        self._values: NDArray[np.float32] | None = None

    def __call__(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values `(F, *window)` of a window `(C, *window)`; they must not be changed."""
        if not _is_constant(window):
            return self._run(window[None])[0]
        constants = window[:, 0, 0, 0].tobytes()
        if self._values is None or constants != self._of:
            # A copy: an engine may use its output's memory again.
            self._values, self._of = self._run(window[None])[0].copy(), constants
        return self._values


def _is_constant(window: NDArray[np.float32]) -> bool:
    values = window[:, 0, 0, 0]
    x, y, z = (edge // 2 for edge in window.shape[1:])
    # Two voxels tell most windows with structures from those without.
    if (window[:, x, y, z] != values).any() or (window[:, -1, -1, -1] != values).any():
        return False
    return all(bool((channel == value).all()) for channel, value in zip(window, values, strict=True))
