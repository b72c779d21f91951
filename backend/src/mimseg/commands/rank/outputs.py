"""The files of each ranked case: uncertainty map, labelmap, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mimseg.bundle.checked_folder import refuse_inside_model
from mimseg.bundle.description import Description
from mimseg.commands.rank.case import Judged
from mimseg.data.cases import Case
from mimseg.data.labels.drawn import Algorithm
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.scans import UNCERTAINTY
from mimseg.data.volume import Volume
from mimseg.data.writing import write_map
from mimseg.errors import UserError
from mimseg.reports.pictures import encode_png, halved
from mimseg.reports.preview import draw_preview

# Steps of the map: finer ones would be noise that does not compress.
_STEPS = 200
# Lower bounds of the uncertainty shown in the pictures, and their colours.
_HEAT = ((0.1, (250, 220, 90)), (0.3, (245, 140, 40)), (0.5, (220, 40, 40)))


def check_folder(folder: Path, cases: Sequence[Case]) -> None:
    """Refuse an output folder that is a file, whose files would replace images, or a model.

    Raises:
        UserError: naming the fault.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder.", "Choose another folder.", "bad-output")
    if folder.suffix.lower() in (".html", ".json", ".csv"):
        raise UserError(
            f"{folder} looks like a file, but a folder is needed.", f"Use {folder.with_suffix('')}.", "bad-output"
        )
    refuse_inside_model(folder)
    target = folder.resolve()
    inside = next((path for case in cases for path in case.images if path.resolve().parent == target), None)
    if inside is not None:
        raise UserError(
            f"The folder {folder} holds images that are to be ranked.", "Choose a folder of its own.", "bad-output"
        )


def map_paths(folder: Path, case: Case, file_format: str) -> tuple[Path, Path]:
    """The files of a case: `<case>_uncertainty.nii.gz` and `<case>_segmentation<file_format>`."""
    return folder / f"{case.identifier}{UNCERTAINTY}", folder / f"{case.identifier}_segmentation{file_format}"


def write_maps(
    folder: Path, case: Case, volume: Volume, judged: Judged, description: Description, file_format: str
) -> tuple[Path, Path]:
    """Write the map of uncertainty (0..1) and the segmentation to correct, on the scan's own grid.

    Returns:
        The two paths, see `map_paths`.

    Raises:
        UserError: They cannot be written.
    """
    uncertainty, labels = map_paths(folder, case, file_format)
    stepped = np.round(judged.uncertainty * _STEPS) / np.float32(_STEPS)
    write_map(uncertainty, np.clip(stepped, 0, 1).astype(np.float32), volume.grid)
    algorithm = Algorithm(description.name, description.version)
    write_labelmap(labels, judged.labels, volume.grid, description.labels, algorithm, judged.overlapping)
    return uncertainty, labels


def draw(volume: Volume, judged: Judged, description: Description) -> tuple[bytes, bytes]:
    """PNG pictures of the scan, with its structures and with its uncertainty in steps from yellow to red."""
    image = volume.array if volume.array.ndim == 3 else volume.array[0]
    shown = description.preprocessing.intensity.shown
    heat = sum((judged.uncertainty > bound).astype(np.uint8) for bound, _ in _HEAT)
    table = [Label(value, f"above {bound}", color) for value, (bound, color) in enumerate(_HEAT, start=1)]
    structures = draw_preview(image, judged.labels, volume.grid, description.labels, shown)
    doubt = draw_preview(image, np.asarray(heat), volume.grid, table, shown)
    return encode_png(halved(structures)), encode_png(halved(doubt))
