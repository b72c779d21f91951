"""Whether a model fits a volume, why not, and which one does. Plain Python."""

from dataclasses import dataclass

from slicer.i18n import tr as _

from MIMSegmentLib.Panel import Texts
from MIMSegmentLib.Scene.VolumeFacts import sequenceIn

# A scan that is this many times longer than what the model was made for, along one axis, needs a box.
MUCH_LARGER = 1.5


@dataclass(frozen=True)
class Doubt:
    """Why a model does not fit a volume.

    :param sentence: for the user.
    :param impossible: True if nothing sensible can come of it.
    """

    sentence: str
    impossible: bool = False


def doubtsOf(model, volume, hasBoxes=False):
    """List of `Doubt`.

    :param model: its description, or its entry in the list of models.
    :param volume: `VolumeFacts`.
    """
    doubts = []
    modality = model.get("modality") or ""
    if volume.modality and modality and volume.modality != modality:
        if volume.certain:
            text = _("{volume} is a {found} scan, the model was made for {wanted}.")
        elif volume.modality == "CT":
            text = _("{volume} holds values as low as air in a CT, the model was made for {wanted}.")
        else:
            text = _("{volume} holds no values below zero as a CT has, the model was made for {wanted}.")
        sentence = text.format(volume=volume.name, found=volume.modality, wanted=modality)
        doubts.append(Doubt(sentence, impossible=volume.certain))
    channels = [channel.upper() for channel in model.get("channels") or ()]
    # A channel such as "any contrast" names no sequence, so none is wrong.
    named = [channel for channel in channels if sequenceIn(channel)]
    if volume.sequence and modality == "MR" and named and not any(volume.sequence in each for each in channels):
        sentence = _("{volume}: its name says {found}, the model was made for {wanted}.")
        doubts.append(Doubt(sentence.format(volume=volume.name, found=volume.sequence, wanted=", ".join(channels))))
    if needsBox(model, volume) and not hasBoxes:
        doubts.append(
            Doubt(
                _("{volume} is much larger than what the model was made for ({size}).").format(
                    volume=volume.name, size=Texts.sizeText(model["field_of_view_mm"])
                )
            )
        )
    return doubts


def needsBox(model, volume):
    """True if a volume is much larger than what the model was made for, and the model does not find its region."""
    edges = model.get("field_of_view_mm")
    if not edges or not volume.extent or model.get("locator"):
        return False
    return any(have > MUCH_LARGER * want for have, want in zip(volume.extent, sorted(edges), strict=True))


def bestFor(models, volume):
    """Name of the model that fits a volume best, and why; ("", "") if none fits.

    Models that take the volume as it is come before those that need boxes.
    """
    fitting = [model for model in models if not doubtsOf(model, volume, hasBoxes=True)]
    fitting.sort(key=lambda model: needsBox(model, volume))
    if not fitting or not volume.extent:
        return "", ""
    model = fitting[0]
    kind = " ".join([model.get("modality") or "", ", ".join(model.get("channels") or ())]).strip()
    text = _("{title} was chosen: it is made for scans like this one ({kind}).").format(
        title=model["title"], kind=kind or "?"
    )
    if needsBox(model, volume):
        text += " " + _("It needs a box around each structure.")
    return model["name"], text
