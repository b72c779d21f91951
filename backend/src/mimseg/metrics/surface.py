"""Distances between the surfaces of two masks, in mm.

The surface of a mask is the set of its voxels with at least one of the six face neighbours outside
the mask; what lies beyond the image counts as outside. Distances go from the centre of each surface
voxel of one mask to the nearest centre of a surface voxel of the other, and anisotropic spacing is
respected. These are the conventions of `monai.metrics` (`compute_hausdorff_distance` with
`percentile=95`, `compute_surface_dice` without subvoxels), with which the results agree but for one
case: if only one mask is empty, HD95 is infinite here and NaN there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two surfaces.

    Attributes:
        to_reference: `(N,)` mm, from each surface voxel of the prediction to the reference's surface.
        to_prediction: `(M,)` mm, from each surface voxel of the reference to the prediction's surface.
            Where the other mask is empty the distances are infinite.
    """

    to_reference: NDArray[np.float32]
    to_prediction: NDArray[np.float32]

    def hd95_mm(self) -> float:
        """Larger of the two directed 95th percentiles in mm.

        NaN if both masks are empty, infinite if one is.
        """
        directed = [d for d in (self.to_reference, self.to_prediction) if d.size]
        if not directed:
            return math.nan
        if not all(np.isfinite(distances).all() for distances in directed):
            return math.inf
        return max(float(np.percentile(distances, 95)) for distances in directed)

    def surface_dice(self, tolerance_mm: float = 1.0) -> float:
        """Share of both surfaces' voxels that lie within `tolerance_mm` of the other surface.

        The normalised surface distance of Nikolov et al., arXiv:1809.04430, counted in voxels.
        NaN if both masks are empty, 0 if one is.
        """
        total = self.to_reference.size + self.to_prediction.size
        if not total:
            return math.nan
        # ITK's distances are exact to about a millionth: one that equals the tolerance must not fail by rounding.
        limit = tolerance_mm + 1e-5 * (1 + tolerance_mm)
        within = np.count_nonzero(self.to_reference <= limit) + np.count_nonzero(self.to_prediction <= limit)
        return float(within / total)


def surface_distances(
    predicted: NDArray[np.bool_], reference: NDArray[np.bool_], spacing: tuple[float, float, float]
) -> SurfaceDistances:
    """Distances between the surfaces of two masks.

    Args:
        predicted: `(i, j, k)` mask.
        reference: `(i, j, k)` mask of the same shape.
        spacing: Voxel edges along i, j, k in mm.

    Raises:
        ValueError: The shapes differ.
    """
    if predicted.shape != reference.shape:
        raise ValueError(f"masks of shapes {predicted.shape} and {reference.shape} cannot be compared")
    box = _bounding_box(predicted, reference)
    if box is None:
        return SurfaceDistances(np.zeros(0, np.float32), np.zeros(0, np.float32))
    # One empty voxel around: ITK takes no object border at the image's edge, and ours is one.
    surfaces = [surface(np.pad(np.asarray(mask[box], bool), 1)) for mask in (predicted, reference)]
    return SurfaceDistances(
        _distances_to(surfaces[1], spacing, at=surfaces[0]), _distances_to(surfaces[0], spacing, at=surfaces[1])
    )


def surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of `mask` with a face neighbour outside it; beyond the array is outside."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        first, last = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
        first[axis], last[axis] = slice(None, -1), slice(1, None)
        inner[tuple(first)] &= mask[tuple(last)]
        inner[tuple(last)] &= mask[tuple(first)]
        for edge in (0, -1):
            at_edge = [slice(None)] * mask.ndim
            at_edge[axis] = edge  # type: ignore[call-overload]
            inner[tuple(at_edge)] = False
    return mask & ~inner


def _bounding_box(predicted: NDArray[np.bool_], reference: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    box = []
    for axis in range(predicted.ndim):
        others = tuple(other for other in range(predicted.ndim) if other != axis)
        filled = np.flatnonzero(predicted.any(axis=others) | reference.any(axis=others))
        if not filled.size:
            return None
        box.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return tuple(box)


def _distances_to(
    target: NDArray[np.bool_], spacing: tuple[float, float, float], at: NDArray[np.bool_]
) -> NDArray[np.float32]:
    if not target.any():
        return np.full(np.count_nonzero(at), np.inf, np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(target.T).view(np.uint8))
    image.SetSpacing([float(edge) for edge in spacing])
    distances = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.abs(sitk.GetArrayViewFromImage(distances)[at.T])
