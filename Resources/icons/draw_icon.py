"""Draw the icon: an axial slice of a head of which half of the patches are masked, with a segmented structure.

Needs numpy only: `python draw_icon.py` writes MIMSegment.png (128 x 128, transparent corners) beside this script.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

SIZE, OVERSAMPLING = 128, 8
BACKGROUND, SKULL, BRAIN, VENTRICLE = (24, 34, 52), (226, 230, 236), (122, 132, 148), (52, 62, 82)
MASK, LEFT, RIGHT = (58, 72, 104), (255, 176, 59), (64, 196, 170)
# Column and row of the masked patches, counted from the upper left in units of PATCH pixels.
PATCH = 16
MASKED = ((2, 1), (5, 1), (3, 2), (6, 2), (1, 3), (4, 3), (2, 5), (5, 5), (6, 4), (3, 6), (1, 4))


def main() -> None:
    """Draw at eight times the size, average down and write the file."""
    count = SIZE * OVERSAMPLING
    y, x = (np.mgrid[:count, :count] + 0.5) / OVERSAMPLING
    image = np.zeros((count, count, 4))
    paint(image, rounded_square(x, y, margin=2, radius=24), BACKGROUND)
    paint(image, ellipse(x, y, 64, 64, 49, 57), SKULL)
    brain = ellipse(x, y, 64, 64, 45, 53)
    paint(image, brain, BRAIN)
    for side in (-1, 1):
        paint(image, ellipse(x, y, 64 + side * 6, 44, 3.5, 13), VENTRICLE)
    for column, row in MASKED:
        inside = (abs(x - (column + 0.5) * PATCH) < PATCH / 2 - 1) & (abs(y - (row + 0.5) * PATCH) < PATCH / 2 - 1)
        paint(image, inside & brain, MASK)
    for side, colour in ((-1, LEFT), (1, RIGHT)):
        paint(image, crescent(x, y, side), colour)
    pixels = downsample(image)
    Path(__file__).with_name("MIMSegment.png").write_bytes(png(pixels))


def paint(image: np.ndarray, inside: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Fill the pixels inside with an opaque colour."""
    image[inside] = (*colour, 255)


def ellipse(x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """Return which points lie in an axis-aligned ellipse."""
    return ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1


def crescent(x: np.ndarray, y: np.ndarray, side: int) -> np.ndarray:
    """Return a curved band, as a hippocampus looks from above, on the left (-1) or right (1)."""
    angle = np.arctan2(y - 74, side * (x - 64))
    radius = np.hypot(x - 64, y - 74)
    middle, half_width = 23 - 4 * np.cos(2 * angle), 7.5 - 4.5 * np.clip((angle + 0.9) / 1.9, 0, 1)
    return (abs(radius - middle) < half_width) & (abs(angle - 0.05) < 0.95) & (side * (x - 64) > 0)


def rounded_square(x: np.ndarray, y: np.ndarray, margin: float, radius: float) -> np.ndarray:
    """Return which points lie in a centred square with round corners."""
    half = SIZE / 2 - margin - radius
    dx, dy = np.maximum(abs(x - SIZE / 2) - half, 0), np.maximum(abs(y - SIZE / 2) - half, 0)
    return np.hypot(dx, dy) < radius


def downsample(image: np.ndarray) -> np.ndarray:
    """Average blocks of pixels, colours weighted by opacity; returns (SIZE, SIZE, 4) uint8."""
    blocks = image.reshape(SIZE, OVERSAMPLING, SIZE, OVERSAMPLING, 4)
    alpha = blocks[..., 3:].mean(axis=(1, 3))
    colour = (blocks[..., :3] * blocks[..., 3:]).mean(axis=(1, 3)) / np.maximum(alpha, 1e-6)
    return np.concatenate([colour, alpha], axis=-1).round().astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Encode (rows, columns, 4) uint8 as PNG."""
    rows, columns, _ = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


if __name__ == "__main__":
    main()
