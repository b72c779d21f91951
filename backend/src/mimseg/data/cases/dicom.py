"""Cases of DICOM folders: an image series, and a segmentation (SEG) or contours (RTSTRUCT) that belong to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mimseg.data.cases.case import Case, Flaw
from mimseg.data.cases.folders import listed
from mimseg.data.dicom.structures import kind_of, series_of
from mimseg.data.walking import walk
from mimseg.errors import UserError
from mimseg.formats import is_dicom


@dataclass
class _Found:
    """What lies below a folder.

    Attributes:
        series: Folder of each image series, by its Series Instance UID (that of the first file in it).
        structures: Files with structures, and the series that they name.
        flaws: Files that cannot be read.
    """

    series: dict[str, Path] = field(default_factory=dict)
    structures: list[tuple[Path, str]] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)


def pair_dicom(folder: Path) -> tuple[list[Case], list[Flaw]]:
    """Pair image series at or below `folder` with the structures that name them.

    A file that names no series belongs to the images in its own folder, or else to the only series of its case (the
    folder above its own). Each series must lie in a folder of its own; structures may lie in the same one.

    Returns:
        The cases, named by their folders, and what was left out if there is any case.
    """
    found = _look(folder)
    paired: dict[Path, list[Path]] = {}
    lonely = []
    for path, series in found.structures:
        images = found.series.get(series) if series else _near(path, folder, list(found.series.values()))
        if images is None:
            lonely.append(path)
        else:
            paired.setdefault(images, []).append(path)
    cases, flaws = [], list(found.flaws)
    names = _names(sorted(paired), folder)
    for images, labels in sorted(paired.items()):
        if len(labels) > 1:
            text = f"{len(labels)} files with structures belong to this series: {listed([p.name for p in labels])}."
            remedy = "Leave one of them beside the series, or name image and label in a case list."
            flaws.append(Flaw("error", "several-labels", text, remedy, names[images]))
        else:
            cases.append(Case(names[images], (images,), labels[0]))
    if not cases:
        return [], flaws
    without = [images for images in found.series.values() if images not in paired]
    names = _names(list(found.series.values()), folder)
    return cases, [*flaws, *_left_out([path.name for path in lonely], [names[each] for each in without])]


def _look(folder: Path) -> _Found:
    found = _Found()
    for parent, files in walk(folder):
        seen = False
        for path in files:
            if path.name.upper() == "DICOMDIR" or not is_dicom(path):
                continue
            kind = kind_of(path)
            if kind == "image" and seen:
                continue
            try:
                own, referenced = series_of(path)
            except UserError as fault:
                text = fault.message.replace(str(path), path.name)
                found.flaws.append(Flaw("warning", fault.code, text, fault.hint, files=(path.name,)))
                continue
            if kind == "structures":
                found.structures.append((path, referenced))
            elif kind == "image":
                seen = True
                found.series.setdefault(own, parent)
    return found


def _near(path: Path, folder: Path, images: list[Path]) -> Path | None:
    """The images in the folder of `path`, or the only ones at or below that folder or the one above."""
    if path.parent in images:
        return path.parent
    for above in (path.parent, path.parent.parent):
        inside = [each for each in images if above in each.parents]
        if len(inside) == 1 and (above == folder or folder in above.parents):
            return inside[0]
    return None


def _names(images: list[Path], folder: Path) -> dict[Path, str]:
    """The first folder below `folder` that leads to each series; all of them where one leads to several."""
    parts = {each: each.relative_to(folder).parts or (folder.absolute().name,) for each in images}
    counted = Counter(names[0] for names in parts.values())
    return {each: names[0] if counted[names[0]] == 1 else "_".join(names) for each, names in parts.items()}


def _left_out(lonely: list[str], without: list[str]) -> list[Flaw]:
    flaws = []
    if lonely:
        text = f"Left out, as the series to which they belong is not there: {listed(lonely)}."
        flaws.append(Flaw("warning", "left-out", text, "Put the series beside them.", files=tuple(lonely)))
    if without:
        text = f"Left out, as no structures belong to these series: {listed(without)}."
        remedy = "Put a segmentation or contours beside them."
        flaws.append(Flaw("note", "left-out", text, remedy, files=tuple(without)))
    return flaws
