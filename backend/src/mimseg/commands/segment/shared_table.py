"""The table of volumes of a run that left out finished cases or shared them with other ranks."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.commands.segment.outputs import Job
from mimseg.commands.segment.volume_table import COLUMNS, StructureVolume, measure, write_table
from mimseg.data.labels.drawn import MARK, Algorithm, mark_of
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.labels.seg_nrrd import Segment
from mimseg.data.labels.structures import Label
from mimseg.data.opening import open_image
from mimseg.data.volume import Grid
from mimseg.data.writers.dicom_seg import LONGEST_NAME
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.formats import format_of

Kept = Callable[[Grid], Sequence[Label]]
Rows = Sequence[StructureVolume]
_MOST_NAMES = 5


@dataclass(frozen=True)
class Measured:
    """Volumes of a case.

    Attributes:
        rows: One for each structure.
        certain: A structure without a row was not asked for. Otherwise it may have been looked for and not found.
    """

    rows: Rows
    certain: bool = True


def tell_others(
    jobs: Sequence[Job], choices: Iterable[Sequence[Label]], algorithm: Algorithm, reporter: Reporter
) -> None:
    """Tell of results that stay although they were not made as this run makes them, or do not say how.

    Args:
        jobs: Finished ones.
        choices: Structures that this run asks for; more than one where it depends on the scan.
        algorithm: The model of this run, and how it is used.
        reporter: Is told.

    Raises:
        UserError: A result cannot be read.
    """
    marks = {mark_of(algorithm, table) for table in choices}
    others = [job.output.name for job in jobs if open_image(job.output).header.metadata.get(MARK) not in marks]
    if others:
        reporter.warning(
            "other-results",
            f"{len(others)} finished results do not say that they were made with {algorithm.name} {algorithm.version} "
            f"for the structures and with the options (such as quick mode and boxes) of this run: {_listed(others)}. "
            "They stay as they are. A table has what is in them, and no row for a structure that they do not show: it "
            "may not have been looked for. Without --resume they are made again.",
        )


def measure_finished(jobs: Sequence[Job], kept: Kept, algorithm: Algorithm) -> dict[Job, Measured]:
    """Volumes of results that are there, from their files: rows of a table may be another scan's of the same name.

    A structure of which a result has no voxel gets its 0 only where the file says that it was looked for.

    Args:
        jobs: Finished ones.
        kept: Structures that this run asks for, by the grid of a case.
        algorithm: The model of this run.

    Raises:
        UserError: A result cannot be read.
    """
    return {job: _measured(job.output, kept, algorithm) for job in jobs}


def add_to_table(path: Path, jobs: Sequence[Job], found: Mapping[Job, Measured], reporter: Reporter) -> None:
    """Put the rows of this process into the table; those of other scans, and of other ranks, stay.

    Every rank adds its rows to those that are there, one rank at a time (`Shares.table_lock`), so the last one leaves
    a complete table: other scans first, then the cases of the run in the order of the inputs.

    A relative path may name another scan than it did in an earlier run. Rows under such a name which say other volumes
    stay, and the reporter is told.

    Args:
        path: The CSV file.
        jobs: All cases of the run, in order.
        found: Volumes of the cases of this process.
        reporter: See there.

    Raises:
        UserError: The table cannot be read or written.
    """
    blocks = read_table(path) if path.exists() else []
    of_jobs = {_key(job.row) for job in jobs}
    table: list[tuple[str, Rows]] = [block for block in blocks if _key(block[0]) not in of_jobs]
    doubted = []
    for job in jobs:
        name = job.row
        there = [block for block in blocks if _key(block[0]) == _key(name)]
        if job not in found:
            table += there
            continue
        rows = found[job].rows
        same = [old for _, old in there if _voxels(old) == _voxels(rows)]
        other = [block for block in there if block[1] not in same and not os.path.isabs(name)]
        doubted += [name] if other else []
        if same and not found[job].certain:
            rows = max(same, key=len)  # What the run that made it says of what it did not find.
        table += [*other, (name, rows)]
    if doubted:
        reporter.warning(
            "same-name-in-table",
            f"{path} has other volumes under the same relative names, which may be those of other scans or of earlier "
            f"results: {_listed(doubted)}. They stay, above the new ones. Absolute paths tell scans apart.",
        )
    write_table(path, table)


def _measured(path: Path, kept: Kept, algorithm: Algorithm) -> Measured:
    """Volumes of a result; segments count by their names, for formats that number them anew or let them overlap."""
    counts: Counter[str] = Counter()
    drawers: set[Algorithm | None] = set()

    def count(layers: NDArray, segments: Sequence[Segment]) -> NDArray:
        for one in segments:
            counts[one.name] += int(np.count_nonzero(layers[one.layer] == one.label_value))
            drawers.add(one.algorithm)
        return np.zeros(layers.shape[1:], np.uint8)

    labels = read_labelmap(path, merge=count)
    table = kept(labels.grid)
    alike = open_image(path).header.metadata.get(MARK) == mark_of(algorithm, table)
    if not drawers:
        rows = measure(labels.array, labels.grid, table)
        return Measured(rows if alike else [row for row in rows if row.voxels], alike)
    voxel_ml = abs(float(np.linalg.det(labels.grid.affine[:3, :3]))) / 1000
    names = _segment_names(table, path)
    told = [
        (label, counts[name])
        for label, name in zip(table, names, strict=True)
        if name in counts or (alike and name)  # A DICOM segmentation holds none but what was found.
    ]
    rows = [StructureVolume(label.name, label.value, voxels, voxels * voxel_ml) for label, voxels in told]
    return Measured(rows, len(rows) == len(table) and (alike or drawers == {algorithm}))


def _segment_names(table: Sequence[Label], path: Path) -> list[str]:
    """As the writer of the format names the segments; empty for structures that it does not tell apart."""
    written = format_of(path)
    longest = LONGEST_NAME if written is not None and written.dicom else None
    names = [" ".join(label.name.split())[:longest] for label in table]
    counted = Counter(names)
    return [name if counted[name] == 1 else "" for name in names]


def read_table(path: Path) -> list[tuple[str, list[StructureVolume]]]:
    """The rows of a table that mimseg wrote, by file, in their order; a structure that comes again begins a new scan.

    Raises:
        UserError: It is no such table.
    """
    blocks: list[tuple[str, list[StructureVolume]]] = []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError("other columns")
            for row in reader:
                volume = StructureVolume(row["label"], int(row["value"]), int(row["voxels"]), float(row["mL"]))
                last = blocks[-1] if blocks else ("", [])
                if last[0] != row["file"] or any(one.value == volume.value for one in last[1]):
                    blocks.append((row["file"], []))
                blocks[-1][1].append(volume)
    except (OSError, ValueError, TypeError, UnicodeError, csv.Error) as fault:
        raise UserError(
            f"{path} is no table of volumes that rows could be added to ({fault}).",
            "Give another name with --table.",
            "bad-output",
        ) from fault
    return blocks


def _key(name: str) -> str:
    """The file that a name means here and now. Foreign bytes count as they are written to the table."""
    return os.path.abspath(name.encode("utf-8", "backslashreplace").decode())


def _voxels(rows: Rows) -> dict[tuple[str, int], int]:
    return {(row.label, row.value): row.voxels for row in rows if row.voxels}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
