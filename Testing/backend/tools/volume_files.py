"""Small volumes to write, random grids, and the refusals that reading raises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import strategies as st

from mimseg.data.images import image_of
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError

SIZE = (7, 6, 5)
GRID = Grid(SIZE, (0.7, 1.1, 3.0), (-11.5, 20.25, 30.0))


def write(path: Path, array: np.ndarray, grid: Grid = GRID, compress: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(array, grid), str(path), compress)
    return path


def grid_of_itk(source: Path | sitk.Image) -> Grid:
    """Where ITK, and so 3D Slicer, puts a file or an image."""
    image = source if isinstance(source, sitk.Image) else sitk.ReadImage(str(source))
    return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), np.array(image.GetDirection()).reshape(3, 3))


def ramp(dtype: type = np.int16) -> np.ndarray:
    return np.arange(np.prod(SIZE), dtype=dtype).reshape(SIZE)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Oblique, anisotropic, flipped, permuted, far from the origin."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    direction = np.linalg.qr(rng.normal(size=(3, 3)))[0] if draw(st.booleans()) else np.eye(3)
    direction = direction[:, draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    spacing = draw(st.tuples(*[st.floats(0.05, 12.0)] * 3))
    origin = draw(st.tuples(*[st.floats(-1500.0, 1500.0)] * 3))
    size = draw(st.tuples(*[st.integers(2, 9)] * 3))
    return Grid(size, spacing, origin, direction)


def apart_mm(first: Grid, second: Grid) -> float:
    """Largest distance between the same corner of two grids."""
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * (np.array(first.size) - 1)
    return float(np.abs(first.to_point(corners) - second.to_point(corners)).max())


def refusal(path: Path, code: str, *words: str, frame: int | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        read_volume(path, frame)
    assert caught.value.code == code, caught.value
    assert path.name in caught.value.message
    assert caught.value.hint
    for word in words:
        assert word in str(caught.value)
    return caught.value
