import json
import os
import re

import numpy as np
import SimpleITK as sitk
from slicer.i18n import tr as _

from MIMSegmentLib.Files import replacing
from MIMSegmentLib.Scene.Labels import codesOfEntry

VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
# Words that say of a file that it is a labelmap.
LABEL_WORDS = {"segmentation", "seg", "label", "labels", "mask"}


class LabelFile:
    """A labelmap or Slicer segmentation (`.seg.nrrd`) of unknown origin, read for what its values mean.

    :param path: of the file.
    :param names: names by value, for files that do not say them.
    :raises RuntimeError: if the file cannot be read.
    :raises ValueError: if it holds no labels.
    """

    def __init__(self, path, names=None):
        self._image = sitk.ReadImage(path)
        self.segments = _segmentsOfFile(self._image, names or {})

    def write(self, path, values):
        """Write a labelmap on the same grid with other values.

        :param values: voxel value by segment ID.
        :returns: the values that occur, and the number of voxels that segments share: the later one keeps them.
        """
        image, shared = _relabel(self._image, self.segments, values)
        with replacing(path) as temporary:
            sitk.WriteImage(image, temporary, useCompression=True)
            written = sitk.GetArrayFromImage(sitk.ReadImage(temporary))
            if not np.array_equal(written, sitk.GetArrayViewFromImage(image)):
                raise OSError(_("the file came out incomplete; the disk may be full"))
        return set(_valuesOf(image)) - {0}, shared


def findLabels(folder):
    """`([label], names by value)` of a folder of labelmaps without scans, which their names or the folder's tell."""
    names = _datasetNames(os.path.join(folder, "dataset.json"))
    labels = os.path.join(folder, "labelsTr")
    folder = labels if os.path.isdir(labels) else folder
    told = re.match("(?i)label|seg|mask", os.path.basename(os.path.normpath(folder)))
    return [os.path.join(folder, name) for name in _volumes(folder) if told or _saysLabels(name)], names


def _saysLabels(name):
    words = set(re.split(r"[^a-z]+", stem(name).lower()))
    return name.lower().endswith(".seg.nrrd") or not words.isdisjoint(LABEL_WORDS)


def _volumes(folder):
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [name for name in names if name.lower().endswith(VOLUME_ENDINGS) and not name.startswith(".")]


def stem(name):
    """File name without its (possibly double) ending."""
    for ending in (".seg.nrrd", *VOLUME_ENDINGS):
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return os.path.splitext(name)[0]


def _datasetNames(path):
    """Names by value from a Decathlon ({"1": "liver"}) or nnU-Net ({"liver": 1}) description."""
    try:
        with open(path, encoding="utf-8-sig") as stream:
            entries = json.load(stream)["labels"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    names = {}
    for key, value in entries:
        number, name = (key, value) if str(key).isdigit() else (value, key)
        if str(number).isdigit() and int(number) > 0:
            names[int(number)] = str(name)
    return names


def _segmentsOfFile(image, names):
    """Segments of a labelmap file: from its `.seg.nrrd` metadata, else one for each value."""
    keys = set(image.GetMetaDataKeys())
    segments = []
    for number in range(10000):
        prefix = f"Segment{number}_"
        if f"{prefix}ID" not in keys:
            break

        def read(key, default, prefix=prefix):
            return image.GetMetaData(prefix + key).strip() if prefix + key in keys else default

        color = [round(255 * float(part)) for part in read("Color", "").split()]
        segments.append(
            {
                "id": read("ID", prefix),
                "name": read("Name", read("ID", "")),
                "layer": int(read("Layer", str(number))),
                "labelValue": int(read("LabelValue", "1")),
                **({"color": color} if len(color) == 3 else {}),
                **_codesOfTags(read("Tags", "")),
            }
        )
    if segments:
        return segments
    return [
        {"id": str(value), "name": names.get(value) or f"Structure {value}", "layer": 0, "labelValue": value}
        for value in _valuesOf(image)
        if value != 0
    ]


def _codesOfTags(tags):
    prefix = "TerminologyEntry:"
    entry = next((tag for tag in tags.split("|") if tag.startswith(prefix)), prefix)
    return codesOfEntry(entry[len(prefix) :])


def _relabel(image, segments, values):
    """A labelmap on the same grid with the values of the structures, and the number of voxels that segments share."""
    array = sitk.GetArrayViewFromImage(image)
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != 4:
        raise ValueError("not a volume")
    highest = max(values.values(), default=0)
    result = np.zeros(array.shape[:3], np.uint8 if highest < 256 else np.uint16)
    shared = 0
    for segment in segments:
        if segment["layer"] < array.shape[3]:
            mask = array[..., segment["layer"]] == segment["labelValue"]
            value = values[segment["id"]]
            shared += int(np.count_nonzero((result[mask] != 0) & (result[mask] != value)))
            result[mask] = value
    output = sitk.GetImageFromArray(result)
    output.SetSpacing(image.GetSpacing())
    output.SetOrigin(image.GetOrigin())
    output.SetDirection(image.GetDirection())
    return output, shared


def _valuesOf(image):
    values = np.unique(sitk.GetArrayViewFromImage(image))
    if values.size > 1000 or np.any(values != np.round(values)) or values.min(initial=0) < 0:
        raise ValueError("it holds no labels but gray values")
    return [int(value) for value in values]
