"""Reading RT structure sets (RTSTRUCT): closed contours, filled on the grid of the image.

A voxel belongs to a structure if its centre lies inside an odd number of its contours in that slice, so that a contour
within another one is a hole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mimseg.data.dicom.codes import code_of
from mimseg.data.dicom.dataset import read_dataset
from mimseg.data.dicom.folder import read_dicom_folder, read_slices
from mimseg.data.dicom.headers import NotAnImage
from mimseg.data.dicom.layers import Layers, metadata_of
from mimseg.data.labels.structures import Label, distinct_color
from mimseg.data.reading.opened import ImageHeader
from mimseg.data.volume import Grid
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.formats import is_dicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_FILLED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
# Slices that a contour may lie beside the middle of its own, or be out of its plane.
_BESIDE = 0.45
_FILES_LOOKED_AT = 20


class ContourFile:
    """A structure set whose names were read; each structure is a segment, as in `.seg.nrrd`.

    Args:
        path: The file.
        like: The image's grid; None looks for the image in the same folder, in folders beside the file and beside its
            folder.

    Raises:
        UserError: It is damaged, holds no closed contour, or its image is not found.
    """

    def __init__(self, path: Path, like: Grid | None = None) -> None:
        self._path, self._data = path, read_dataset(path)
        try:
            self._labels, self._contours = _read(self._data)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as fault:
            raise UserError(f"The structure set {path} is damaged.", "Export it again.", "unreadable") from fault
        if not self._labels:
            raise UserError(
                f"The structure set {path} holds no closed contour.",
                "Give one with structures that are outlined on the slices.",
                "empty",
            )
        self._grid = replace(like, source=None) if like is not None else _grid_beside(path, series_of(self._data))
        layers = list(range(len(self._labels)))
        self.header = ImageHeader(self._grid.size, len(layers), metadata=metadata_of(self._labels, layers))

    def read(self, frame: int, orientation: str, reporter: Reporter) -> tuple[NDArray, Grid]:
        """Label values `(i, j, k)`, or `(L, i, j, k)` if structures overlap, on the image's grid."""
        layers = Layers(self._grid.size, len(self._labels))
        numbers = []
        inside = False
        for label in self._labels:
            planes = self._planes(label.name, self._contours[label.value], reporter)
            inside |= any(plane.any() for plane in planes.values())
            numbers.append(layers.add(label.value, planes))
        if not inside:
            raise UserError(
                f"No contour of {self._path} holds a voxel of the image.",
                "Give the series on which they were drawn.",
                "grid-mismatch",
            )
        array = layers.array()
        count = len(array) if array.ndim == 4 else 1
        self.header = replace(self.header, components=count, metadata=metadata_of(self._labels, numbers))
        return array, self._grid

    def verify(self) -> None:
        """Read to the end."""
        self.read(0, "", Reporter())

    def _planes(
        self, name: str, contours: list[NDArray[np.float64]], reporter: Reporter
    ) -> dict[int, NDArray[np.bool_]]:
        """Filled contours of a structure, `(i, j)` by k."""
        by_plane: dict[int, list[NDArray[np.float64]]] = {}
        outside = 0
        for points in contours:
            indices = self._grid.to_index(points)
            k = round(float(indices[:, 2].mean()))
            if np.abs(indices[:, 2] - k).max() > _BESIDE:
                raise UserError(
                    f"The contours of “{name}” in {self._path} do not lie on the slices of the image.",
                    "Give the series on which they were drawn, or contours of its slices.",
                    "grid-mismatch",
                )
            if 0 <= k < self._grid.size[2]:
                by_plane.setdefault(k, []).append(indices[:, :2])
            else:
                outside += 1
        if outside:
            reporter.warning(
                "outside-image", f"{self._path}: {outside} contours of “{name}” lie outside the image and are left out."
            )
        missing = max(by_plane, default=0) - min(by_plane, default=0) + 1 - len(by_plane)
        if by_plane and missing:
            reporter.warning(
                "missing-contours",
                f"{self._path}: “{name}” has no contour in {missing} slices between its first and its last; they stay "
                "empty.",
            )
        return {k: fill(polygons, self._grid.size[:2]) for k, polygons in by_plane.items()}


def fill(polygons: list[NDArray[np.float64]], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels whose centre lies inside an odd number of closed polygons.

    Args:
        polygons: Corners `(n, 2)` each, as continuous indices i, j; equal ones count once.
        size: Pixels along i, j.
    """
    turns = np.zeros((size[0] + 1, size[1]), np.uint8)
    for polygon in {polygon.tobytes(): polygon for polygon in polygons}.values():
        for (i0, j0), (i1, j1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            low, high = (j0, j1) if j0 < j1 else (j1, j0)
            rows = np.arange(max(0, int(np.ceil(low))), min(size[1], int(np.ceil(high))))
            if rows.size:
                crossings = i0 + (rows - j0) * ((i1 - i0) / (j1 - j0))
                np.add.at(turns, (np.clip(np.ceil(crossings), 0, size[0]).astype(int), rows), 1)
    return (np.cumsum(turns[:-1], axis=0, dtype=np.uint8) & 1).astype(bool)


def series_of(data: Dataset) -> str:
    """Series Instance UID of the images on which contours were drawn; empty if the object does not say."""
    for frame in data.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                if series.get("SeriesInstanceUID"):
                    return str(series.SeriesInstanceUID)
    return ""


def _read(data: Dataset) -> tuple[list[Label], dict[int, list[NDArray[np.float64]]]]:
    """Structures with closed contours, numbered from 1, and their contours `(n, 3)` in mm, LPS."""
    names = {int(item.ROINumber): str(item.get("ROIName") or "") for item in data.StructureSetROISequence}
    codes = {
        int(item.ReferencedROINumber): code_of(item, "RTROIIdentificationCodeSequence")
        for item in data.get("RTROIObservationsSequence") or ()
        if "ReferencedROINumber" in item
    }
    labels: list[Label] = []
    contours: dict[int, list[NDArray[np.float64]]] = {}
    for item in data.get("ROIContourSequence") or ():
        found = list(_closed(item))
        if not found:
            continue
        value, roi = len(labels) + 1, int(item.ReferencedROINumber)
        color = [int(part) for part in item.get("ROIDisplayColor") or distinct_color(value - 1)]
        name = " ".join(names.get(roi, "").split()) or f"ROI {roi}"
        labels.append(Label(value, name, (color[0], color[1], color[2]), type=codes.get(roi)))
        contours[value] = found
    return labels, contours


def _closed(item: Dataset) -> Iterator[NDArray[np.float64]]:
    for contour in item.get("ContourSequence") or ():
        if contour.get("ContourGeometricType") in _FILLED:
            points = np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
            if len(points) > 2:
                yield points


def _grid_beside(path: Path, series: str) -> Grid:
    """The grid of the series to which a structure set belongs.

    Raises:
        UserError: It is not near the file.
    """
    near = [path.parent, *_folders(path.parent), *(folder for folder in _folders(path.parent.parent))]
    for folder in dict.fromkeys(near):
        if _series_in(folder, series):
            return read_dicom_folder(folder, None, Reporter()).grid
    raise UserError(
        f"The images to which the structure set {path} belongs are not near it.",
        "Put the series beside it, in the same folder or in one beside it.",
        "file-missing",
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _series_in(folder: Path, series: str) -> bool:
    """Whether the first image in a folder is of this series (or of any, if `series` is empty)."""
    for file in sorted(folder.iterdir())[:_FILES_LOOKED_AT]:
        if is_dicom(file):
            try:
                return not series or read_slices(file)[0].series == series
            except NotAnImage:
                continue
    return False
