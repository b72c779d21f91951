"""`slicer.dicomDatabase`, as far as it says where the file of an instance is.

After Slicer's DICOM module, which sets it at its start, and CTK's ctkDICOMDatabase: an instance that it does not know
has the empty path. Slicer's own plugins use it so (DICOMSegmentationPlugin.py, DICOMScalarVolumePlugin.py).
"""

from __future__ import annotations


class ctkDICOMDatabase:
    """Paths by SOP Instance UID; empty at first."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}

    def insert(self, path: str) -> None:
        """Take in a file, which stays where it is."""
        import pydicom

        self._paths[str(pydicom.dcmread(_text(path), stop_before_pixels=True).SOPInstanceUID)] = path

    def fileForInstance(self, uid: str) -> str:
        """Return the path of an instance's file, or an empty one."""
        return self._paths.get(_text(uid), "")


def _text(value: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"Could not find matching overload for given arguments: {value!r}")
    return value
