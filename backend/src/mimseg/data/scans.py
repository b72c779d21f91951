"""The scans below a folder, without the masks that lie among them.

A mask is known by what it holds (few whole numbers, nearly every voxel like its neighbour) and by where it lies: in a
folder `segmentations` (TotalSegmentator), with a name that ends in `_seg` (BraTS) or `_mask`, or on the grid of a scan.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg import formats
from mimseg.data.dicom.structures import kind_of
from mimseg.data.opening import open_image
from mimseg.data.volume import Grid
from mimseg.data.walking import walk
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.stopping import check

_LABEL_FOLDERS = {"labelstr", "labelsts"}
_MASK_FOLDERS = {"segmentations", "segmentation", "segs", "seg", "labels", "label", "masks", "mask", "labelmaps"}
_MASK_NAME = re.compile(
    r"^label.*|.*(?:^|[-_. ])(?:seg|segmentations?|masks?|labels?|labelmap|aseg|aparc\+aseg|gt|roi)$"
)
# More values than this are no mask where only the grid speaks for one, or name and folder too.
_FEW_VALUES, _MORE_VALUES = 64, 512
_ALIKE_NEIGHBOURS = 0.8
# A compressed scan needs more bytes a voxel than any mask.
_MOST_BYTES = 0.5
_SAMPLED_EDGE, _SAMPLED_VOXELS = 96, 2_000_000
_SAMPLED_FILES = 3
_MOST_NAMES = 12
# Ends the names of the maps that `mimseg rank` writes.
UNCERTAINTY = "_uncertainty.nii.gz"


def find_scans(folder_or_file: Path, reporter: Reporter | None = None) -> list[Path]:
    """Scans and DICOM series folders at or below a path, sorted.

    Left out are hidden files; masks, DICOM segmentations without a series beside them, and maps of uncertainty, which
    the reporter is told by name. A file that is given itself is taken.

    Raises:
        UserError: The path does not exist, or nothing below it is a scan.
    """
    path, reporter = Path(folder_or_file), reporter or Reporter()
    if not path.exists():
        raise UserError(f"{path} does not exist.", "Check the path.", "file-missing")
    if path.is_file():
        return [path]
    images, series, masks = _walk(path)
    maps = [image for image in images if image.name.endswith(UNCERTAINTY)]
    images = [image for image in images if image not in set(maps)]
    found = _masks_among(images, path)
    masks += found
    scans = sorted([*(image for image in images if image not in set(found)), *series])
    if masks:
        message = f"Left out below {path.name}, as these are masks and no scans: {_listed(sorted(masks), path)}."
        reporter.warning("masks-left-out", message)
    if maps:
        message = f"Left out below {path.name}, as these are maps of uncertainty and no scans: {_listed(maps, path)}."
        reporter.warning("maps-left-out", message)
    if not scans:
        what = "only masks" if masks else "only maps of uncertainty" if maps else "no image"
        raise UserError(
            f"{path} holds {what}.",
            f"Give a folder with files ending in {formats.listed(formats.IMAGES)}, or with DICOM series.",
            "no-images",
        )
    return scans


def holds_series(files: Iterable[Path]) -> bool:
    """Whether one of some DICOM files is more than a segmentation or contours, so that their folder may be a scan."""
    return any(kind_of(file) != "structures" for file in files if file.name.upper() != "DICOMDIR")


def holds_labels(array: NDArray, most_values: int = _FEW_VALUES) -> bool:
    """Whether voxels `(i, j, k)` are labels: few whole numbers in pieces. Looks at a part of large volumes."""
    steps = tuple(slice(None, None, max(1, edge // _SAMPLED_EDGE)) for edge in array.shape)
    some = array[steps].ravel()[:_SAMPLED_VOXELS]
    values = np.unique(some)
    if len(values) > most_values or not np.isfinite(values).all() or (values != np.round(values)).any():
        return False
    # Neighbours along k, on lines that are taken from everywhere.
    lines = array[steps[0], steps[1], :]
    return bool((lines[..., 1:] == lines[..., :-1]).mean() >= _ALIKE_NEIGHBOURS)


def _walk(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Image files, DICOM series folders, and files that are segmentations by their ending or their folder's name."""
    images: list[Path] = []
    series: list[Path] = []
    masks: list[Path] = []
    for parent, files in walk(folder):
        known = [file for file in files if formats.ending_of(file)]
        if parent != folder and parent.name.lower() in _LABEL_FOLDERS:
            masks += [file for file in known if not formats.is_dicom(file)]
            continue
        images += [file for file in known if formats.is_image(file)]
        masks += [file for file in known if not formats.is_image(file) and not formats.may_be_dicom(file)]
        dicom = [file for file in files if formats.is_dicom(file)]
        if holds_series(dicom):
            series.append(parent)
        else:
            masks += dicom
    return images, series, masks


def _masks_among(images: Sequence[Path], root: Path) -> list[Path]:
    sizes = {image: _size(image) for image in images}
    of_size: dict[tuple[int, ...], list[Path]] = defaultdict(list)
    for image, size in sizes.items():
        of_size[size].append(image)
    in_folders: dict[Path, list[Path]] = defaultdict(list)
    named, others = [], []
    for image, size in sizes.items():
        inner = [part.lower() for part in image.relative_to(root).parts[:-1]]
        if len(size) != 3:
            continue
        if inner and inner[-1] in _MASK_FOLDERS:
            in_folders[image.parent].append(image)
        elif _MASK_NAME.match(formats.stem_of(image).lower()):
            named.append(image)
        elif len(of_size[size]) > 1:
            others.append(image)
    masks = [image for image in named if _labels_of(image, sizes[image], _MORE_VALUES) is not None]
    for files in in_folders.values():
        # A folder holds a hundred masks: a few of them speak for all.
        chosen = [files[index] for index in sorted({0, len(files) // 2, len(files) - 1})][:_SAMPLED_FILES]
        if all(_labels_of(file, sizes[file], _MORE_VALUES) is not None for file in chosen):
            masks += files
    known = set(masks)
    found = {image: grid for image in others if (grid := _labels_of(image, sizes[image], _FEW_VALUES)) is not None}
    for image, grid in found.items():
        scans = (other for other in of_size[sizes[image]] if other not in known and other not in found)
        if any(_lies_on(other, grid) for other in scans):
            masks.append(image)
    return masks


def _size(image: Path) -> tuple[int, ...]:
    """By the header; empty if that cannot be read, which reading tells."""
    try:
        return open_image(image).header.size
    except UserError:
        return ()


def _labels_of(image: Path, size: tuple[int, ...], most_values: int) -> Grid | None:
    """The grid of a file that holds labels; None if it holds a scan or cannot be read."""
    check()
    compressed = formats.ending_of(image) == ".nii.gz"
    if compressed and image.stat().st_size > _MOST_BYTES * np.prod(size) + 4096:
        return None
    try:
        array, grid = open_image(image).read(0, formats.UNSAID_ORIENTATION, Reporter())
    except (UserError, MemoryError):
        return None
    return grid if array.ndim == 3 and holds_labels(array, most_values) else None


def _lies_on(scan: Path, grid: Grid) -> bool:
    try:
        return open_image(scan).read(0, formats.UNSAID_ORIENTATION, Reporter())[1].same_as(grid)
    except (UserError, MemoryError):
        return False


def _listed(masks: Iterable[Path], root: Path) -> str:
    """Names relative to `root`; of a folder with many files, that folder and how many."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for mask in masks:
        by_folder[mask.relative_to(root).parent].append(mask)
    parts = []
    for folder, files in by_folder.items():
        if len(files) > _MOST_NAMES:
            parts.append(f"{folder.as_posix()}/ ({len(files)} files: {files[0].name} ... {files[-1].name})")
        else:
            parts += [file.relative_to(root).as_posix() for file in files]
    return ", ".join(parts)
