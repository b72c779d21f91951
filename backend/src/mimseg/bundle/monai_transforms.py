"""What MONAI lacks to compute the same as `mimseg segment`; named in `configs/inference.json`. Needs monai."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing, zoom_affine
from monai.transforms import MapTransform

from mimseg.data.intensity import Intensity
from mimseg.data.labels.connected import keep_main_piece


class SquareAxesd(MapTransform):
    """Make the axes of an image exactly perpendicular.

    The float32 header of an oblique NIfTI file leaves them skewed by 1e-7. Spacingd keeps the first voxel in its
    place only if they are perpendicular to 1e-8, and otherwise moves its grid by a fraction of a voxel (MONAI 1.6.1,
    `monai.data.utils.compute_shape_offset`).

    Args:
        keys: Images, MetaTensors `(C, i, j, k)`.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict[Hashable, MetaTensor]:
        """The data with images whose affine has perpendicular axes of the same lengths and the same origin."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = changed[key]
            affine = np.asarray(image.affine, np.float64)
            squared = zoom_affine(affine, affine_to_spacing(affine), diagonal=False)
            squared[:3, 3] = affine[:3, 3]
            changed[key] = MetaTensor(image, torch.as_tensor(squared), image.meta, image.applied_operations)
        return changed


class RobustIntensityd(MapTransform):
    """Scale scans of any kind as `mimseg.data.intensity.Intensity` of the kind `robust` does.

    Args:
        keys: Images `(C, x, y, z)`.
        lower: Of the window for scans with air in HU.
        upper: Likewise.
    """

    def __init__(self, keys: KeysCollection, lower: float, upper: float) -> None:
        super().__init__(keys)
        self._intensity = Intensity("robust", lower, upper)

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict[Hashable, MetaTensor]:
        """The data with scaled images."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            image = changed[key]
            array = image.numpy().astype(np.float32)
            self._intensity.scale(array)
            changed[key] = MetaTensor(torch.from_numpy(array), image.affine, image.meta, image.applied_operations)
        return changed


class SmallestStructured(MapTransform):
    """From independent probabilities to one labelmap, as `mimseg.data.preprocessing.restore` does it.

    Args:
        keys: Probabilities `(K, i, j, k)`; they become classes `(1, i, j, k)`: 0, or k for channel k - 1. A voxel above
            0.5 in several channels gets the one with the fewest such voxels.
    """

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict[Hashable, MetaTensor]:
        """The data with classes in place of probabilities."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            inside = changed[key] > 0.5
            sizes = inside.flatten(1).sum(dim=1).tolist()
            labels = MetaTensor(torch.zeros_like(changed[key][:1]), meta=changed[key].meta)
            for channel in sorted(range(len(sizes)), key=lambda channel: -sizes[channel]):
                labels[0][inside[channel]] = channel + 1
            changed[key] = labels
        return changed


class KeepMainPieced(MapTransform):
    """Drop what hangs nowhere on the largest piece of some classes, as `mimseg.data.labels.connected` does it.

    MONAI's KeepLargestConnectedComponentd needs scikit-image, and drops what a scan's border cuts off.

    Args:
        keys: Classes `(1, i, j, k)`.
        group: Classes that together are one piece.
    """

    def __init__(self, keys: KeysCollection, group: Sequence[int]) -> None:
        super().__init__(keys)
        self._group = list(group)

    def __call__(self, data: Mapping[Hashable, MetaTensor]) -> dict[Hashable, MetaTensor]:
        """The data with fewer labelled voxels."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            labels = changed[key]
            classes = labels[0].numpy().astype(np.uint16)
            keep_main_piece(classes, self._group)
            kept = torch.from_numpy(classes.astype(np.int32)).to(labels.dtype)[None]
            changed[key] = MetaTensor(kept, labels.affine, labels.meta, labels.applied_operations)
        return changed
