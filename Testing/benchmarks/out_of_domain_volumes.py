"""Volumes that a hippocampus model was made for, the same ones spoiled, and crops of other scans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from mimseg.data.cases import load_dataset, pick_cases
from mimseg.data.images import array_of, image_of
from mimseg.data.volume import Grid, Volume
from mimseg.data.volumes import read_volume

CROP_MM = (36.0, 50.0, 36.0)
# Scans to cut from: kind, file. No crop of them shows a hippocampus on purpose; those of the brain may touch one.
ELSEWHERE = {
    "T1 MR, elsewhere in the brain": (
        "mr/studyforrest_t1/image.nii.gz",
        "mr/mni152_2009a/t1.nii.gz",
        "mr/stroke3/T1.nii.gz",
    ),
    "T2 and FLAIR MR of the brain": ("mr/stroke3/T2.nii.gz", "mr/stroke3/FLAIR.nii.gz"),
    "MR of neck and breast": ("mr/sct_t1/image.nii.gz", "mr/sct_t2/image.nii.gz", "mr/pyradiomics_breast1/image.nrrd"),
    "CT of the trunk": ("ct/ts_body/ct.nii.gz", "ct/ts_pulmonary/ct.nii.gz", "ct/ts_aorta/ct.nii.gz"),
}
Spoil = Callable[[Volume, np.random.Generator], Volume]


def inverted(volume: Volume, _: np.random.Generator) -> Volume:
    array = volume.array.astype(np.float32)
    return Volume(array.max() + array.min() - array, volume.grid)


def noisy(volume: Volume, generator: np.random.Generator, share: float) -> Volume:
    array = volume.array.astype(np.float32)
    return Volume(array + generator.normal(0, share * array.std(), array.shape).astype(np.float32), volume.grid)


def turned(volume: Volume, _: np.random.Generator, axis: int) -> Volume:
    return Volume(np.flip(volume.array, axis).copy(), volume.grid)


def resized(volume: Volume, _: np.random.Generator, factor: float) -> Volume:
    x, y, z = (edge * factor for edge in volume.grid.spacing)
    return Volume(volume.array, Grid(volume.grid.size, (x, y, z), volume.grid.origin, volume.grid.direction))


def blurred(volume: Volume, _: np.random.Generator) -> Volume:
    image = sitk.SmoothingRecursiveGaussian(image_of(volume.array.astype(np.float32), volume.grid), 2.0)
    return Volume(array_of(image), volume.grid)


SPOILS: dict[str, Spoil] = {
    "inverted contrast": inverted,
    "noise, 0.5 standard deviations": lambda volume, generator: noisy(volume, generator, 0.5),
    "noise, 1.5 standard deviations": lambda volume, generator: noisy(volume, generator, 1.5),
    "upside down": lambda volume, generator: turned(volume, generator, 2),
    "front to back": lambda volume, generator: turned(volume, generator, 1),
    "voxels half as large in the header": lambda volume, generator: resized(volume, generator, 0.5),
    "voxels twice as large in the header": lambda volume, generator: resized(volume, generator, 2.0),
    "blurred by 2 mm": blurred,
}


def cropped(volume: Volume, generator: np.random.Generator) -> Volume:
    """A box of `CROP_MM` (or all there is) that is mostly tissue, at a random place."""
    edges = [min(n, round(mm / s)) for n, mm, s in zip(volume.grid.size, CROP_MM, volume.grid.spacing, strict=True)]
    tissue = volume.array > np.percentile(volume.array[::4, ::4, ::4], 40)
    best: tuple[float, tuple[int, ...]] = (-1.0, (0, 0, 0))
    for _ in range(30):
        start = tuple(int(generator.integers(0, n - edge + 1)) for n, edge in zip(volume.grid.size, edges, strict=True))
        share = float(tissue[tuple(slice(a, a + e) for a, e in zip(start, edges, strict=True))].mean())
        best = max(best, (share, start))
        if share > 0.8:
            break
    start = best[1]
    array = volume.array[tuple(slice(a, a + e) for a, e in zip(start, edges, strict=True))]
    x, y, z = (float(value) for value in volume.grid.to_point(np.asarray([start], float))[0])
    size = (edges[0], edges[1], edges[2])
    return Volume(array.copy(), Grid(size, volume.grid.spacing, (x, y, z), volume.grid.direction))


def volumes(data: Path, per_kind: int, pool: int) -> Iterator[tuple[str, str, Callable[[], Volume]]]:
    """Kind, name and reader of every volume to measure."""
    folder = data / "hippocampus"
    cases = load_dataset(folder).cases
    normal = pick_cases(cases, f"{folder / 'splits.json'}:validation")
    for case in normal:
        yield "normal", case.identifier, lambda path=case.images[0]: read_volume(path)
    references = list(pick_cases(cases, f"{folder / 'splits.json'}:pool"))
    few = [pick_cases(cases, f"{folder / 'splits.json'}:few_shot.seed{seed}.5") for seed in range(5)]
    wanted = {case.identifier for chosen in few for case in chosen}
    chosen = [case for number, case in enumerate(references) if number % max(1, len(references) // pool) == 0]
    for case in dict.fromkeys([*chosen, *(case for case in references if case.identifier in wanted)]):
        yield "pool", case.identifier, lambda path=case.images[0]: read_volume(path)
    for number in range(per_kind):
        for kind, spoil in SPOILS.items():
            case = normal[(number * 3 + 1) % len(normal)]
            yield (
                kind,
                case.identifier,
                lambda path=case.images[0], spoil=spoil, number=number: spoil(
                    read_volume(path), np.random.default_rng(number)
                ),
            )
        for kind, files in ELSEWHERE.items():
            path = data / files[number % len(files)]
            yield (
                kind,
                f"{path.parent.name}-{number}",
                lambda path=path, number=number: cropped(read_volume(path), np.random.default_rng(number)),
            )
