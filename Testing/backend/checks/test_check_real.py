"""`mimseg check` on real few-shot cases: silent where they are clean, and it names what was spoiled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from mimseg.commands.check.run import CheckSettings, check
from mimseg.events import Reporter

Spoil = Callable[[sitk.Image, sitk.Image], tuple[sitk.Image, sitk.Image]]


@pytest.fixture
def few(shared_data: Path, tmp_path: Path) -> list[str]:
    """The twenty cases of a few-shot list, copied to `tmp_path`; their names."""
    source = shared_data / "hippocampus"
    names = json.loads((source / "splits.json").read_text(encoding="utf-8"))["few_shot"]["seed0"]["20"]
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        for name in names:
            shutil.copy(source / folder / f"{name}.nii.gz", tmp_path / folder)
    return names


def codes(folder: Path, cases: list[str] | None = None) -> dict[str, set[str]]:
    selection = ",".join(cases) if cases else None
    found: dict[str, set[str]] = {}
    for finding in check(CheckSettings(folder, cases=selection), Reporter()).findings:
        found.setdefault(finding.case, set()).add(finding.code)
    return found


def test_clean_few_shot_lists_have_no_finding(few: list[str], tmp_path: Path) -> None:
    # That volumes are scaled differently is true of this data set, and said once.
    assert set(codes(tmp_path)) <= {""}
    for count in (1, 3, 5, 10):
        assert set(codes(tmp_path, few[:count])) <= {""}


def edited(image: sitk.Image, change: Callable[[np.ndarray], np.ndarray]) -> sitk.Image:
    """The image with its array `(k, j, i)` changed; its geometry stays."""
    result = sitk.GetImageFromArray(np.ascontiguousarray(change(sitk.GetArrayFromImage(image))))
    result.SetSpacing(image.GetSpacing())
    result.SetOrigin(image.GetOrigin())
    result.SetDirection(image.GetDirection())
    return result


def of_label(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return lambda image, label: (image, edited(label, change))


def of_both(change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return lambda image, label: (edited(image, change), edited(label, change))


def with_stray_voxels(array: np.ndarray) -> np.ndarray:
    array[1:3, 1:3, 1:3] = 1
    return array


def with_hole(array: np.ndarray) -> np.ndarray:
    inner = sitk.GetArrayFromImage(sitk.BinaryErode(sitk.GetImageFromArray((array > 0).astype(np.uint8)), [2] * 3))
    k, j, i = np.argwhere(inner)[len(np.argwhere(inner)) // 2]
    array[k - 1 : k + 2, j - 1 : j + 2, i - 1 : i + 2] = 0
    return array


def thinned(array: np.ndarray) -> np.ndarray:
    places = np.argwhere(array == 2)
    array[array == 2] = 0
    array[tuple(places[len(places) // 2])] = 2
    return array


def with_spacing(image: sitk.Image, label: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    for volume in (image, label):
        volume.SetSpacing((1, 1, 4))
    return image, label


def as_ct(array: np.ndarray) -> np.ndarray:
    scaled = (array - array.min()) / np.ptp(array)
    return np.where(scaled < 0.3, -1000, 100 * scaled).astype(np.float32)


SPOILS: dict[str, Spoil] = {
    "grid-mismatch": lambda image, label: (image, label[1:, :, :]),
    "empty-label": of_label(np.zeros_like),
    "missing-structure": of_label(lambda array: np.where(array == 2, 0, array)),
    "rare-label-value": of_label(lambda array: np.where((array == 2) & (np.indices(array.shape)[1] < 14), 7, array)),
    "many-pieces": of_label(with_stray_voxels),
    "holes": of_label(with_hole),
    "tiny-label": of_label(thinned),
    "flipped": of_both(lambda array: array[:, :, ::-1]),
    "label-flipped": of_label(lambda array: array[:, :, ::-1]),
    "image-flipped": lambda image, label: (edited(image, lambda array: array[:, ::-1, :]), label),
    "label-intensity": of_label(lambda array: np.roll(array, 14, axis=2)),
    "spacing": with_spacing,
    "other-modality": lambda image, label: (edited(image, as_ct), label),
}


def test_every_fault_in_a_spoiled_copy_is_named(few: list[str], tmp_path: Path) -> None:
    images, labels = tmp_path / "imagesTr", tmp_path / "labelsTr"
    spoiled = dict(zip(SPOILS, few, strict=False))
    for code, name in spoiled.items():
        files = [images / f"{name}.nii.gz", labels / f"{name}.nii.gz"]
        for file, volume in zip(files, SPOILS[code](*(sitk.ReadImage(str(file)) for file in files)), strict=True):
            sitk.WriteImage(volume, str(file))
    cut, copy, near = few[13:16]
    good = few[19]
    (images / f"{cut}.nii.gz").write_bytes((images / f"{cut}.nii.gz").read_bytes()[:5000])
    shutil.copy(images / f"{good}.nii.gz", images / f"{copy}.nii.gz")
    shutil.copy(labels / f"{good}.nii.gz", labels / f"{copy}.nii.gz")
    noise = np.random.default_rng(0)
    original = few[18]
    image = sitk.ReadImage(str(images / f"{original}.nii.gz"))
    noisy = edited(image, lambda a: (3.0 * a + noise.normal(0, 0.05 * a.std(), a.shape)).astype(np.float32))
    sitk.WriteImage(noisy, str(images / f"{near}.nii.gz"))
    shutil.copy(labels / f"{original}.nii.gz", labels / f"{near}.nii.gz")
    found = codes(tmp_path)
    assert {code: name for code, name in spoiled.items() if code not in found.get(name, set())} == {}
    assert found[cut] == {"unreadable"}
    # The later one of two is named.
    assert any("duplicate" in found.get(name, set()) for name in (copy, good))
    assert any("near-duplicate" in found.get(name, set()) for name in (near, original))
    clean = set(few[16:18])
    assert not clean & set(found)
