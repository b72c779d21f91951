"""Nodes with voxels to files that are complete or absent."""

import os

import numpy as np
import SimpleITK as sitk
import vtk
from slicer.i18n import tr as _
from vtk.util import numpy_support

from MIMSegmentLib.Files import replacing
from MIMSegmentLib.Scene.Segments.Voxels import scalarsOf, volumes


def writeNode(storage, node, path):
    """Write a node with a storage node; the file is complete or absent.

    A storage node reports success on a full disk: what was written is read again and compared.

    :raises Problem: if it cannot be written.
    """
    with replacing(path) as temporary:
        storage.SetFileName(temporary)
        if not storage.WriteData(node) or not os.path.isfile(temporary):
            raise OSError(_("the folder is not writable, or the disk is full"))
        if not _isWhole(node, temporary, storage.GetUseCompression() or path.endswith(".gz")):
            raise OSError(_("the file came out incomplete; the disk may be full"))


def _isWhole(node, path, compressed):
    """True if a file holds the voxels of a node: as many, and the same ones in whatever order of the axes."""
    segments = node.IsA("vtkMRMLSegmentationNode")
    expected = None if segments else scalarsOf(node.GetImageData())
    if not segments and not compressed:
        return os.path.getsize(path) >= expected.nbytes
    try:
        found = sitk.GetArrayFromImage(sitk.ReadImage(path))
    except RuntimeError:
        return False
    if segments:
        # Segments that overlap lie in layers of their own.
        return int(np.count_nonzero(found)) == sum(voxels for _name, _milliliters, voxels in volumes(node))
    return found.size == expected.size and np.array_equal(_histogram(found), _histogram(expected))


def _histogram(array):
    """How often each byte occurs."""
    values = np.ascontiguousarray(array).view(np.uint8).ravel()
    counts = np.zeros(256, np.int64)
    # In parts: numpy makes 64-bit numbers of the bytes.
    for start in range(0, values.size, 1 << 22):
        counts += np.bincount(values[start : start + (1 << 22)], minlength=256)
    return counts


def imageFromArray(array):
    """vtkImageData that holds a copy of an array (k, j, i)."""
    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[::-1])
    scalars = numpy_support.numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)
    image.GetPointData().SetScalars(scalars)
    return image
