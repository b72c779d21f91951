"""One NRRD or MetaImage file: read by ITK after its data were found complete and whole."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from mimseg import formats
from mimseg.data.images import array_of
from mimseg.data.reading import metaimage, nrrd
from mimseg.data.reading.inflate import Damaged
from mimseg.data.reading.opened import ImageHeader, damaged, unreadable
from mimseg.data.reading.parts import check_parts, inflate_parts
from mimseg.data.reading.placing import in_doubt, placed
from mimseg.data.reading.plain_path import is_plain, plain_path
from mimseg.data.volume import Grid
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.files import last_sentence

_FLOATING = {sitk.sitkFloat32: "float32", sitk.sitkFloat64: "float64"}


class ItkFile:
    """See `reading.opened.ImageFile`."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            UserError: It cannot be read.
        """
        self._path = path
        self._format = metaimage if formats.ending_of(path) in (".mha", ".mhd") else nrrd
        # First by ourselves: there are headers on which ITK ends the whole process.
        try:
            self._fields, _, _ = self._format.read_header(path)
            self._parts = self._format.data_parts(path)
        except Damaged as fault:
            raise damaged(path, fault) from fault
        with self._reader() as reader:
            metadata = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys() if is_plain(key)}
            size, components = tuple(reader.GetSize()), reader.GetNumberOfComponents()
            # A sequence as 3D Slicer saves it; in segmentations, that axis holds layers.
            listed = components > 1 and "list" in self._fields.get("kinds", "").lower().split()
            self._listed = listed and not any(re.match(r"Segment\d+_", key) for key in metadata)
            if self._listed:
                size, components = (*size, components), 1
            complex_numbers = "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID())
            self.header = ImageHeader(
                size=size,
                components=components,
                number="complex numbers" if complex_numbers else "",
                stored=_FLOATING.get(reader.GetPixelID(), "whole numbers"),
                metadata=metadata,
            )
            self._grid, self._turned_axes = _grid_of_reader(reader)

    def read(self, frame: int, orientation: str, reporter: Reporter) -> tuple[NDArray, Grid]:
        """See `ImageFile.read`."""
        try:
            plain = self.header.components == 1 and not self._listed
            inflate = plain and all(part.encoding == "gzip" for part in self._parts)
            content, more = inflate_parts(self._parts) if inflate else (None, check_parts(self._parts))
        except Damaged as fault:
            raise damaged(self._path, fault) from fault
        if more:
            reporter.warning(
                "more-than-header",
                f"{self._path} holds {more} bytes more than its header says; they were left out. If the scan looks "
                "scrambled, its header is wrong.",
            )
        if content is None:
            array = self._read_with_itk(frame)
        else:
            array = _frame_of(content, self._format.voxel_type(self._fields), self.header.size, frame)
        grid = self._grid
        if self._turned_axes:
            reporter.warning(
                "negative-spacing",
                f"{self._path} has a negative voxel size along its {' and '.join(self._turned_axes)} axis and was "
                "read the other way round there, as ITK does; if the sign is a slip, the scan is mirrored: "
                "compare with a scan of known orientation, or repair the header.",
            )
        if not self._format.says_orientation(self._fields):
            # The offset of MetaImage is in LPS, whatever the axes are.
            grid = placed(grid, orientation, turn_origin=self._format is nrrd)
            missing = "no space with directions" if self._format is nrrd else "no TransformMatrix"
            reporter.warning(*in_doubt(self._path, f"its header has {missing}", orientation))
        return array, grid

    def verify(self) -> None:
        """See `ImageFile.verify`."""
        try:
            check_parts(self._parts)
        except Damaged as fault:
            raise damaged(self._path, fault) from fault

    def _read_with_itk(self, frame: int) -> NDArray:
        with self._reader() as reader:
            if len(self.header.size) == 4 and not self._listed:
                reader.SetExtractSize([*self.header.size[:3], 0])
                reader.SetExtractIndex([0, 0, 0, frame])
            try:
                image = reader.Execute()
            except RuntimeError as fault:
                if "bad_alloc" in str(fault) or "allocate memory" in str(fault):
                    raise MemoryError(f"{self._path} does not fit into memory") from fault
                raise self._refused(fault) from fault
        array = array_of(image)
        return np.ascontiguousarray(array[frame]) if self._listed else array

    @contextmanager
    def _reader(self) -> Iterator[sitk.ImageFileReader]:
        """A reader that has read the header. ITK's own warnings are off: what matters is told through the reporter."""
        before = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("NrrdImageIO" if self._format is nrrd else "MetaImageIO")
        try:
            with plain_path(self._path) as name:
                reader.SetFileName(name)
                try:
                    reader.ReadImageInformation()
                except RuntimeError as fault:
                    raise self._refused(fault) from fault
                yield reader
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(before)

    def _refused(self, fault: Exception) -> UserError:
        reason, lower = last_sentence(str(fault)), str(fault).lower()
        if "orthonormal" in lower or "determinant" in lower or "zero-valued spacing" in lower:
            return UserError(
                f"{self._path} has axes that are not at right angles (or have no length) in its header.",
                "Resample it on a regular grid, e.g. in 3D Slicer with 'Resample Scalar/Vector/DWI Volume'.",
                "bad-geometry",
            )
        if "number of domain axes" in lower:
            return UserError(
                f"{self._path} is a series over time whose fourth axis has no direction in space (none), which cannot "
                "be read if its kind is not list.",
                "Change the kind of that axis in its header to list, or save it as NIfTI.",
                "not-3d",
            )
        if self._format is metaimage:
            # ITK gives the operating system's last error here, which has nothing to do with it.
            reason = "its header is not valid, or its data are missing or shorter than the header says"
        elif "unable to determine imageio" in lower:
            reason = "its content is not what its ending says"
        return unreadable(self._path, reason)


def _grid_of_reader(reader: sitk.ImageFileReader) -> tuple[Grid, list[str]]:
    """The grid of a frame, axes in time left out, and which axes its header gives a negative voxel size."""
    axes = reader.GetDimension()
    if axes < 3:
        return Grid((1, 1, 1)), []
    i, j, k = reader.GetSize()[:3]
    spacing = np.array(reader.GetSpacing()[:3])
    turned = np.where(spacing < 0, -1.0, 1.0)
    direction = np.array(reader.GetDirection(), float).reshape(axes, axes)[:3, :3] * turned
    x, y, z = (float(edge) for edge in np.abs(spacing))
    names = [name for name, turn in zip(("first", "second", "third"), turned, strict=True) if turn < 0]
    return Grid((i, j, k), (x, y, z), reader.GetOrigin()[:3], direction), names


def _frame_of(content: bytearray, voxel_type: np.dtype, size: tuple[int, ...], frame: int) -> NDArray:
    """One frame `(i, j, k)` of the stored numbers, in the machine's byte order."""
    voxels = math.prod(size[:3])
    flat = np.frombuffer(content, voxel_type, voxels, frame * voxels * voxel_type.itemsize)
    return flat.astype(voxel_type.newbyteorder("="), copy=False).reshape(size[:3], order="F")
