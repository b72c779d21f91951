"""The table of volumes of a run that left out finished cases or shared them with other ranks."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.commands.segment.outputs import Job
from mimseg.commands.segment.volume_table import COLUMNS, StructureVolume, measure, write_table
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.labels.seg_nrrd import Segment
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid
from mimseg.data.writers.dicom_seg import LONGEST_NAME
from mimseg.errors import UserError


def add_to_table(
    path: Path,
    jobs: Sequence[Job],
    own: Mapping[Job, Sequence[StructureVolume]],
    finished_before: Sequence[Job],
    kept: Callable[[Grid], Sequence[Label]],
) -> None:
    """Put the rows of this process into the table, which other ranks write, too.

    Every rank adds its rows to those that are there, one rank at a time (`Shares.table_lock`), so the last one leaves
    a complete table in the order of the inputs. Rows of cases that were finished before the run and are missing are
    measured from their results.

    Args:
        path: The CSV file.
        jobs: All cases of the run, in order.
        own: Volumes of the cases of this process.
        finished_before: Cases that were left as they were.
        kept: Structures of a case, by its grid.

    Raises:
        UserError: The table or a result cannot be read or written.
    """
    rows: dict[str, Sequence[StructureVolume]] = dict(read_table(path)) if path.exists() else {}
    rows.update({str(job.inputs[0]): volumes for job, volumes in own.items()})
    for job in finished_before:
        if str(job.inputs[0]) not in rows:
            rows[str(job.inputs[0])] = _measured(job.output, kept)
    names = [str(job.inputs[0]) for job in jobs]
    write_table(path, [(name, rows[name]) for name in names if name in rows])


def _measured(path: Path, kept: Callable[[Grid], Sequence[Label]]) -> list[StructureVolume]:
    """Volumes of a result; segments count by their names, for formats that number them anew or let them overlap."""
    counts: dict[str, int] = {}

    def count(layers: NDArray, segments: Sequence[Segment]) -> NDArray:
        for one in segments:
            counts[one.name] = int(np.count_nonzero(layers[one.layer] == one.label_value))
        return np.zeros(layers.shape[1:], np.uint8)

    labels = read_labelmap(path, merge=count)
    table = kept(labels.grid)
    if not counts:
        return measure(labels.array, labels.grid, table)
    voxel_ml = abs(float(np.linalg.det(labels.grid.affine[:3, :3]))) / 1000
    found = {label: counts.get(" ".join(label.name.split())[:LONGEST_NAME], 0) for label in table}
    return [StructureVolume(label.name, label.value, n, n * voxel_ml) for label, n in found.items()]


def read_table(path: Path) -> dict[str, list[StructureVolume]]:
    """The rows of a table that mimseg wrote, by file.

    Raises:
        UserError: It is no such table.
    """
    rows: dict[str, list[StructureVolume]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError("other columns")
            for row in reader:
                volume = StructureVolume(row["label"], int(row["value"]), int(row["voxels"]), float(row["mL"]))
                rows.setdefault(row["file"], []).append(volume)
    except (OSError, ValueError, TypeError, UnicodeError, csv.Error) as fault:
        raise UserError(
            f"{path} is no table of volumes that rows could be added to ({fault}).",
            "Give another name with --table.",
            "bad-output",
        ) from fault
    return rows
