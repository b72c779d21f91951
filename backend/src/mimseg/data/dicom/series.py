"""Which slices of a DICOM folder make one volume: series, orientations, frames."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mimseg.data.dicom.headers import FRAME_TAGS, Slice
from mimseg.errors import UserError

_SAME_PLACE_MM = 0.01


def choose_series(slices: Sequence[Slice], folder: Path) -> list[Slice]:
    """All slices, if they are one series, or several on one grid (each a time point of a 4D scan).

    Files that are copies of each other count once: those of one SOP Instance UID at one place and time. The UID alone
    does not tell, for some anonymisers give all files the same.

    Raises:
        UserError: Several series, sizes, pixel spacings or orientations.
    """
    slices = list({_identity(part): part for part in slices}.values())
    series: dict[str, list[Slice]] = defaultdict(list)
    for part in slices:
        series[part.series].append(part)
    if len(series) > 1 and not _on_one_grid(list(series.values())):
        found = sorted(series.values(), key=len, reverse=True)
        listed = ", ".join(f"{len(group)} {group[0].modality or 'unknown'}" for group in found[:8])
        more = ", ..." if len(found) > 8 else ""
        raise UserError(
            f"{folder} holds {len(found)} DICOM series (images in each: {listed}{more}).",
            "Put each series in a folder of its own and give one of them.",
            "dicom-several-series",
        )
    _refuse_mixtures(slices, folder)
    return slices


def _identity(part: Slice) -> tuple:
    if not part.instance:
        return (str(part.path),)
    return (part.instance, part.series, *part.position.tolist(), part.number, *sorted(part.frame_tags.items()))


def _on_one_grid(groups: list[list[Slice]]) -> bool:
    """True if every series has its slices where the first one has them."""
    if len({len(group) for group in groups}) > 1 or len(groups[0]) < 2:
        return False
    if len({(part.size, part.modality) for group in groups for part in group}) > 1:
        return False
    rows = [np.stack([np.concatenate([part.position, part.axes.ravel()]) for part in group]) for group in groups]
    normal = groups[0][0].normal
    rows = [row[np.argsort(row[:, :3] @ normal)] for row in rows]
    return all(np.abs(row - rows[0]).max() <= _SAME_PLACE_MM for row in rows)


def _refuse_mixtures(slices: list[Slice], folder: Path) -> None:
    directions: list[tuple[np.ndarray, int]] = []
    for part in slices:
        for index, (axes, count) in enumerate(directions):
            if np.abs(axes - part.axes).max() < 0.01:
                directions[index] = (axes, count + 1)
                break
        else:
            directions.append((part.axes, 1))
    if len(directions) > 1:
        counts = ", ".join(str(count) for _, count in directions[:8])
        raise UserError(
            f"{folder} holds slices of {len(directions)} orientations ({counts} slices), as localizers have.",
            "Give a series whose slices are parallel.",
            "dicom-several-orientations",
        )
    shapes = Counter((*part.size, *(round(value, 4) for value in part.spacing)) for part in slices)
    if len(shapes) > 1:
        listed = ", ".join(
            f"{count} of {i}x{j} pixels of {a:g}x{b:g} mm" for (i, j, a, b), count in shapes.most_common(5)
        )
        raise UserError(
            f"{folder} holds slices of different sizes ({listed}).",
            "Remove those that do not belong to the series.",
            "dicom-several-sizes",
        )


def choose_frame(slices: Sequence[Slice], folder: Path, frame: int | None) -> list[Slice]:
    """The slices of one frame, sorted along the normal.

    Frames are told apart by the first of: series, `FRAME_TAGS`, that takes the same values at every
    position; else by the order of InstanceNumber at each position.

    Raises:
        UserError: Several frames and `frame` is None, no such frame, or some positions have more slices than others.
    """
    places = _places(slices)
    counts = Counter(len(place) for place in places)
    frames = max(counts)
    if len(counts) > 1:
        listed = ", ".join(f"{number} positions with {count}" for count, number in sorted(counts.items()))
        raise UserError(
            f"{folder} has several slices at one place, and not equally many everywhere ({listed}).",
            "Slices are missing or several scans are mixed: export one complete series.",
            "dicom-uneven-frames",
        )
    if frames == 1:
        if frame not in (None, 0):
            raise UserError(f"{folder} has no frame {frame}: it holds 1.", "Leave --frame out.", "no-such-frame")
        return [place[0] for place in places]
    order, differ_by = _frame_order(places, folder)
    if frame is None:
        raise UserError(
            f"{folder} holds {frames} volumes of {len(places)} slices (they differ by {differ_by}).",
            f"Choose one with --frame 0 to --frame {frames - 1}.",
            "needs-frame",
        )
    if not 0 <= frame < frames:
        raise UserError(
            f"{folder} has no frame {frame}: it holds {frames}.", f"Choose one from 0 to {frames - 1}.", "no-such-frame"
        )
    return [sorted(place, key=order)[frame] for place in places]


def _places(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices grouped by their position along the common normal, in ascending order."""
    normal = slices[0].normal
    ordered = sorted(slices, key=lambda part: float(part.position @ normal))
    places: list[list[Slice]] = []
    last = -np.inf
    for part in ordered:
        along = float(part.position @ normal)
        if along - last > _SAME_PLACE_MM:
            places.append([])
            last = along
        places[-1].append(part)
    return places


def _frame_order(places: list[list[Slice]], folder: Path) -> tuple[Callable[[Slice], tuple], str]:
    """Sorting key of the frames at each place, and the name of what they differ by."""
    every = [part for place in places for part in place]
    started: dict[str, tuple] = {}
    for part in every:
        tags = part.frame_tags
        begin = (_sortable(tags.get("AcquisitionTime", "")), _sortable(tags.get("AcquisitionNumber", "")))
        started[part.series] = min(started.get(part.series, begin), begin)
    candidates: list[tuple[str, Callable[[Slice], tuple]]] = [
        ("series", lambda part: (*started[part.series], part.series))
    ]
    for tag in FRAME_TAGS:
        candidates.append((tag, lambda part, tag=tag: _sortable(part.frame_tags.get(tag, ""))))  # type: ignore[misc]
    for name, key in candidates:
        values = [sorted(key(part) for part in place) for place in places]
        if len(set(values[0])) == len(values[0]) and all(value == values[0] for value in values):
            return key, name
    if all(len({part.number for part in place} - {None}) == len(place) for place in places):
        return lambda part: (part.number,), "InstanceNumber"
    raise UserError(
        f"{folder} has {len(places[0])} slices at each place, and nothing in them tells in which order.",
        "Export one scan into a folder of its own.",
        "dicom-uneven-frames",
    )


def _sortable(text: str) -> tuple[float, str]:
    """Numbers sort as numbers, anything else as text after them."""
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text
