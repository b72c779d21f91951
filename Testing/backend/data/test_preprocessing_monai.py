"""Preprocessing and its inverse give the numbers that MONAI gives."""

import numpy as np
import pytest
from oblique_grids import OBLIQUE, grid_of

from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing, prepare, restore
from mimseg.data.volume import Volume

SPACINGS = [None, (1.0, 1.0, 1.0), (1.5, 1.5, 2.0), (0.8, 2.0, 0.65), (1.1305, 1.13, 0.7)]


@pytest.mark.train
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("turn", [0, 7, 11, 22, 29, 38, 47])
@pytest.mark.parametrize("angles", OBLIQUE)
def test_prepared_arrays_equal_those_of_monai(turn, spacing, angles):
    pytest.importorskip("torch")
    transforms = pytest.importorskip("monai.transforms")
    from monai.data import MetaTensor

    # No size comes out as a half: there the last bits of the affine decide which way MONAI rounds.
    grid = grid_of((13, 16, 11), (1.13, 0.71, 2.37), turn, angles)
    array = np.random.default_rng(turn).normal(300, 80, grid.size).astype(np.float32)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
    steps = [transforms.Orientationd("image", "RAS", labels=None)]
    if spacing is not None:
        steps.append(transforms.Spacingd("image", spacing, mode="bilinear", align_corners=True))
    steps += [
        transforms.NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        transforms.ScaleIntensityRanged("image", -5, 5, -5, 5, clip=True),
    ]
    expected = transforms.Compose(steps)({"image": MetaTensor(array[None], affine=affine)})["image"]
    prepared = prepare(Volume(array, grid), Preprocessing("RAS", spacing))
    assert prepared.array.shape == tuple(expected.shape)
    assert np.abs(prepared.array - expected.numpy()).max() < 2e-4
    assert np.allclose(np.diag([-1.0, -1.0, 1.0, 1.0]) @ prepared.grid.affine, expected.affine, atol=1e-5)


@pytest.mark.train
@pytest.mark.parametrize("turn", [0, 13, 26, 45])
@pytest.mark.parametrize("spacing", SPACINGS[:3])
def test_restored_labels_equal_those_of_monai_inverted(turn, spacing):
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("monai.transforms")
    from monai.data import MetaTensor

    grid = grid_of((13, 16, 11), (1.13, 0.71, 2.37), turn, OBLIQUE[1])
    random = np.random.default_rng(turn)
    array = random.normal(20, 60, grid.size).astype(np.float32)
    array[:3] = -500
    array[:, :, -2:] = -500
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine
    steps = [
        transforms.Orientationd("image", "RAS", labels=None),
        transforms.CropForegroundd("image", "image", select_fn=lambda values: values > -100),
    ]
    if spacing is not None:
        steps.append(transforms.Spacingd("image", spacing, mode="bilinear", align_corners=True))
    steps.append(transforms.ScaleIntensityRanged("image", -100, 200, 0, 1, clip=True))
    forward = transforms.Compose(steps)
    image = forward({"image": MetaTensor(array[None], affine=affine)})["image"]
    intensity = Intensity("window", -100, 200)
    prepared = prepare(Volume(array, grid), Preprocessing("RAS", spacing, intensity, crop_foreground=True))
    assert np.abs(prepared.array - image.numpy()).max() < 1e-4

    logits = random.normal(size=(4, *prepared.array.shape[1:])).astype(np.float32)
    probabilities = torch.softmax(torch.from_numpy(logits), 0)
    probabilities = MetaTensor(probabilities, affine=image.affine, applied_operations=image.applied_operations)
    inverted = forward.inverse({"image": probabilities})["image"]
    expected = inverted.argmax(0).numpy()
    labels = restore(probabilities.numpy(), prepared)
    assert labels.shape == expected.shape
    assert (labels != expected).mean() < 1e-3
