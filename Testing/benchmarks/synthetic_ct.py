"""A made-up CT of realistic content, for measuring speed: no patient, but neither zeros nor pure noise.

A body on a table with lungs, liver, spleen, kidneys, spine, ribs, aorta, a smooth texture in each tissue and the noise
of a scanner. What it shows repeats along the body every 450 mm, so that a longer scan holds more of the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

_PERIOD_MM = 450.0
_AIR, _FAT, _MUSCLE = -1000, -100, 50

# Hounsfield units, centre (right, anterior, along the body) and half-axes in mm.
_ORGANS = (
    (-850, (75, 10, 330), (60, 75, 110)),  # lungs
    (-850, (-75, 10, 330), (60, 75, 110)),
    (110, (60, 15, 170), (75, 65, 70)),  # liver
    (120, (-95, -25, 190), (28, 40, 50)),  # spleen
    (180, (60, -50, 90), (28, 25, 55)),  # kidneys
    (180, (-60, -50, 90), (28, 25, 55)),
    (40, (0, 30, 40), (60, 45, 45)),  # bladder and bowel
    (45, (-15, 35, 300), (50, 45, 55)),  # heart
)


def make_ct(size: Sequence[int], spacing: Sequence[float], seed: int = 0) -> NDArray[np.int16]:
    """Hounsfield units `(i, j, k)`, int16; i to the right, j to the front, k along the body.

    Args:
        size: Voxels along i, j, k.
        spacing: Millimetres along i, j, k.
        seed: Of texture and noise.
    """
    random = np.random.default_rng(seed)
    x, y = (((np.arange(n, dtype=np.float32) - (n - 1) / 2) * s) for n, s in zip(size[:2], spacing[:2], strict=True))
    x, y = x[:, None], y[None, :]
    half_width = min(170.0, 0.42 * size[0] * spacing[0])
    half_depth = min(115.0, 0.30 * size[1] * spacing[1])
    shrink = half_width / 170
    volume = np.empty(tuple(size), np.int16)
    texture = _smooth(random, (32, 32, 64))
    noise = random.normal(0, 18, (*size[:2], 8)).astype(np.float32)
    for k in range(size[2]):
        z = (k * spacing[2]) % _PERIOD_MM
        volume[:, :, k] = _slice(x, y, z, half_width, half_depth, shrink, texture) + noise[:, :, (k * 5) % 8]
    return volume


def _slice(
    x: NDArray, y: NDArray, z: float, half_width: float, half_depth: float, shrink: float, texture: NDArray
) -> NDArray[np.float32]:
    radius = (x / half_width) ** 2 + (y / half_depth) ** 2
    values = np.where(radius < 1, np.where(radius < 0.82, _MUSCLE, _FAT), _AIR).astype(np.float32)
    for value, (cx, cy, cz), (ax, ay, az) in _ORGANS:
        height = 1 - ((z - cz) / az) ** 2
        if height > 0:
            inside = ((x / shrink - cx) / ax) ** 2 + ((y / shrink - cy) / ay) ** 2 < height
            values[inside & (radius < 0.82)] = value
    spine = np.hypot(x, y / shrink + 78) < 17 * shrink
    values[spine] = 450 if z % 35 < 27 else 120  # vertebrae and discs
    values[np.hypot(x + 12 * shrink, y + 52 * shrink) < 11 * shrink] = 250  # aorta with contrast
    if z > 220:
        ribs = (radius > 0.84) & (radius < 0.93) & (np.sin(np.arctan2(y, x) * 2 + z / 14) > 0.6)
        values[ribs] = 600
    values[(np.abs(y + half_depth + 14) < 5) & (np.abs(x) < 1.2 * half_width)] = -150  # table
    plane = texture[:, :, int(z / _PERIOD_MM * texture.shape[2])]
    rows = np.linspace(0, plane.shape[0] - 1, x.size).astype(int)
    columns = np.linspace(0, plane.shape[1] - 1, y.size).astype(int)
    return values + np.where(radius < 1, 25, 2) * plane[np.ix_(rows, columns)]


def _smooth(random: np.random.Generator, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Noise without the highest frequencies, of standard deviation 1, periodic along all axes."""
    spectrum = np.fft.rfftn(random.normal(size=shape))
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*(np.fft.fftfreq(n) for n in shape), indexing="ij")))
    smooth = np.fft.irfftn(spectrum * np.exp(-((frequency[..., : spectrum.shape[2]] / 0.15) ** 2)), shape)
    return (smooth / smooth.std()).astype(np.float32)


def write_ct(path: Path, size: Sequence[int], spacing: Sequence[float], seed: int = 0) -> None:
    """Write `make_ct` as an image whose axes are right, anterior, superior."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(make_ct(size, spacing, seed).T))
    image.SetSpacing([float(s) for s in spacing])
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    image.SetOrigin([n * s / 2 for n, s in zip(size[:2], spacing[:2], strict=True)] + [0.0])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=1)
