"""The volume every part of the package passes around: voxels plus the grid they lie on.

Axis order is the same everywhere in `mimseg`: arrays are indexed `(i, j, k)` like the file's own axes
(i fastest in ITK and NIfTI), with a leading channel axis where a function says so. Physical
coordinates are millimetres in the DICOM/ITK convention LPS (x to the left, y to the back, z up).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mimseg.data.source import Source


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume lie.

    Attributes:
        size: Number of voxels along i, j, k.
        spacing: Distance between voxel centres along i, j, k in mm.
        origin: Centre of voxel (0, 0, 0) in mm, LPS.
        direction: 3x3; column a is the unit vector of axis a in LPS.
        source: What the file said beyond this; None for grids that were computed.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: NDArray[np.float64] = field(default_factory=lambda: np.eye(3))
    source: Source | None = field(default=None, compare=False, repr=False)

    @property
    def affine(self) -> NDArray[np.float64]:
        """4x4 matrix from voxel index (i, j, k, 1) to LPS millimetres."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction, float) * np.asarray(self.spacing, float)
        matrix[:3, 3] = self.origin
        return matrix

    def to_index(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Continuous voxel indices `(N, 3)` of LPS points `(N, 3)` in mm."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points, float) @ inverse[:3, :3].T + inverse[:3, 3]

    def to_point(self, indices: NDArray[np.float64]) -> NDArray[np.float64]:
        """LPS points `(N, 3)` in mm of continuous voxel indices `(N, 3)`."""
        return np.asarray(indices, float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def same_as(self, other: Grid, tolerance: float = 1e-3) -> bool:
        """True if size is equal and no corner lies further apart than `tolerance` of the smallest voxel edge."""
        if self.size != other.size:
            return False
        return self.apart_from(other) <= tolerance * min(self.spacing) * max(1.0, float(np.sqrt(max(self.size))))

    def apart_from(self, other: Grid) -> float:
        """How far in mm a corner of this grid lies from the same corner of another, at most along one axis of space."""
        corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
        own = self.to_point(corners * (np.asarray(self.size, float) - 1))
        return float(np.abs(own - other.to_point(corners * (np.asarray(other.size, float) - 1))).max())


@dataclass(frozen=True)
class Volume:
    """Voxels on a grid.

    Attributes:
        array: `(i, j, k)` for one channel or a labelmap; `(C, i, j, k)` for several channels.
        grid: Where the voxels lie.
    """

    array: NDArray
    grid: Grid

    def __post_init__(self) -> None:
        if tuple(self.array.shape[-3:]) != tuple(self.grid.size):
            raise ValueError(f"array of shape {self.array.shape} does not fit a grid of size {self.grid.size}")
