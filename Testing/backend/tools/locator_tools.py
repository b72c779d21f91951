"""A model of a small structure, the model that shows it where to look, and scans with such structures on two sides."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from tiny_model import write_tiny_bundle

from mimseg.bundle.locator import Locator, Place
from mimseg.data.intensity import Intensity
from mimseg.data.labels.structures import Label
from mimseg.data.preprocessing import Preprocessing

SHARP = Preprocessing("RAS", None, Intensity("window", 0, 100))
SIDES = (
    Label(2, "Left-Part", (220, 60, 60)),
    Label(41, "Right-Part", (60, 60, 220)),
)
BOTH = Locator("whole", (Place(("Left-Part",), "left"), Place(("Right-Part",), "right", mirrored=True)))
IDENTITY_RAS = np.diag([-1.0, -1.0, 1.0])


def write_pair(home):
    """`part`, and `whole`, which finds the grey side (left) and the bright one (right) for it."""
    write_tiny_bundle(home / "whole", SHARP, name="whole", labels=SIDES)
    write_tiny_bundle(home / "part", SHARP, name="part", field_of_view_mm=(10.0, 12.0, 8.0), locator=BOTH)
    return home


def write_two_sides(path, stray=False, size=(48, 30, 28), direction=IDENTITY_RAS, right=100.0):
    """A grey block on the left and a bright one on the right, in a dark scan of 1 mm; i runs to the right.

    With `stray` there is a bright voxel far from both, too.
    """
    array = np.zeros(size, np.float32)
    array[10:16, 12:18, 10:14] = 50
    array[34:40, 12:18, 10:14] = right
    array[35:37, 14:16, 11] = 50 if right else 0
    array[0, 0, 0] = 20  # dark, but not nothing
    if stray:
        array[2, 2, 2] = 100
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetDirection(np.asarray(direction).ravel().tolist())
    sitk.WriteImage(image, str(path))
    return array


def expected_of(array):
    """Values of tiny's labels: left as they are, right 7 higher."""
    grey, bright = array == 50, array == 100
    right = np.arange(len(array))[:, None, None] > 24
    return np.where(grey, np.where(right, 10, 3), np.where(bright, np.where(right, 14, 7), 0))
