"""Training cases made of the scene, and the label files they hold."""

import SimpleITK as sitk
from logic_tools import add_segmentation, add_volume, box, smooth_values

SHAPE = (12, 14, 16)
LEFT, RIGHT = box(SHAPE, (2, 5), (3, 7), (2, 6)), box(SHAPE, (2, 5), (3, 7), (9, 13))
HIPPOCAMPUS = "5366008"


def add(cases, tool, structures, name="Fall ä/1"):
    """A case from the scene; returns its entry."""
    volume = add_volume(tool.scene, name, smooth_values(SHAPE))
    identifier = cases.addFromScene(tool, volume, add_segmentation(tool.scene, volume, structures))
    return next(entry for entry in cases.entries() if entry["id"] == identifier)


def labels_of(cases, entry):
    return sitk.GetArrayFromImage(sitk.ReadImage(cases.path(entry["label"])))
