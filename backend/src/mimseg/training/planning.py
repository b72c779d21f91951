"""Settings that follow from the data when the user gave none: modality, spacing, intensity, window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mimseg.data.orientation import turn_to
from mimseg.data.preprocessing import Intensity, Preprocessing
from mimseg.data.preprocessing_presets import preset_or_file
from mimseg.data.volume import Volume
from mimseg.training.start.initial_weights import InitialWeights

SPACING_SAMPLES = 20
# HU that show soft tissue: what a model for scans of any kind sees of a CT.
HEAD_WINDOW = (0.0, 80.0)
# Cube root of the most voxels of a planned window, by device.
LARGEST_WINDOW = {"cpu": 64, "mps": 96, "cuda": 96}


def guess_modality(volumes: Sequence[Volume]) -> str:
    """`CT` if most volumes reach below -500 (air in HU), else `MR`."""
    low = [float(np.min(volume.array)) <= -500 for volume in volumes]
    return "CT" if sum(low) * 2 > len(low) else "MR"


def choose_preprocessing(
    initial: InitialWeights | None,
    preset: str | Preprocessing | None,
    modality: str | None,
    spacing: tuple[float, float, float] | None,
    sample: Callable[[], Sequence[Volume]],
    drawn: bool = False,
) -> tuple[str, Preprocessing]:
    """Modality and preprocessing: what is asked for, else those of the start weights, else planned from the data.

    Args:
        initial: What training starts from.
        preset: Name in `mimseg.data.preprocessing_presets`, or a JSON file, or the preprocessing itself.
        modality: `CT`, `MR`, or None. A named preset has its own.
        spacing: Target spacing in mm; overrides the others' where given.
        sample: Reads some of the volumes.
        drawn: Images are drawn from labels: `sample` gives labelmaps, and the model is for scans of any kind.

    Raises:
        UserError: There is no such preset, or the start weights are for another modality and nothing says how its
            scans are to be scaled.
    """
    if initial is None and preset is None:
        modality, planned = plan_preprocessing(sample(), modality or ("MR" if drawn else None), spacing)
        if drawn and modality == "MR":
            planned = replace(planned, intensity=Intensity("robust", *HEAD_WINDOW))
        return modality, planned
    if preset is None and initial is not None:
        initial.check_modality(modality, "Leave out --modality, or say by --preprocessing how scans are scaled.")
        modality, kept = initial.modality, initial.preprocessing
    else:
        modality = modality or (initial.modality if initial is not None else None)
        if isinstance(preset, Preprocessing):
            modality, kept = str(modality), preset
        else:
            chosen = preset_or_file(preset or "", modality)
            modality, kept = chosen.modality, chosen.preprocessing
    return modality, replace(kept, spacing=spacing) if spacing else kept


def plan_preprocessing(
    volumes: Sequence[Volume], modality: str | None, spacing: tuple[float, float, float] | None
) -> tuple[str, Preprocessing]:
    """Choose modality and preprocessing.

    Args:
        volumes: A sample of the data.
        modality: `CT`, `MR`, or None to guess.
        spacing: Target spacing in mm along R, A, S; None for the median of the data, rounded to 0.05 mm.

    Returns:
        The modality and the preprocessing: HU window -175..250 to 0..1 for CT (the paper's BTCV setting), z-score over
        non-zero voxels for MR.
    """
    modality = modality or guess_modality(volumes)
    if spacing is None:
        rows = np.array([_canonical_spacing(volume) for volume in volumes])
        chosen = np.maximum(np.round(np.median(rows, axis=0) / 0.05) * 0.05, 0.05)
        spacing = (round(float(chosen[0]), 4), round(float(chosen[1]), 4), round(float(chosen[2]), 4))
    intensity = Intensity("window", lower=-175.0, upper=250.0) if modality == "CT" else Intensity("zscore")
    return modality, Preprocessing(orientation="RAS", spacing=spacing, intensity=intensity)


def _canonical_spacing(volume: Volume) -> NDArrayRow:
    """Spacing along the axes nearest to R, A, S."""
    return tuple(volume.grid.spacing[axis] for axis in turn_to("RAS", volume.grid).source_axes)


NDArrayRow = tuple[float, ...]


def plan_window(sizes: Sequence[tuple[int, ...]], patch_size: int, largest: int) -> tuple[int, int, int]:
    """A window that covers most volumes, or the largest that is affordable.

    Args:
        sizes: Voxels along x, y, z of the prepared volumes.
        patch_size: The window is a multiple of it.
        largest: Cube root of the most voxels allowed.

    Returns:
        Voxels along x, y, z: the 80th percentile of the sizes rounded up to whole patches, its longest axes
        shortened until the window has at most `largest`^3 voxels.
    """
    wanted = np.percentile(np.array(sizes, float), 80, axis=0)
    window = np.maximum(np.ceil(wanted / patch_size - 1e-6) * patch_size, patch_size)
    while np.prod(window) > largest**3:
        window[int(window.argmax())] -= patch_size
    return int(window[0]), int(window[1]), int(window[2])


def least_window(window: tuple[int, int, int], patch_size: int) -> tuple[int, int, int]:
    """The smallest window that a lack of memory may lead to: half of every edge, but two patches."""
    x, y, z = (min(edge, max(2, -(-edge // (2 * patch_size))) * patch_size) for edge in window)
    return x, y, z


def smaller_window(
    window: tuple[int, int, int], patch_size: int, least: tuple[int, int, int]
) -> tuple[int, int, int] | None:
    """The next smaller window: its longest axes shortened by whole patches to about two thirds of the voxels.

    Args:
        window: Voxels along x, y, z.
        patch_size: Edges stay multiples of it.
        least: Edges that are not gone below.

    Returns:
        None if `window` is as small as `least` already.
    """
    edges, target = np.array(window), np.prod(window) * 2 / 3
    while np.prod(edges) > target and (edges > least).any():
        edges[int(np.where(edges > least, edges, 0).argmax())] -= patch_size
    x, y, z = (int(edge) for edge in edges)
    return None if (x, y, z) == tuple(window) else (x, y, z)
