"""Inference on volumes of any size: overlapping windows, blended with a Gaussian weight.

Windows, weights and padding are those of MONAI 1.6 `sliding_window_inference(mode="gaussian")`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from mimseg import stopping
from mimseg.events import Reporter
from mimseg.inference.window_grid import window_starts

Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Corner = tuple[int, int, int]

# Logit by which background beats every class where no window was computed.
CERTAIN = 20.0


def sliding_window(
    array: NDArray[np.float32],
    predict: Predict,
    window: Sequence[int],
    overlap: float = 0.5,
    batch: int = 1,
    foreground: NDArray[np.bool_] | None = None,
    reporter: Reporter | None = None,
    phase: str = "segment",
    multilabel: bool = False,
) -> NDArray[np.float32]:
    """Logits of a whole volume.

    Args:
        array: Preprocessed volume, float32 `(C, x, y, z)`.
        predict: Maps a batch `(B, C, *window)` to logits `(B, K, *window)`.
        window: Size of a window along x, y, z.
        overlap: Share of a window that its neighbour covers too, 0 <= overlap < 1.
        batch: Windows per call of `predict`.
        foreground: `(x, y, z)`; windows without any true voxel are not computed but taken as background.
        reporter: Receives the progress.
        phase: Name of the progress.
        multilabel: Channels are independent and none of them is background.

    Returns:
        Logits, float32 `(K, x, y, z)`.

    Raises:
        Stopped: The user asked to stop.
    """
    reporter = reporter or Reporter()
    size = array.shape[1:]
    padded = _padded(array, window)
    corners = list(window_corners(padded.shape[1:], window, overlap))
    margins = [(max(w - n, 0)) // 2 for n, w in zip(size, window, strict=True)]
    computed = [corner for corner in corners if _has_foreground(foreground, corner, window, margins)]
    importance = importance_map(window)
    total: NDArray[np.float32] | None = None
    weight = np.zeros(padded.shape[1:], np.float32)
    reporter.progress(phase, 0, max(1, len(computed)))
    for start in range(0, len(computed), batch):
        stopping.check()
        group = computed[start : start + batch]
        logits = predict(np.stack([_crop(padded, corner, window) for corner in group]))
        if total is None:
            total = np.zeros((logits.shape[1], *padded.shape[1:]), np.float32)
        for corner, output in zip(group, logits, strict=True):
            for channel, summed in zip(output, total, strict=True):
                summed[_slices(corner, window)] += channel * importance
            weight[_slices(corner, window)] += importance
        reporter.progress(phase, min(start + batch, len(computed)), len(computed))
    if total is None:
        total = _classes_only(predict, padded, window)
        reporter.progress(phase, 1, 1)
    _divide(total, weight, multilabel)
    return _crop(total, margins, size)


def window_corners(size: Sequence[int], window: Sequence[int], overlap: float) -> Iterator[Corner]:
    """First voxels of the windows that cover a volume at least as large as one window."""
    starts = [window_starts(edge, w, overlap) for edge, w in zip(size, window, strict=True)]
    yield from itertools.product(starts[0], starts[1], starts[2])


def importance_map(window: Sequence[int]) -> NDArray[np.float32]:
    """Weight of each voxel of a window: a Gaussian with sigma an eighth of the edge, at least 0.001."""
    weights = np.ones((1, 1, 1), np.float32)
    for axis, edge in enumerate(window):
        distance = np.arange(edge, dtype=np.float32) - np.float32((edge - 1) / 2)
        curve = np.exp(distance**2 / np.float32(-2 * (0.125 * edge) ** 2))
        weights = weights * curve.reshape([-1 if other == axis else 1 for other in range(3)])
    return np.maximum(weights, max(float(weights.min()), 1e-3)).astype(np.float32)


def _padded(array: NDArray[np.float32], window: Sequence[int]) -> NDArray[np.float32]:
    missing = [max(w - n, 0) for n, w in zip(array.shape[1:], window, strict=True)]
    if not any(missing):
        return array
    return np.pad(array, [(0, 0), *((gap // 2, gap - gap // 2) for gap in missing)])


def _crop(array: NDArray, corner: Sequence[int], size: Sequence[int]) -> NDArray:
    x, y, z = _slices(corner, size)
    return array[:, x, y, z]


def _slices(corner: Sequence[int], window: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(start, start + edge) for start, edge in zip(corner, window, strict=True))


def _has_foreground(
    foreground: NDArray[np.bool_] | None, corner: Corner, window: Sequence[int], margins: Sequence[int]
) -> bool:
    if foreground is None:
        return True
    inside = tuple(
        slice(max(0, start - margin), start - margin + edge)
        for start, edge, margin in zip(corner, window, margins, strict=True)
    )
    return bool(foreground[inside].any())


def _classes_only(predict: Predict, padded: NDArray[np.float32], window: Sequence[int]) -> NDArray[np.float32]:
    """Zeros for every class: nothing was computed, but the number of classes only the network knows."""
    classes = predict(np.zeros((1, padded.shape[0], *window), np.float32)).shape[1]
    return np.zeros((classes, *padded.shape[1:]), np.float32)


def _divide(total: NDArray[np.float32], weight: NDArray[np.float32], multilabel: bool) -> None:
    """Weighted sums become means; where nothing was computed, background wins."""
    empty = weight == 0
    any_empty = bool(empty.any())
    weight[empty] = 1
    for channel, summed in enumerate(total):
        summed /= weight
        if any_empty:
            summed[empty] = 0.0 if channel == 0 and not multilabel else -CERTAIN
