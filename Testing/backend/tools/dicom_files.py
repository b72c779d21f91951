"""Writes small DICOM series with the faults that real ones have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError

SERIES = "1.2.826.0.1.3680043.8.498.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
NAME = {"0010|0010": "Secret^Patient", "0010|0020": "ID-4711"}
TURNED = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]


def write_slice(
    path: Path,
    pixels: np.ndarray,
    position: Sequence[float],
    number: int,
    axes: Sequence[float] = (1, 0, 0, 0, 1, 0),
    spacing: tuple[float, float] = (0.5, 0.75),
    series: str = SERIES,
    tags: dict[str, str] | None = None,
) -> None:
    """One file: int16 `pixels` (i, j), or float ones stored with the slope and intercept in `tags`."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(pixels.T)[np.newaxis])
    image.SetSpacing((*spacing, 1.0))
    everything = {
        "0008|0016": CT,
        "0008|0018": f"{series}.{number}",
        "0008|0060": "CT",
        "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
        "0018|0050": "9",
        "0020|000d": "1.2.826.0.1.3680043.8.498.9",
        "0020|000e": series,
        "0020|0013": str(number),
        "0020|0032": "\\".join(f"{value:.10g}" for value in position),
        "0020|0037": "\\".join(f"{value:.10g}" for value in axes),
        **(tags or {}),
    }
    direction = np.eye(3)
    direction[:, 0], direction[:, 1] = axes[:3], axes[3:]
    direction[:, 2] = np.cross(direction[:, 0], direction[:, 1])
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin([float(value) for value in position])
    for key, value in everything.items():
        image.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.KeepOriginalImageUIDOn()
    writer.SetFileName(str(path))
    writer.Execute(image)


def write_series(
    folder: Path, volume: np.ndarray, positions: np.ndarray, first: int = 1, prefix: str = "slice", **options: object
) -> None:
    """A series whose slice `volume[:, :, k]` lies at `positions[k]`; file names do not follow the order."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, position in enumerate(positions):
        name = f"{prefix}{(k * 7 + 3) % 101:03d}-{k}.dcm"
        write_slice(folder / name, volume[:, :, k], position, first + k, **options)  # type: ignore[arg-type]


def straight(count: int, distance: float = 2.0) -> np.ndarray:
    """Positions `(count, 3)` straight along z from (-10, 20, 30)."""
    return np.array([[-10.0, 20.0, 30.0 + distance * k] for k in range(count)])


def set_rescale(path: Path, slope: str, intercept: str) -> None:
    """Change slope and intercept in a file (two characters each: ITK itself writes integers with 1 and 0 only)."""
    content = path.read_bytes()
    for element, old, new in ((b"\x53\x10", "1", slope), (b"\x52\x10", "0", intercept)):
        before = b"\x28\x00" + element + b"\x02\x00\x00\x00"
        if before + old.ljust(2).encode() not in content or len(new) > 2:
            raise ValueError(f"{path} has no rescale value {old!r} to become {new!r}")
        content = content.replace(before + old.ljust(2).encode(), before + new.ljust(2).encode())
    path.write_bytes(content)


def refusal(folder: Path, code: str, *words: str, frame: int | None = None) -> UserError:
    """The error that reading raises: with this code, these words, a remedy, and no identifier."""
    with pytest.raises(UserError) as caught:
        read_volume(folder, frame)
    assert caught.value.code == code, caught.value
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint
    assert SERIES not in str(caught.value)
    return caught.value


def oblique_series(folder: Path) -> None:
    """A grey and a bright block, which the tiny model tells apart."""
    array = np.zeros((20, 14, 9), np.int16)
    array[2:9, 3:11, 2:6] = 50
    array[12:18, 5:9, 4:8] = 100
    normal = np.cross(*TURNED[:2])
    positions = np.array([[-10.0, 20.0, 30.0] + 2.5 * k * normal for k in range(9)])
    write_series(folder, array, positions, axes=TURNED[:2].ravel(), tags=NAME)


def by_highdicom(path: Path, grid: Grid, segment_numbers: list[int] | None = None) -> np.ndarray:
    """Voxels of a DICOM segmentation on `grid`: `(i, j, k)` of segment numbers, by the positions in the file."""
    import highdicom

    read = highdicom.seg.segread(path)
    volume = read.get_volume(combine_segments=True, segment_numbers=segment_numbers)
    found = np.zeros(grid.size, int)
    k, j, i = (axis.ravel() for axis in np.indices(volume.array.shape))
    points = np.stack([k, j, i, np.ones_like(i)], axis=1) @ volume.affine.T
    indices = grid.to_index(points[:, :3])
    assert np.abs(indices - np.rint(indices)).max() < 1e-3
    found[tuple(np.rint(indices).astype(int).T)] = volume.array.ravel()
    return found
