"""The members whose disagreement `mimseg rank` measures: slightly changed views of a scan, for one model or several.

Nothing here changes what the anatomy is, so an honest model answers all views alike (test-time augmentation: Wang et
al., Aleatoric uncertainty estimation with test-time augmentation, Neurocomputing 2019). No PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.description import Description
from mimseg.data.preprocessing import Prepared
from mimseg.events import Reporter
from mimseg.inference.probabilities import to_probabilities
from mimseg.inference.sliding_window import Predict, sliding_window


@dataclass(frozen=True)
class View:
    """One way to show a scan to a model.

    Attributes:
        name: For the report.
        shifted: The grid of windows begins half a patch earlier, where that needs no more windows.
        contrast: Factor on the distance from the mean intensity.
        shading: Strength of a smooth change of brightness from one side to the other, as coils leave in MR.
        noise: Standard deviation of added noise, in standard deviations of the scan.
        mirrored: Left and right are exchanged (and back in the result).
    """

    name: str
    shifted: bool = False
    contrast: float = 1.0
    shading: float = 0.0
    noise: float = 0.0
    mirrored: bool = False


PLAIN = View("plain")
VIEWS = (
    PLAIN,
    View("shifted", shifted=True),
    View("less contrast", contrast=0.8),
    View("more contrast", contrast=1.25),
    View("shading", shading=0.3),
    View("noise", noise=0.15),
    View("mirrored", mirrored=True),
)


def views_of(description: Description) -> tuple[View, ...]:
    """The views that suit a model: mirrored only if it was trained with left and right exchanged at random."""
    finetuning = description.training.get("finetuning")
    augmentation = finetuning.get("augmentation") if isinstance(finetuning, dict) else None
    mirrored = isinstance(augmentation, dict) and augmentation.get("flip_left_right") is True
    return tuple(view for view in VIEWS if mirrored or not view.mirrored)


def probabilities_of(
    view: View,
    prepared: Prepared,
    description: Description,
    predict: Predict,
    reporter: Reporter | None = None,
    phase: str = "segment",
) -> NDArray[np.float32]:
    """Class probabilities `(K, x, y, z)` of a prepared scan seen in one way, on its working grid.

    Raises:
        OutOfMemory: Memory ran out.
        Stopped: The user asked to stop.
    """
    array, foreground = _changed(view, prepared)
    margins = _margins(view, array.shape[1:], description) if view.shifted else [(0, 0)] * 3
    axis = _left_right(description) if view.mirrored else None
    if axis is not None:
        array = np.flip(array, axis + 1)
        foreground = None if foreground is None else np.flip(foreground, axis)
    if view.shifted:
        array = np.pad(array, [(0, 0), *margins])
        foreground = None if foreground is None else np.pad(foreground, margins)
    logits = sliding_window(
        np.ascontiguousarray(array),
        predict,
        description.window,
        description.overlap,
        foreground=foreground,
        reporter=reporter,
        phase=phase,
        multilabel=description.multilabel,
    )
    x, y, z = (slice(low, edge - high) for (low, high), edge in zip(margins, logits.shape[1:], strict=True))
    logits = logits[:, x, y, z]
    if axis is not None:
        logits = np.flip(logits, axis + 1)
    return to_probabilities(np.ascontiguousarray(logits), description.multilabel)


def _changed(view: View, prepared: Prepared) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """The scan with its intensities changed; background stays what it is."""
    array, foreground = prepared.array, prepared.foreground
    if view.contrast == 1 and not view.shading and not view.noise:
        return array, foreground
    inside = np.ones(array.shape[1:], bool) if foreground is None or not foreground.any() else foreground
    changed = array.copy()
    for channel in changed:
        values = channel[inside]
        mean, deviation = float(values.mean()), float(values.std())
        values = (values - mean) * view.contrast + mean
        if view.shading:
            values = values + view.shading * deviation * _slope(channel.shape)[inside]
        if view.noise:
            values = values + np.random.default_rng(0).normal(0, view.noise * deviation, values.shape)
        channel[inside] = values
    return changed, foreground


def _slope(size: tuple[int, ...]) -> NDArray[np.float32]:
    """From -1 in one corner of a volume to 1 in the opposite one."""
    slope = np.zeros(size, np.float32)
    for axis, edge in enumerate(size):
        slope += np.linspace(-1, 1, edge, dtype=np.float32).reshape([-1 if axis == other else 1 for other in range(3)])
    return slope / np.float32(3)


def _margins(view: View, size: tuple[int, ...], description: Description) -> list[tuple[int, int]]:
    """Planes to add before (and after) each axis, so that windows begin elsewhere."""
    step = description.network_settings.divisor // 2
    margins = []
    for edge, window in zip(size, description.window, strict=True):
        if edge >= window:
            margins.append((step if edge > window else 0, 0))
            continue
        # The window's empty part, usually halved between both sides, moves to the front, half a patch at most.
        slack = window - edge
        front = min(slack, slack // 2 + step)
        margins.append((front, slack - front))
    return margins


def _left_right(description: Description) -> int:
    orientation = description.preprocessing.orientation
    return next(axis for axis, letter in enumerate(orientation) if letter in "LR")
