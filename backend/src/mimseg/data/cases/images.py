"""The images of a case: one file for each channel, or one 4D file with all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mimseg.data.cases.case import Case
from mimseg.data.opening import open_image
from mimseg.data.volume import Volume
from mimseg.data.volumes import read_channels, read_volume
from mimseg.errors import UserError
from mimseg.events import Reporter


def read_images(case: Case, frame: int | None = None, reporter: Reporter | None = None) -> Volume:
    """Read the channels of a case.

    Args:
        case: Its files. A 4D file of a case with several channels holds them (Decathlon).
        frame: Which volume of a series over time (4D), from 0; None where each file holds one volume, or channels.
        reporter: As for `read_volume`.

    Returns:
        Array `(C, i, j, k)`.

    Raises:
        UserError: A channel cannot be read, lies on another grid, or a 4D file holds another number of them, or is to
            give one frame only.
    """
    if not holds_channels(case.images, case.channels):
        return read_channels(case.images, frame, reporter, case.orientation)
    (path,) = case.images
    found = count_frames(path)
    if found != case.channels:
        raise UserError(
            f"{path} holds {found} volumes, but the data set names {case.channels} channels.",
            "Correct the names of the channels, or split the file.",
            "channel-count",
        )
    if frame is not None:
        raise UserError(
            f"{path} holds the {case.channels} channels of the case, not volumes of which one could be chosen.",
            "Leave --frame out.",
            "channel-count",
        )
    volumes = [read_volume(path, number, reporter, case.orientation) for number in range(found)]
    return Volume(np.stack([volume.array for volume in volumes]), volumes[0].grid)


def holds_channels(images: Sequence[Path], channels: int) -> bool:
    """Whether a case of several channels is one file of several volumes."""
    return channels > 1 and len(images) == 1 and count_frames(images[0]) > 1


def has_channels(case: Case, channels: int) -> bool:
    """Whether a case has as many channels, in one file or in one each; judged by names and headers only."""
    return len(case.images) == channels or (case.channels == channels and holds_channels(case.images, channels))


def count_frames(path: Path) -> int:
    """How many volumes an image file holds by its header; 1 for DICOM folders and what cannot be read."""
    if not path.is_file():
        return 1
    try:
        size = open_image(path).header.size
    except UserError:  # Reading it says what is wrong.
        return 1
    return int(size[3]) if len(size) > 3 else 1
