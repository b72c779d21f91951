"""Which structure a segment of a Slicer segmentation is: by its name, or else by its code, never by its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mimseg.data.labels.seg_nrrd import Segment, read_segments
from mimseg.data.labels.structures import Code, Label, distinct_color
from mimseg.data.opening import open_image
from mimseg.formats import ending_of, is_dicom

# What 3D Slicer gives to any new segment: it says nothing about the structure.
_UNSPECIFIC = {("SCT", "85756007"), ("SRT", "T-D0050"), ("SCT", "123037004")}
_NRRD = (".seg.nrrd", ".nrrd", ".nhdr")


def match_segments(segments: Sequence[Segment], labels: Sequence[Label]) -> list[int | None]:
    """Index of each segment's structure in `labels`; None where none fits.

    A code decides only if it is unique among the segments and among the structures: left and right may share one.
    """
    by_name = {_key(label.name): index for index, label in enumerate(labels)}
    found = [by_name.get(_key(segment.name)) for segment in segments]
    taken = {index for index in found if index is not None}
    own_codes = [_code(segment.type, segment.modifier) for segment in segments]
    codes = [_code(label.type, label.modifier) for label in labels]
    for number, code in enumerate(own_codes):
        if found[number] is None and code is not None and own_codes.count(code) == codes.count(code) == 1:
            index = codes.index(code)
            found[number] = None if index in taken else index
    return found


def is_named(segment: Segment, name: str) -> bool:
    """Whether a segment has this name, whatever its case and spaces."""
    return _key(segment.name) == _key(name)


def structures_of_segments(files: Sequence[Path]) -> tuple[Label, ...]:
    """The structures that Slicer segmentations name, with their colours and codes; empty if a file names none.

    A structure gets its value in the first file that has it, or the next free one.

    Raises:
        UserError: A file cannot be read.
    """
    found: dict[str, Label] = {}
    for path in files:
        segments = segments_of(path)
        if not segments:
            return ()
        for segment in segments:
            if _key(segment.name) in found:
                continue
            taken = {label.value for label in found.values()}
            value = segment.value if segment.value not in taken else max(taken) + 1
            color = segment.color or distinct_color(len(found))
            label = Label(value, " ".join(segment.name.split()), color)
            if segment.type is not None and _code(segment.type, None):
                label = replace(label, type=segment.type, modifier=segment.modifier)
            found[_key(segment.name)] = label
    return tuple(sorted(found.values(), key=lambda label: label.value))


def segments_of(path: Path) -> list[Segment]:
    """The segments of a file by its header, DICOM segmentations and contours among them; empty for plain labelmaps.

    Raises:
        UserError: The header cannot be read.
    """
    named = ending_of(path) in _NRRD or is_dicom(path)
    return read_segments(open_image(path).header.metadata, path) if named else []


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()


def _code(kind: Code | None, modifier: Code | None) -> tuple[str, ...] | None:
    """Type and modifier, or None if they say nothing."""
    if kind is None or (kind.scheme, kind.value) in _UNSPECIFIC:
        return None
    return kind.scheme, kind.value, *((modifier.scheme, modifier.value) if modifier else ())
