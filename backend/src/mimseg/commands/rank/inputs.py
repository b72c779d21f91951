"""Which volumes `mimseg rank` looks at, and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mimseg.bundle.checked_folder import sha256_of
from mimseg.commands.segment.outputs import refuse_mixed_channels
from mimseg.data.cases import Case, is_dataset, load_dataset, pick_cases, stem
from mimseg.data.cases.images import has_channels, holds_channels
from mimseg.data.scans import find_scans
from mimseg.errors import UserError
from mimseg.events import Reporter


def find_unlabelled(
    inputs: Sequence[Path],
    channels: int,
    selection: str | None,
    labelled: Sequence[Case],
    reporter: Reporter,
    orientation: str = "",
) -> list[Case]:
    """All volumes, one case each, without those that are labelled already.

    Args:
        inputs: Image files, folders of them or of DICOM series, data sets and case lists (see `load_dataset`). For a
            model of several channels, files must be given in turn, be listed, or hold all of them each.
        channels: Of the model.
        selection: See `pick_cases`; None for all.
        labelled: Cases whose images, and copies of them, are left out.
        reporter: Is told of masks among the volumes, which are left out.
        orientation: How the axes run in files that do not say so, unless a list says it; empty for RAS.

    Raises:
        UserError: Nothing was found, channels do not fit, or two cases have one name.
    """
    cases: list[Case] = []
    files: list[Path] = []
    for entry in inputs:
        if is_dataset(entry):
            cases += load_dataset(entry, orientation=orientation).cases
        else:
            found = find_scans(entry, reporter)
            if found != [entry]:
                refuse_mixed_channels(entry, found, channels)
            files += found
    in_one = channels > 1 and all(holds_channels([file], channels) for file in files)
    each = 1 if in_one else channels
    if len(files) % each:
        raise UserError(
            f"The model wants {channels} files for each case, but {len(files)} were found.",
            "Give all channels of the first case in the model's order, then those of the next, or a case list.",
            "wrong-channels",
        )
    for start in range(0, len(files), each):
        images = tuple(files[start : start + each])
        cases.append(Case(stem(images[0]), images, None, channels=channels, orientation=orientation))
    wrong = next((case for case in cases if not has_channels(case, channels)), None)
    if wrong is not None:
        raise UserError(
            f"The case {wrong.identifier} has {len(wrong.images)} files, but the model wants {channels}.",
            "Choose a model for these channels.",
            "wrong-channels",
        )
    cases = _named(cases)
    if selection:
        cases = list(pick_cases(cases, selection))
    known = _Labelled(labelled)
    cases = [case for case in cases if case.images[0] not in known]
    if not cases:
        why = ": all of them are labelled already" if labelled else ""
        raise UserError(
            f"There is no volume to rank{why}.",
            "Give volumes or folders without labels.",
            "no-images",
        )
    return cases


class _Labelled:
    """The first images of labelled cases, wherever a copy of them lies; of DICOM series only their folders."""

    def __init__(self, cases: Sequence[Case]) -> None:
        images = [case.images[0] for case in cases]
        self._paths = {image.resolve() for image in images}
        self._of_size: dict[int, list[Path]] = {}
        self._hashes: dict[int, set[str]] = {}
        for image in images:
            if image.is_file():
                self._of_size.setdefault(image.stat().st_size, []).append(image)

    def __contains__(self, image: Path) -> bool:
        if image.resolve() in self._paths:
            return True
        size = image.stat().st_size if image.is_file() else -1
        # Only files of one size are read: there are many scans, and few of them are copies.
        if size not in self._of_size:
            return False
        if size not in self._hashes:
            self._hashes[size] = {sha256_of(other) for other in self._of_size[size]}
        return sha256_of(image) in self._hashes[size]


def _named(cases: list[Case]) -> list[Case]:
    """Equal names get that of their folder before them; outputs are named after cases."""
    counted = Counter(case.identifier.lower() for case in cases)
    named = [
        replace(case, identifier=f"{case.images[0].absolute().parent.name}_{case.identifier}")
        if counted[case.identifier.lower()] > 1
        else case
        for case in cases
    ]
    repeated = [name for name, number in Counter(case.identifier.lower() for case in named).items() if number > 1]
    if repeated:
        raise UserError(
            f"Several volumes have the same name: {', '.join(sorted(repeated)[:3])}.",
            "Rank them in separate runs, or give a case list with the column id.",
            "same-name",
        )
    unusable = next((case.identifier for case in named if Path(case.identifier).name != case.identifier), None)
    if unusable is not None:
        raise UserError(f"The case name {unusable!r} cannot be part of a file name.", "Change its id.", "bad-dataset")
    return named
