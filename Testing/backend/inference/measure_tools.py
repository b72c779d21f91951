"""Labelled cases that `tiny_model` segments without a fault, with structures that bear coarser voxels, or do not."""

import json

import numpy as np
import SimpleITK as sitk

SIZE = (56, 18, 16)


def slopes(size=SIZE, seed=0):
    """Intensities that rise and fall evenly along x, which coarser voxels show as well; and one plate they cannot."""
    x = np.arange(size[0])
    height = 10 + 84 * np.interp(x, [0, size[0] / 2 + seed, size[0] - 1], [0, 1, 0])
    image = np.broadcast_to(height[:, None, None], size).astype(np.float32)
    image[9, 3:9, 3:9] = 90
    return image


def plates(size=SIZE):
    """Plates of one voxel, which coarser voxels cannot show."""
    height = np.full(size, 10, np.float32)
    height[4 : size[0] - 4 : 4, 2:16, 2:14] = 50
    height[6 : size[0] - 4 : 4, 2:16, 2:14] = 90
    return height


def labels_of(image):
    """What `tiny_model` finds, with its values: grey above 30, bright above 70."""
    return np.where(image > 70, 7, np.where(image > 30, 3, 0)).astype(np.uint8)


def write_cases(folder, images, labelmaps=None):
    """A data set in Decathlon's layout."""
    entries = []
    for number, image in enumerate(images):
        entry = {}
        labels = labels_of(image) if labelmaps is None else labelmaps[number]
        for kind, array in (("image", image), ("label", labels)):
            path = folder / f"{kind}sTr" / f"case_{number}.nrrd"
            path.parent.mkdir(parents=True, exist_ok=True)
            written = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
            written.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
            sitk.WriteImage(written, str(path))
            entry[kind] = f"./{path.relative_to(folder).as_posix()}"
        entries.append(entry)
    content = {"labels": {"0": "background", "3": "Grey", "7": "Bright"}, "modality": {"0": "MRI"}, "training": entries}
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def thresholds(batch):
    """Logits of the network of `tiny_model`."""
    first = batch[:, :1]
    return np.concatenate([np.zeros_like(first), 40 * first - 12, 80 * first - 40], axis=1)


def wrong_at_the_border(batch):
    """The same, but background within two voxels of a window's faces, however sure the rest is."""
    logits = thresholds(batch)
    inside = np.zeros(batch.shape[2:], bool)
    inside[2:-2, 2:-2, 2:-2] = True
    logits[:, 1:, ~inside] = -1000
    return logits
