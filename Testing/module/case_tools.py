"""Training cases made of the scene, and the label files they hold."""

from pathlib import Path

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


def found_in(folder):
    """What the backend says of a folder, as `Cases.addFromFolder` takes it."""
    from mimseg.commands.check.run import CheckSettings, check
    from mimseg.errors import UserError
    from mimseg.events import Reporter

    class Keeper(Reporter):
        def result(self, **fields):
            self.fields = fields

    keeper = Keeper()
    try:
        check(CheckSettings(Path(folder), names_only=True), keeper)
    except UserError as fault:
        if fault.code not in ("no-dataset", "not-found"):
            raise
        return {}
    return keeper.fields
