"""Reading a folder with one DICOM series.

ITK's own series reader fails on a whole folder for one bad file, averages irregular slice distances,
drops the shear of a tilted gantry and mixes the time points of 4D series, all in silence. Here every
header is read by itself, what is there is worked out from the slice positions, and whatever cannot be
represented right is refused by name. No identifier of a patient enters a message.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mimseg import formats
from mimseg.data.dicom.geometry import stack_of
from mimseg.data.dicom.headers import NotAnImage, Slice, read_slice_header
from mimseg.data.dicom.mosaic import read_tiles
from mimseg.data.dicom.multiframe import read_frames
from mimseg.data.dicom.pixels import read_pixels
from mimseg.data.dicom.series import choose_frame, choose_series
from mimseg.data.volume import Volume
from mimseg.errors import UserError
from mimseg.events import Reporter


def read_dicom_folder(folder: Path, frame: int | None, reporter: Reporter) -> Volume:
    """Read the one series in `folder` (not below it).

    Rescale slope and intercept are applied slice by slice. Slices of a tilted gantry are shifted back
    within their planes onto a right-angled grid, mildly irregular slice distances are interpolated;
    both are reported, and the corrected grid counts as the volume's own.

    Raises:
        UserError: No series, several series, several frames without `frame`, missing slices, irregular
            distances, several orientations or stacks, mosaics that do not say what they hold, or unreadable pixels.
    """
    return _volume(_scan(folder, reporter), folder, frame, reporter)


def read_dicom_file(path: Path, frame: int | None, reporter: Reporter) -> Volume:
    """Read a volume that is one file: an enhanced CT or MR image, or a Siemens mosaic.

    Raises:
        UserError: As for `read_dicom_folder`; the file is a slice, or no image.
    """
    try:
        slices = read_slices(path)
    except NotAnImage as fault:
        raise UserError(f"{path} {fault.reason}.", fault.hint, fault.code) from fault
    if slices[0].part is None:
        raise UserError(
            f"{path} is one slice of a DICOM series.", f"Give its folder instead: {path.parent}", "dicom-single-file"
        )
    return _volume(slices, path, frame, reporter)


def read_slices(path: Path) -> list[Slice]:
    """The slice that a file holds, or the slices, if it is an enhanced image or a mosaic.

    Raises:
        NotAnImage: It holds none.
    """
    try:
        return [read_slice_header(path)]
    except NotAnImage as fault:
        if fault.code == "dicom-multiframe":
            return read_frames(path)
        if fault.code == "dicom-mosaic":
            return read_tiles(path)
        raise


def first_slice(path: Path) -> Slice | None:
    """A slice of what `path` holds, a folder or a file; None if there is none.

    Only what the files of a series have in common is sure to be that of the others.
    """
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        if file.is_file() and not file.name.startswith(".") and formats.may_be_dicom(file):
            with suppress(NotAnImage):
                return read_slices(file)[0]
    return None


def _volume(slices: list[Slice], folder: Path, frame: int | None, reporter: Reporter) -> Volume:
    slices = choose_frame(choose_series(slices, folder), folder, frame)
    stack = stack_of(slices, folder)
    if stack.note:
        reporter.warning(stack.note_code, f"{folder}: {stack.note}")
    if any(part.reversed_display and part.modality != "CT" for part in slices):
        reporter.warning(
            "monochrome1",
            f"{folder}: low numbers are shown bright in this series (MONOCHROME1). The numbers were taken as they are "
            "stored; if the model expects them the other way round, results are wrong.",
        )
    if any(part.no_slope for part in slices):
        reporter.warning(
            "scale-ignored",
            f"{folder}: the rescale slope of this series is 0 or no number. 1 was taken instead: the intensities are "
            "the stored numbers plus the intercept; if they are meant otherwise, results are wrong. Export it again.",
        )
    if slices[0].assumed:
        reporter.warning(
            "mosaic-direction",
            f"{folder}: this mosaic does not say in which direction its slices follow each other (the CSA header is "
            "missing). The usual direction was assumed: look whether head and feet, or left and right, are where they "
            "belong.",
        )
    return stack.assemble(read_pixels(stack.slices))


def _scan(folder: Path, reporter: Reporter) -> list[Slice]:
    """Headers of all image slices in the folder; objects of other kinds are left out.

    Raises:
        UserError: There is none; the message says what there is instead.
    """
    slices: list[Slice] = []
    others: list[tuple[Path, NotAnImage]] = []
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name.startswith(".") or path.name.upper() == "DICOMDIR":
            continue
        if not formats.may_be_dicom(path):
            continue
        try:
            slices.extend(read_slices(path))
        except NotAnImage as fault:
            # Files without the DICOM mark may still be DICOM; if they are not readable they are anything.
            if formats.is_dicom(path):
                others.append((path, fault))
    if not slices:
        raise _nothing_to_read(folder, others)
    damaged = [path.name for path, reason in others if reason.damaged]
    if damaged:
        shown = ", ".join(damaged[:3]) + (", ..." if len(damaged) > 3 else "")
        reporter.warning("dicom-skipped", f"{folder}: {len(damaged)} DICOM files cannot be read ({shown}).")
    for path, reason in others:
        if reason.blocks_series:
            raise UserError(f"{path} {reason.reason}.", reason.hint, reason.code)
    return slices


def _nothing_to_read(folder: Path, others: list[tuple[Path, NotAnImage]]) -> UserError:
    if others:
        path, fault = others[0]
        more = f" (and {len(others) - 1} more files of no use)" if len(others) > 1 else ""
        return UserError(f"{folder} holds no DICOM image: {path.name} {fault.reason}{more}.", fault.hint, fault.code)
    below = sorted({path.parent for path in folder.rglob("*") if formats.is_dicom(path)})
    if below:
        names = ", ".join(str(path.relative_to(folder)) for path in below[:5])
        return UserError(f"{folder} itself holds no DICOM files.", f"Give one of its subfolders: {names}", "no-dicom")
    images = sorted(path.name for path in folder.iterdir() if formats.is_image(path))
    hint = f"Give the file itself, e.g. {images[0]}." if images else "Give a folder with one DICOM series."
    return UserError(f"{folder} holds no DICOM series.", hint, "no-dicom")
