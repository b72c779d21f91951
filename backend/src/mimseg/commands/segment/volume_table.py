"""Volumes of the structures, and their table as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.bundle.checked_folder import refuse_inside_model
from mimseg.data.labels.drawn import Overlapping
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid
from mimseg.errors import UserError
from mimseg.files import write_text
from mimseg.reports.targets import refuse_foreign

COLUMNS = ("file", "label", "value", "voxels", "mL")


@dataclass(frozen=True)
class StructureVolume:
    """How large a structure is.

    Attributes:
        label: Its name.
        value: Its value in the labelmap.
        voxels: Number of voxels.
        ml: Volume in mL.
    """

    label: str
    value: int
    voxels: int
    ml: float


def measure(labels: NDArray[np.integer], grid: Grid, table: Sequence[Label]) -> list[StructureVolume]:
    """Volume of each structure of `table` in `labels` `(i, j, k)`; a voxel counts with its whole extent."""
    counts = np.zeros(max(label.value for label in table) + 1, np.int64)
    for plane in labels:  # Plane by plane: bincount turns its input into 64-bit integers.
        counts += np.bincount(plane.ravel(), minlength=counts.size)[: counts.size]
    voxel_ml = abs(float(np.linalg.det(grid.affine[:3, :3]))) / 1000
    return [
        StructureVolume(label.name, label.value, int(counts[label.value]), float(counts[label.value] * voxel_ml))
        for label in table
    ]


def measure_overlapping(overlapping: Overlapping, grid: Grid, table: Sequence[Label]) -> list[StructureVolume]:
    """Volume of each structure of `table`; a voxel counts in every structure that it belongs to."""
    counts = {label.value: int(np.count_nonzero(overlapping.of(label.value))) for label in table}
    voxel_ml = abs(float(np.linalg.det(grid.affine[:3, :3]))) / 1000
    return [
        StructureVolume(label.name, label.value, counts[label.value], counts[label.value] * voxel_ml) for label in table
    ]


def check_table(path: Path | None) -> None:
    """Raise UserError if a table cannot have that name, or another file has it; refused before the work, not after."""
    if path is None:
        return
    if path.suffix.lower() != ".csv" or path.is_dir():
        raise UserError(f"The table {path} is not a CSV file.", "Let it end in .csv.", code="bad-output")
    refuse_inside_model(path)
    refuse_foreign([path], COLUMNS)


def write_table(path: Path, rows: Sequence[tuple[str, Sequence[StructureVolume]]]) -> None:
    """Write one line for each case and structure as CSV (UTF-8); the file appears complete or not at all.

    Args:
        path: The table.
        rows: File and volumes of each case.

    Raises:
        UserError: The file cannot be written.
    """
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for file, volumes in rows:
        writer.writerows((file, v.label, v.value, v.voxels, f"{v.ml:.4f}") for v in volumes)
    write_text(path, table.getvalue())
