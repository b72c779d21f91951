"""Reading a case, and the findings of reading itself: unreadable files, labels on another grid, repaired voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mimseg.checks.cases.loaded_case import LoadedCase
from mimseg.checks.finding import Finding, Spot
from mimseg.data.cases import Case
from mimseg.data.cases.images import count_frames, holds_channels, read_images
from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names
from mimseg.data.labels.scheme import LabelScheme
from mimseg.data.labels.truth import read_truth
from mimseg.data.opening import open_image
from mimseg.data.volume import Grid, Volume
from mimseg.errors import MimsegError, UserError, of_case
from mimseg.events import Reporter

# What readers only warn of, and how grave that is for training: code -> (severity, remedy).
_WARNINGS = {
    "constant": ("error", "There is nothing to see in it: export the volume again, or leave the case out."),
    "non-finite": ("warning", "Look at the volume; export it again if more than its border is affected."),
    "no-orientation": ("warning", "Say with --orientation how its axes run, or repair its header."),
    "negative-spacing": ("warning", "Compare it with another case in a viewer, or repair its header."),
    "unknown-transform-code": ("warning", "Set it to that of the space the scan is in, such as 1 for the scanner's."),
    "beside-image": ("note", "Nothing need be done; a program has rounded the header."),
    "other-transform": ("note", "Nothing need be done; make qform and sform of the image equal to be rid of it."),
    "shear-straightened": ("note", "Nothing need be done, unless structures must be placed more exactly than that."),
    "trailing-bytes": ("note", "Nothing need be done, unless the file was put together by hand."),
    "outside-image": ("warning", "Give the image that the labels were drawn on, or erase what lies beside it."),
    "overlap": ("warning", "Let structures overlap nowhere, or accept that the later segment keeps the voxels."),
}
_OTHER_WARNING = ("warning", "Check in a viewer that the volume has the right size and shape.")


class _Collector(Reporter):
    """Keeps the warnings of readers."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, str]] = []

    def warning(self, code: str, message: str) -> None:
        self.warnings.append((code, message))


def load_case(case: Case, scheme: LabelScheme | None = None) -> tuple[LoadedCase | None, list[Finding]]:
    """Read a case.

    Args:
        case: Its files; without an image only the labels are read, see `load_labels`.
        scheme: What label values mean, if that is known; ignored voxels become background.

    Returns:
        The case, without labels if those are not usable, or None if an image is not readable; and what was found.
    """
    if not case.images:
        return load_labels(case, scheme)
    name, collector = case.identifier, _Collector()
    try:
        volume = read_images(case, reporter=collector)
    except Exception as fault:
        return None, [_refused(case, of_case(fault))]
    findings: list[Finding] = []
    loaded = LoadedCase(case, volume)
    if case.label is None:
        findings.append(_without_label(name))
    else:
        try:
            labels = _read_labels(case.label, scheme, volume.grid, collector, case.orientation)
            names = read_segment_names(case.label)
            loaded = LoadedCase(case, volume, labels.array, names, _stored_type(case.label))
        except Exception as fault:
            findings.append(_refused(case, of_case(fault), volume))
    return loaded, findings + _told(case, collector)


def load_labels(case: Case, scheme: LabelScheme | None) -> tuple[LoadedCase | None, list[Finding]]:
    """Read only the labels of a case, as `load_case` does: its volume has the right channels, but is all zero."""
    collector = _Collector()
    if case.label is None:
        return None, [_without_label(case.identifier)]
    try:
        labels = _read_labels(case.label, scheme, None, collector, case.orientation)
        names, stored_type = read_segment_names(case.label), _stored_type(case.label)
    except Exception as fault:
        return None, [_refused(case, of_case(fault))]
    array = labels.array
    count = count_frames(case.images[0]) if holds_channels(case.images, case.channels) else len(case.images)
    if not case.images:
        # What an image is drawn from has more values than there are structures.
        count = max(1, case.channels)
        array = array if scheme is None else np.where(np.isin(array, list(scheme.names)), array, 0)
    # One number seen as many voxels: the images themselves are not read.
    blank = Volume(np.broadcast_to(np.float32(0), (count, *labels.grid.size)), labels.grid)
    return LoadedCase(case, blank, array, names, stored_type), _told(case, collector)


def _read_labels(
    path: Path, scheme: LabelScheme | None, like: Grid | None, reporter: Reporter, orientation: str
) -> Volume:
    if scheme is None:
        return read_labelmap(path, like, reporter, orientation)
    labels = read_truth(path, scheme, like, reporter, orientation)
    if scheme.ignored is None:
        return labels
    return Volume(np.where(labels.array == scheme.ignored, 0, labels.array), labels.grid)


def _without_label(name: str) -> Finding:
    text = "There is no labelmap."
    return Finding(name, "note", "no-label", text, "It is not used for fine-tuning; label it or remove it.")


def _told(case: Case, collector: _Collector) -> list[Finding]:
    """What readers only warned of."""
    findings = []
    for code, message in collector.warnings:
        severity, remedy = _WARNINGS.get(code, _OTHER_WARNING)
        spots = (Spot(case.identifier, ""),)
        findings.append(Finding(case.identifier, severity, code, without_folders(message, case), remedy, {}, spots))
    return findings


def without_folders(text: str, case: Case) -> str:
    """`text` with the files of `case` named without their folders: reports are passed on, folders may name people."""
    for path in (*case.images, *([case.label] if case.label else [])):
        text = text.replace(str(path), path.name)
    return text


def _refused(case: Case, fault: MimsegError, volume: Volume | None = None) -> Finding:
    remedy = without_folders(fault.hint, case) or "Export it again, or leave the case out."
    evidence: dict[str, object] = {}
    if fault.code == "grid-mismatch" and volume is not None and case.label is not None:
        evidence = _how_far_apart(volume.grid, read_labelmap(case.label, orientation=case.orientation).grid)
    return Finding(case.identifier, "error", fault.code, without_folders(fault.message, case), remedy, evidence)


def _how_far_apart(image: Grid, label: Grid) -> dict[str, object]:
    centres = [grid.to_point((np.asarray(grid.size, float) - 1)[None] / 2)[0] for grid in (image, label)]
    return {
        "image_size": list(image.size),
        "label_size": list(label.size),
        "image_spacing_mm": [round(edge, 4) for edge in image.spacing],
        "label_spacing_mm": [round(edge, 4) for edge in label.spacing],
        "distance_of_centres_mm": round(float(np.linalg.norm(centres[0] - centres[1])), 2),
    }


def _stored_type(path: Path) -> str:
    """Number type of an image file; empty where the header alone does not tell."""
    try:
        return open_image(path).header.stored
    except UserError:
        return ""
