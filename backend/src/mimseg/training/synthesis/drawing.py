"""Images of label maps: crops for training, whole volumes for validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mimseg.data.intensity import Intensity
from mimseg.training.augmentation import sample, sample_labels
from mimseg.training.synthesis.contrasts import Contrast, Look, draw_look
from mimseg.training.synthesis.effects import (
    apply_bias,
    apply_gamma,
    apply_resolution,
    field_of_view,
    smooth_field,
)

# Grey 0..1 becomes 0..1000 where the model scales each scan by itself.
_UNITS = 1000.0


@dataclass(frozen=True)
class LabelSource:
    """A label map that images are drawn from.

    Attributes:
        indices: `(I, J, K)` uint8 on a grid `factor` times finer than the working grid: which of `values`.
        factor: Fine voxels along the edge of a working voxel: finer labels make partial volume at borders.
        spacing: Of the working grid, mm.
        values: Label value of each index, 0 first.
        classes: Class of each index; 0 is not to be segmented but makes image.
        fine_classes: `(I, J, K)` uint8, `classes` at `indices`.
        partners: The right-hand value of a left-hand one: both look the same.
        contrasts: Kinds of scans to imitate, beside random ones.
        stripped: Values that skull-stripping may take away.
        intensity: How the model scales its input.
    """

    indices: Tensor
    factor: int
    spacing: tuple[float, float, float]
    values: tuple[int, ...]
    classes: tuple[int, ...]
    fine_classes: Tensor
    partners: Mapping[int, int]
    contrasts: Sequence[Contrast]
    stripped: Sequence[int]
    intensity: Intensity

    def draw_look(self, generator: torch.Generator) -> Look:
        """What the classes look like in one image."""
        return draw_look(self.values, self.classes, self.partners, self.contrasts, self.stripped, generator)


def draw(source: LabelSource, points: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One crop: image `(1, X, Y, Z)`, scaled as the model's input is, and classes `(1, X, Y, Z)` float.

    Args:
        source: The label map.
        points: `(X, Y, Z, 3)` continuous voxel indices on the working grid.
        generator: On the CPU; decides everything.
    """
    look = source.draw_look(generator)
    fine = (points + 0.5) * source.factor - 0.5
    index = _nearest(source.indices, fine)
    image = _mean_image(source, look, points)
    image = _as_scanned(image, index, look, source.spacing, generator)
    classes = sample_labels(source.fine_classes, fine)
    gone = look.cleared[index.long()]
    inside = field_of_view(image.shape, generator)
    if inside is not None:
        gone |= ~inside
    image[gone] = 0
    classes[0][gone] = 0
    scaled = _scale(image, source.intensity)
    # Statistics of a crop are not those of a scan.
    gain, shift = (torch.rand(2, generator=generator) - 0.5).tolist()
    return scaled * (1 + 0.4 * gain) + 0.2 * shift * float(scaled.std()), classes


def draw_volume(
    source: LabelSource, indices: NDArray[np.uint8], spacing: tuple[float, float, float], seed: int
) -> NDArray[np.float32]:
    """The image of a whole label map, in the units of a scan.

    Args:
        source: For values, classes and looks.
        indices: `(i, j, k)` which of the source's values, on the grid that the image is to have.
        spacing: Of that grid, mm.
        seed: Decides everything.
    """
    generator = torch.Generator().manual_seed(seed)
    look = source.draw_look(generator)
    index = torch.from_numpy(np.ascontiguousarray(indices))
    image = torch.from_numpy(look.mean.numpy()[indices])
    image = _as_scanned(image, index, look, spacing, generator)
    image[torch.from_numpy(look.cleared.numpy()[indices])] = 0
    return _in_units(image, source.intensity).numpy()


def _mean_image(source: LabelSource, look: Look, points: Tensor) -> Tensor:
    """Each voxel's mean grey value with partial volume, read at `points`."""
    factor = source.factor
    flat = points.reshape(-1, 3)
    size = torch.tensor(source.indices.shape) // factor
    low = torch.minimum(flat.amin(0).floor().long().clamp_min(0), size - 1)
    high = torch.minimum(torch.maximum(flat.amax(0).ceil().long() + 1, low + 1), size)
    cut = tuple(slice(int(a) * factor, int(b) * factor) for a, b in zip(low, high, strict=True))
    # One value is taken off before and added after: outside of the map `sample` reads 0, which must mean background.
    table = (look.mean - look.mean[0]).numpy()
    grey = torch.from_numpy(table[source.indices[cut].numpy()])[None]
    if factor > 1:
        grey = functional.avg_pool3d(grey, factor)
    return sample(grey, points - low, "bilinear")[0] + look.mean[0]


def _nearest(indices: Tensor, points: Tensor) -> Tensor:
    """Value of `indices` at the voxel nearest to each point; 0 outside."""
    size = torch.tensor(indices.shape)
    steps = torch.tensor([indices.shape[1] * indices.shape[2], indices.shape[2], 1])
    places = points.round().long()
    inside = ((places >= 0) & (places < size)).all(-1)
    places = torch.minimum(places.clamp_min(0), size - 1)
    return indices.reshape(-1)[(places * steps).sum(-1)] * inside


def _as_scanned(
    image: Tensor, index: Tensor, look: Look, spacing: Sequence[float], generator: torch.Generator
) -> Tensor:
    """From mean grey values `(X, Y, Z)` to what a scanner would show of them."""
    where = index.numpy()
    image = image + torch.randn(image.shape, generator=generator) * torch.from_numpy(look.deviation.numpy()[where])
    if float(look.texture.max()) > 0:
        knots = 4 + int(torch.randint(12, (), generator=generator))
        image = image + smooth_field(image.shape, knots, generator) * torch.from_numpy(look.texture.numpy()[where])
    image = apply_bias(image, generator)
    image = apply_resolution(image, spacing, generator)
    noise = 0.06 * float(torch.rand((), generator=generator)) ** 2
    image = (image + noise * torch.randn(image.shape, generator=generator)).abs()
    return apply_gamma(image, generator)


def _in_units(image: Tensor, intensity: Intensity) -> Tensor:
    """Grey 0..1 as the values that a scan of the model's kind has."""
    if intensity.kind in ("window", "percentile"):
        return intensity.lower + image * (intensity.upper - intensity.lower)
    return image * _UNITS


def _scale(image: Tensor, intensity: Intensity) -> Tensor:
    array = _in_units(image, intensity).numpy()[None]
    intensity.scale(array)
    return torch.from_numpy(array)
