"""A picture of images that are drawn from label maps: what the network will see of cases without images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.reports.pictures import write_png
from mimseg.training.augmentation import AugmentationSettings
from mimseg.training.crops.cache import TrainingCase
from mimseg.training.crops.draw import draw_crop, generator_for

ROWS, COLUMNS = 2, 4
_EDGE = 192  # pixels of each image


def write_drawn_images(
    path: Path,
    cases: Sequence[TrainingCase],
    window: tuple[int, int, int],
    augmentation: AugmentationSettings,
    seed: int,
) -> bool:
    """Write middle slices of eight drawn crops, each with its own random contrast, as PNG.

    Args:
        path: The picture.
        cases: Of the training; those with images of their own are left out.
        window: Voxels of a crop.
        augmentation: As in training.
        seed: Of the training.

    Returns:
        False if no case is drawn; then nothing is written.

    Raises:
        UserError: The file cannot be written.
    """
    drawn = [case for case in cases if case.source is not None]
    if not drawn:
        return False
    tiles = []
    for number in range(ROWS * COLUMNS):
        generator = generator_for(seed, 3, number)
        image, _ = draw_crop(drawn[number % len(drawn)], window, augmentation, 1.0, generator)
        tiles.append(_tile(image[0].numpy(), number % 3))
    rows = [np.concatenate(tiles[start : start + COLUMNS], axis=1) for start in range(0, len(tiles), COLUMNS)]
    write_png(path, np.repeat(np.concatenate(rows)[..., None], 3, axis=2))
    return True


def _tile(image: NDArray[np.float32], axis: int) -> NDArray[np.uint8]:
    """The middle slice across one axis, front or top upwards, as a square of grey pixels."""
    plane = np.take(image, image.shape[axis] // 2, axis=axis).T[::-1]
    low, high = np.percentile(plane, (1, 99))
    grey = np.clip((plane - low) / max(float(high - low), 1e-6), 0, 1) * 255
    scale = _EDGE / max(grey.shape)
    rows, columns = (np.minimum((np.arange(round(n * scale)) / scale).astype(int), n - 1) for n in grey.shape)
    tile = np.zeros((_EDGE, _EDGE), np.uint8)
    top, left = (_EDGE - len(rows)) // 2, (_EDGE - len(columns)) // 2
    tile[top : top + len(rows), left : left + len(columns)] = grey[np.ix_(rows, columns)].astype(np.uint8)
    return tile
