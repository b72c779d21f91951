"""Pairs of images and labels by the names of their files: `imagesTr` with `labelsTr`, or scans beside their labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mimseg.data.cases.case import Case, Flaw, stem
from mimseg.formats import LABELS_READ, ending_of

# What a labelmap beside its scan may be called: scan.nii.gz with scan.seg.nrrd, scan_seg.nii.gz, scan-label.nrrd ...
LABEL_ENDINGS = ("_segmentation", "_seg", "-seg", "_labels", "-labels", "_label", "-label", "_mask", "-mask")
_MOST_NAMES = 100


def pair_folders(
    images: Path, labels: Path, ending: str | None = None, channels: Sequence[str] = ()
) -> tuple[list[Case], list[Flaw]]:
    """Pair the files of two folders by name.

    An image belongs to the label of its own full name; only where there is none, four digits behind the name
    (`_0000`, `_0001`) are the number of a channel (nnU-Net).

    Args:
        images: `imagesTr`.
        labels: `labelsTr`.
        ending: Of files that count first where two have one name (`file_ending` of nnU-Net).
        channels: What the data set calls its channels; empty if it does not say.

    Returns:
        The cases with a label, sorted, and what was left out or is missing.
    """
    found, image_flaws = _by_stem(images, ending)
    truth, label_flaws = _by_stem(labels, ending)
    own: dict[str, Path] = {}
    numbered: dict[str, dict[int, Path]] = {}
    lonely = []
    for name, path in found.items():
        base, number = channel_of(name)
        if name in truth:
            own[name] = path
        elif number is not None and base in truth:
            numbered.setdefault(base, {})[number] = path
        else:
            lonely.append(path)
    flaws = [*image_flaws, *label_flaws]
    cases = []
    for name, label in truth.items():
        if name in own:
            lonely += numbered.get(name, {}).values()
            cases.append(Case(name, (own[name],), label, channels=len(channels)))
        elif name in numbered:
            files = tuple(path for _, path in sorted(numbered[name].items()))
            cases.append(Case(name, files, label, channels=len(channels)))
    flaws += _left_out(sorted(lonely), images, "no label has its name", "no label has the name of one of them")
    without = [label for name, label in truth.items() if name not in own and name not in numbered]
    flaws += _left_out(without, labels, "no image has its name", "no image has the name of one of them")
    return cases, flaws + _missing_channels(numbered, {*own}, channels)


def pair_beside(folder: Path) -> tuple[list[Case], list[Flaw]]:
    """Pair scans with the labelmaps that lie beside them: `a.nii.gz` with `a.seg.nrrd`, `a_seg.nii.gz`, `a-label.nrrd`.

    Returns:
        The cases with a label, sorted, and what was left out if there is any case.
    """
    by_stem: dict[str, list[Path]] = {}
    files = [path for path in sorted(folder.iterdir()) if _is_volume(path)]
    for path in files:
        by_stem.setdefault(stem(path).casefold(), []).append(path)
    cases, used = [], set()
    for path in files:
        base = stem(path).casefold()
        candidates = [other for other in by_stem[base] if ending_of(other) == ".seg.nrrd"]
        candidates += [other for ending in LABEL_ENDINGS for other in by_stem.get(base + ending, [])]
        if ending_of(path) != ".seg.nrrd" and candidates and path not in used:
            cases.append(Case(stem(path), (path,), candidates[0]))
            used |= {path, candidates[0]}
    if not cases:
        return [], []
    rest = [path for path in files if path not in used]
    return cases, _left_out(rest, folder, "it has no partner", "they have no partner")


def channel_of(name: str) -> tuple[str, int | None]:
    """Name without nnU-Net's channel number, and that number; the name itself and None if it has none."""
    match = re.fullmatch(r"(.+)_(\d{4})", name)
    return (match[1], int(match[2])) if match else (name, None)


def listed(files: Sequence[str]) -> str:
    """File names in a sentence."""
    more = f" and {len(files) - _MOST_NAMES} more" if len(files) > _MOST_NAMES else ""
    return ", ".join(files[:_MOST_NAMES]) + more


def _by_stem(folder: Path, ending: str | None) -> tuple[dict[str, Path], list[Flaw]]:
    """Volume files of a folder by their name without extension, sorted; of two with one name the first by extension."""
    order = {suffix: number for number, suffix in enumerate((*([ending.lower()] if ending else []), *LABELS_READ))}

    def rank(path: Path) -> int:
        return min(number for suffix, number in order.items() if path.name.lower().endswith(suffix))

    chosen: dict[str, Path] = {}
    spare = []
    for path in sorted((path for path in folder.iterdir() if _is_volume(path)), key=rank):
        if stem(path) in chosen:
            spare.append(path)
        else:
            chosen[stem(path)] = path
    reason = "another file has the same name but for its ending"
    return dict(sorted(chosen.items())), _left_out(spare, folder, reason, "others have the same names")


def _is_volume(path: Path) -> bool:
    return bool(ending_of(path)) and not path.name.startswith(".") and path.is_file()


def _left_out(paths: Sequence[Path], folder: Path, one: str, several: str) -> list[Flaw]:
    if not paths:
        return []
    names = tuple(path.name for path in paths)
    if len(names) == 1:
        text = f"{names[0]} in {folder.name} is left out: {one}."
    else:
        text = f"{len(names)} files in {folder.name} are left out, as {several}: {listed(names)}."
    remedy = "Give an image and its label the same name, or move away what is not meant to be used."
    return [Flaw("warning", "left-out", text, remedy, files=names)]


def _missing_channels(numbered: dict[str, dict[int, Path]], single: set[str], channels: Sequence[str]) -> list[Flaw]:
    """Cases whose channel numbers are not 0, 1, ... as far as the data set, or most cases, have channels."""
    of_files = {name: files for name, files in numbered.items() if name not in single}
    if not of_files:
        return []
    usual = Counter(len(files) for files in of_files.values()).most_common(1)[0][0]
    wanted = range(len(channels) or usual)
    flaws = []
    for name, files in of_files.items():
        missing = [number for number in wanted if number not in files]
        extra = [number for number in files if number not in wanted]
        if not missing and not extra:
            continue
        parts = []
        if missing:
            called = [f"_{n:04d}" + (f" ({channels[n]})" if n < len(channels) else "") for n in missing]
            parts.append(f"lacks the channel{'s' if len(missing) > 1 else ''} {', '.join(called)}")
        if extra:
            parts.append(f"has {', '.join(files[number].name for number in sorted(extra))}, which no other case has")
        text = f"The case {' and '.join(parts)}."
        remedy = "Give every case the same channels, numbered from _0000 in the same order, or leave the case out."
        flaws.append(Flaw("error", "channel-count", text, remedy, name))
    return flaws
