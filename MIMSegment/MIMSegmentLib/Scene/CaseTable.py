import hashlib
import json
import os
import re
import uuid

import numpy as np
import SimpleITK as sitk
from slicer.i18n import tr as _

from MIMSegmentLib.Files import writeJson
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.Labels import Labels

TABLE = "cases.json"
LABELS = "labels.json"


class CaseTable:
    """What lies on disk of the training cases, so that they survive the scene.

    The folder holds `cases.json`, which `mimseg finetune` reads as it is, `labels.json`, images and labels.

    :param folder: of the user's; it is made when the first case is added.
    """

    def __init__(self, folder):
        self.folder = folder
        # Of the values of scans, by path, size and time: those on one grid, as of one atlas, are read once.
        self._digests = {}

    def entries(self):
        """List of {id, image (or ""), label, structures (names), source, subject}; files relative to the folder.

        :raises Problem: if the table is there, but cannot be read.
        """
        return [{"image": "", **entry} for entry in self._read(TABLE, _isCase)]

    def labels(self):
        """The structures of all cases: a `Labels`.

        :raises Problem: if they cannot be read, or lack one of a case: its value would be given out again.
        """
        entries = self._read(LABELS, _isLabel)
        known = {entry["name"] for entry in entries}
        unknown = {name for entry in self.entries() for name in entry.get("structures", [])} - known
        if unknown:
            reason = _("it lacks structures of the cases: {names}").format(names=", ".join(sorted(unknown)))
            raise self._unreadable(LABELS, reason)
        return Labels(entries)

    def path(self, file):
        """Absolute path of a file of an entry."""
        return os.path.normpath(os.path.join(self.folder, file))

    def write(self, labels, entries):
        """Write the table and its structures.

        :raises Problem: if it cannot be done; then both are as before.
        """
        before = self._read(LABELS, _isLabel)
        # Values of structures that no case has any more stay reserved: a label file is never written twice.
        writeJson(self.path(LABELS), labels.toJson() if entries else [])
        try:
            writeJson(self.path(TABLE), entries)
        except Problem:
            writeJson(self.path(LABELS), before)
            raise

    def ofSameScan(self, identifier):
        """Identifiers of the other cases that have the scan of this one."""
        entries = self.entries()
        case = next(entry for entry in entries if entry["id"] == identifier)
        return [entry["id"] for entry in self.sharing(case, entries)]

    def sharing(self, case, entries):
        """Those of these entries that are other cases with the scan of an entry."""
        others = [entry for entry in entries if entry["id"] != case["id"] and entry["image"]] if case["image"] else []
        return [entry for entry in others if self._isSameScan(self.path(case["image"]), self.path(entry["image"]))]

    def newIdentifier(self, name):
        """A new name that is a file name everywhere; never used again, since a stopped training may refer to it."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-")[:40] or "case"
        return f"{plain}_{uuid.uuid4().hex[:6]}"

    def removeFiles(self, *files):
        """Delete files that were written for a case; those from elsewhere are listed with absolute paths and stay."""
        for file in files:
            if file and not os.path.isabs(file) and os.path.isfile(self.path(file)):
                os.remove(self.path(file))

    def _isSameScan(self, path, other):
        """True if two files hold the same values on the same grid, in whatever formats."""
        try:
            grids = _gridOf(path), _gridOf(other)
            if grids[0][0] != grids[1][0] or not np.allclose(grids[0][1], grids[1][1], atol=1e-3):
                return False
            return self._digest(path) == self._digest(other)
        except (RuntimeError, OSError):
            # A file that is gone or no image is told where it is used.
            return False

    def _digest(self, path):
        """A checksum of the values of a scan, whatever type they are stored as."""
        found = os.stat(path)
        key = (path, found.st_size, found.st_mtime_ns)
        if key not in self._digests:
            digest = hashlib.sha256()
            image = sitk.ReadImage(path)
            for plane in sitk.GetArrayViewFromImage(image):
                digest.update(np.ascontiguousarray(plane, "<f8"))
            self._digests[key] = digest.hexdigest()
        return self._digests[key]

    def _read(self, name, isEntry):
        """The entries of a file; none if it is not there. What cannot be read is never taken for empty: the next case
        would be written over it."""
        try:
            with open(self.path(name), encoding="utf-8") as stream:
                content = json.load(stream)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, ValueError) as fault:
            raise self._unreadable(name, getattr(fault, "strerror", None) or fault) from fault
        if not isinstance(content, list) or not all(map(isEntry, content)):
            raise self._unreadable(name, _("its content is not as MIMSegment writes it"))
        return content

    def _unreadable(self, name, reason):
        return Problem(
            _("The training cases cannot be used because of {path} ({reason}).").format(
                path=self.path(name), reason=reason
            ),
            _("Put the file back from a backup, or move its folder elsewhere and add the cases again."),
        )


def _gridOf(path):
    """Size, and spacing, origin and direction in one, without reading a voxel."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(path)
    reader.ReadImageInformation()
    return reader.GetSize(), np.array((*reader.GetSpacing(), *reader.GetOrigin(), *reader.GetDirection()))


def _isCase(entry):
    return isinstance(entry, dict) and bool(entry.get("id")) and bool(entry.get("image") or entry.get("label"))


def _isLabel(entry):
    return isinstance(entry, dict) and isinstance(entry.get("value"), int) and isinstance(entry.get("name"), str)
