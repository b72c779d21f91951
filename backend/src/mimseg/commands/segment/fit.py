"""Whether a scan is what a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence

from mimseg.bundle.description import Description
from mimseg.data.intensity import HIGHEST_CT_MINIMUM, looks_shifted, low_value, without_padding
from mimseg.data.volume import Volume
from mimseg.errors import UserError
from mimseg.events import Reporter
from mimseg.inference.known_volumes import known_volumes
from mimseg.inference.locating import is_larger_than_trained

# What is brighter, in HU, is bone or metal: a smaller share of any scan, also of one that shows no air and no fat.
BRIGHT, BRIGHT_SHARE = 300, 0.2


def check_fit(volume: Volume, scan: str, description: Description, has_region: bool, reporter: Reporter) -> None:
    """Tell the user when the scan is hardly what the model was trained on.

    Args:
        volume: The scan.
        scan: What it is called in messages.
        description: Of the model.
        has_region: Boxes are segmented, not the whole scan.
        reporter: Is told.

    Raises:
        UserError: It is CT that cannot be in Hounsfield units, of which the model sees a window.
    """
    extent = sorted(n * s for n, s in zip(volume.grid.size, volume.grid.spacing, strict=True))
    usual = description.field_of_view_mm
    if usual is not None and not has_region and is_larger_than_trained(volume.grid, description):
        reporter.warning(
            "field-of-view",
            f"{scan} spans {_millimetres(extent)}, but {description.name} was trained on volumes of "
            f"{_millimetres(sorted(usual))}: expect false structures. Give the part to segment with --roi.",
        )
    if description.preprocessing.intensity.kind == "robust":  # for scans of any kind
        if looks_shifted(volume.array):
            reporter.warning(
                "not-hounsfield",
                f"{scan} looks like CT to which 1000 or 1024 was added: {description.name} takes it for MR, in which "
                "the tissues of CT look all alike. If it is CT, load it again from its original DICOM files, or "
                "subtract that.",
            )
        return
    low = low_value(volume.array)
    windowed = description.modality == "CT" and description.preprocessing.intensity.kind == "window"
    if windowed:
        _refuse_shifted(volume, scan, description)
    if description.modality == "CT" and low > HIGHEST_CT_MINIMUM:
        if windowed and not has_region and known_volumes(description):
            _refuse_without_air(scan, description)
        reporter.warning(
            "modality",
            f"{scan} has hardly a value below {HIGHEST_CT_MINIMUM:.0f}, but {description.name} wants CT in "
            "Hounsfield units, where air is about -1000.",
        )
    if description.modality == "MR" and low <= -900:
        reporter.warning("modality", f"{scan} looks like CT (its air has {low:.0f}); {description.name} wants MR.")


def _refuse_shifted(volume: Volume, scan: str, description: Description) -> None:
    """Raise UserError for CT without air and fat of which much is brighter than soft tissue ever is.

    Often 1000 or 1024 was added. A model that looks at a window of Hounsfield units would see a body of one grey and
    paint organs into it.
    """
    sample = without_padding(volume.array)
    if low_value(sample) <= HIGHEST_CT_MINIMUM:
        return
    limit = max(description.preprocessing.intensity.upper, BRIGHT)
    bright = float((sample > limit).mean())
    if bright > BRIGHT_SHARE:
        raise UserError(
            f"{scan} is not in Hounsfield units: hardly one of its values is below {HIGHEST_CT_MINIMUM:.0f}, and "
            f"{bright:.0%} of them are above {limit:.0f}, as only bone is. {description.name} knows air as -1000 and "
            "water as 0.",
            "Load the scan again from its original DICOM files. If it is shifted (air is 0 and water 1000 or 1024), "
            "subtract that.",
            "not-hounsfield",
        )


def _refuse_without_air(scan: str, description: Description) -> None:
    """Raise UserError: a whole body shows air and fat. Into MR of heads a model of the abdomen painted organs."""
    raise UserError(
        f"{scan} has hardly a value below {HIGHEST_CT_MINIMUM:.0f}, so it is no CT in Hounsfield units, where air "
        f"is about -1000 and fat about -100. {description.name} knows nothing else.",
        "Choose a model for such scans, or load the scan again from its original DICOM files. If only its low values "
        "were cut off, give a box around what is to be segmented.",
        "not-hounsfield",
    )


def _millimetres(extent: Sequence[float]) -> str:
    return " x ".join(f"{length:.0f}" for length in extent) + " mm"
