"""Where the results of `mimseg segment` go, settled before anything is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mimseg import formats
from mimseg.bundle.checked_folder import refuse_inside_model
from mimseg.data.cases.images import holds_channels
from mimseg.data.overwriting import RESULT, may_be_result, refuse_overwriting
from mimseg.data.scans import find_scans, holds_series
from mimseg.data.writers.dicom_seg import refuse_other_sources
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.files import try_folder


@dataclass(frozen=True)
class Job:
    """One case to segment.

    Attributes:
        inputs: One path for each channel of the model, or one 4D file with all of them.
        name: Short name for messages and file names.
        output: The labelmap or segmentation to write.
        preview: The picture to write, or None.
        channels: Of the model.
        frame: Which volume of a 4D file, or None.
    """

    inputs: tuple[Path, ...]
    name: str
    output: Path
    preview: Path | None
    channels: int = 1
    frame: int | None = None

    @property
    def row(self) -> str:
        """What the table calls the case: frames of one file are scans of their own."""
        return f"{self.inputs[0]}" + ("" if self.frame is None else f" frame {self.frame}")


def expand_folders(inputs: Sequence[Path], channels: int, reporter: Reporter | None = None) -> list[Path]:
    """The inputs, with a folder of image files replaced by all scans at or below it, sorted.

    A folder with a DICOM series of its own stays what it is, one volume; the reporter is told of image files beside the
    series. Left out are masks, which the reporter is told, and results of an earlier run (`..._segmentation`).

    Raises:
        UserError: A folder of images of one channel each is given for a model of several channels.
    """
    expanded: list[Path] = []
    for path in inputs:
        images = _images_below(path, reporter) if path.is_dir() else []
        refuse_mixed_channels(path, images, channels)
        expanded += images or [path]
    return expanded


def refuse_mixed_channels(folder: Path, images: Sequence[Path], channels: int) -> None:
    """Refuse a folder of images of one channel each: their order says nothing of which belong to one case.

    Raises:
        UserError: The model has several channels, and the images do not hold all of them each.
    """
    if channels > 1 and not all(holds_channels([image], channels) for image in images):
        raise UserError(
            f"{folder} is a folder of images, but the model wants {channels} files for each case.",
            "Give the files: all channels of the first case in the model's order, then those of the next.",
            code="wrong-channels",
        )


def _images_below(folder: Path, reporter: Reporter | None) -> list[Path]:
    if holds_series(path for path in folder.iterdir() if formats.is_dicom(path)):
        _tell_beside(folder, reporter)
        return []
    try:
        found = find_scans(folder, reporter)
    except UserError:  # Nothing there: reading it says what is wrong.
        return []
    found = [path for path in found if not _stem(path).endswith(RESULT)]
    return found if any(path.is_file() for path in found) else []


def _tell_beside(series: Path, reporter: Reporter | None) -> None:
    images = [path for path in sorted(series.iterdir()) if formats.is_image(path) and path.name[:1] != "."]
    scans = [path.name for path in images if path.is_file() and not may_be_result(path)]
    if scans and reporter is not None:
        reporter.warning(
            "beside-series",
            f"{series} counts as one DICOM series. Left out are the image files beside it: {', '.join(scans)}. Give "
            "them by themselves, or put the series into a folder of its own.",
        )


def plan_jobs(
    inputs: Sequence[Path],
    channels: int,
    output: Path,
    file_format: str = ".nii.gz",
    preview: Path | None = None,
    frame: int | None = None,
    reporter: Reporter | None = None,
) -> list[Job]:
    """One job for each case, with outputs that neither collide nor hit an input.

    Args:
        inputs: The channels of the first case, those of the second, ...; or one 4D file for each case.
        channels: Of the model.
        output: A file for one case, or a folder.
        file_format: Ending of the files in a folder.
        preview: A picture file; with several cases their names are appended.
        frame: Which volume of 4D files; its number becomes part of the names.
        reporter: Is told what is in doubt.

    Raises:
        UserError: The number of inputs does not fit the channels, or the output is not usable: it would replace what is
            not its own, or lies in a model.
    """
    in_one = channels > 1 and all(holds_channels([path], channels) for path in inputs)
    files = 1 if in_one else channels
    if not inputs or len(inputs) % files:
        raise UserError(
            f"The model wants {channels} files for each case, but {len(inputs)} were given.",
            "Give all channels of the first case in the model's order, then those of the next; "
            "`mimseg models show` lists them.",
            code="wrong-channels",
        )
    if file_format not in formats.LABELS_WRITTEN:
        raise UserError(
            f"{file_format} is no format for labels.", f"Use one of {formats.listed(formats.LABELS_WRITTEN)}."
        )
    cases = [tuple(inputs[start : start + files]) for start in range(0, len(inputs), files)]
    names = [f"{name}{'' if frame is None else f'_frame{frame}'}" for name in _names([case[0] for case in cases])]
    ending = formats.ending_of(output)
    if ending and not output.is_dir():
        _check_file(output, ending, len(cases))
        outputs = [output]
    else:
        _check_folder(output)
        outputs = [output / f"{name}{RESULT}{file_format}" for name in names]
    pictures = _pictures(preview, names)
    for path in (output, *([preview] if preview else [])):
        refuse_inside_model(path)
    refuse_overwriting([*outputs, *(picture for picture in pictures if picture)], inputs)
    for case, path in zip(cases, outputs, strict=True):
        refuse_other_sources(case[0], path, reporter)
    return [Job(*row, channels, frame) for row in zip(cases, names, outputs, pictures, strict=True)]


def try_outputs(jobs: Sequence[Job], table: Path | None) -> None:
    """Find out before the work whether its files can be written.

    Raises:
        UserError: They cannot.
    """
    files = [path for job in jobs for path in (job.output, job.preview) if path is not None]
    for folder in sorted({path.parent for path in (*files, *([table] if table else []))}):
        try_folder(folder)


def _names(firsts: Sequence[Path]) -> list[str]:
    """File names without ending; the folder's name comes first where they would be equal."""
    absolute = [path.absolute() for path in firsts]
    names = [_stem(path) for path in absolute]
    counted = Counter(name.lower() for name in names)
    longer = [
        f"{path.parent.name}_{name}" if counted[name.lower()] > 1 else name
        for path, name in zip(absolute, names, strict=True)
    ]
    repeated = sorted(name for name, number in Counter(name.lower() for name in longer).items() if number > 1)
    if repeated:
        raise UserError(
            f"Several inputs would get the same output name: {', '.join(repeated[:3])}.",
            "Give them in separate runs with different output folders.",
            code="same-name",
        )
    return longer


def _stem(path: Path) -> str:
    return formats.stem_of(path) if path.is_file() else path.name


def _pictures(preview: Path | None, names: Sequence[str]) -> list[Path | None]:
    if preview is None:
        return [None] * len(names)
    if preview.suffix.lower() != ".png":
        raise UserError(
            f"The preview {preview} has an ending that pictures are not written to.",
            "Let it end in .png.",
            "bad-output",
        )
    if len(names) == 1:
        return [preview]
    return [preview.with_name(f"{preview.stem}_{name}.png") for name in names]


def _check_file(output: Path, ending: str, cases: int) -> None:
    if cases > 1:
        raise UserError(
            f"{cases} cases cannot all be written to the one file {output}.",
            "Give a folder: a name without .nii.gz, .nrrd, .mha.",
            code="bad-output",
        )
    if ending not in formats.LABELS_WRITTEN:
        raise UserError(
            f"{output} has an ending that labels cannot be written to.",
            f"Use one of {formats.listed(formats.LABELS_WRITTEN)}.",
            code="bad-output",
        )


def _check_folder(output: Path) -> None:
    if output.is_file():
        raise UserError(f"{output} is a file, not a folder.", "Choose another output.", code="bad-output")
    if output.suffix and not output.is_dir():
        raise UserError(
            f"{output} has an ending that labels cannot be written to.",
            f"Use one of {formats.listed(formats.LABELS_WRITTEN)}, or an existing folder.",
            code="bad-output",
        )
