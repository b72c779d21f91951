"""The table of volumes of a run that left out finished cases or shared them with other ranks."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mimseg.commands.segment.outputs import Job
from mimseg.commands.segment.volume_table import COLUMNS, StructureVolume, measure, write_table
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid
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
            labels = read_labelmap(job.output)
            rows[str(job.inputs[0])] = measure(labels.array, labels.grid, kept(labels.grid))
    names = [str(job.inputs[0]) for job in jobs]
    write_table(path, [(name, rows[name]) for name in names if name in rows])


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
