"""Batches of crops, a pure function of (seed, step, process): a resumed run draws what an unbroken one would."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mimseg.training.augmentation import (
    AugmentationSettings,
    change_intensity,
    cut_off,
    sample,
    sample_labels,
    sampling_points,
    swap_sides,
)
from mimseg.training.crops.cache import TrainingCase
from mimseg.training.synthesis.drawing import draw

Batch = TypeVar("Batch")


def seed_for(*key: int) -> int:
    """A seed that depends on all numbers of `key` (seed, purpose, step, process, ...)."""
    state = np.random.SeedSequence(key).generate_state(2, np.uint32)
    return int(state[0]) * 2**31 + int(state[1]) // 2


def generator_for(*key: int) -> torch.Generator:
    """A CPU generator that depends on all numbers of `key`, as `seed_for` does."""
    return torch.Generator().manual_seed(seed_for(*key))


def case_indices(seed: int, first: int, count: int, cases: int) -> list[int]:
    """Cases number `first` .. `first + count - 1` of an endless sequence of shuffled passes over all cases."""
    indices = []
    for number in range(first, first + count):
        permutation = np.random.default_rng([seed, number // cases]).permutation(cases)
        indices.append(int(permutation[number % cases]))
    return indices


def crop_centre(
    case: TrainingCase, window: tuple[int, int, int], foreground_share: float, shift: float, generator: torch.Generator
) -> Tensor:
    """Voxel index `(3,)` to centre a crop on: a voxel of a random structure, or anywhere the window fits.

    Along an axis that the window covers, the crop is centred on the volume as inference does.
    """
    size = torch.tensor(case.image.shape[1:], dtype=torch.float32)
    edges = torch.tensor(window, dtype=torch.float32)
    room = (size - edges).clamp_min(0)
    middle = (size - 1) / 2
    centre = middle + (torch.rand(3, generator=generator) - 0.5) * room
    present = [points for points in case.points if len(points)]
    if present and torch.rand((), generator=generator) < foreground_share:
        points = present[int(torch.randint(len(present), (), generator=generator))]
        chosen = points[int(torch.randint(len(points), (), generator=generator))].float()
        centre = torch.minimum(torch.maximum(chosen, middle - room / 2), middle + room / 2)
    centre = centre + (torch.rand(3, generator=generator) * 2 - 1) * shift * edges
    # An undeformed crop consists of whole voxels, as inference's windows do.
    return (centre - (edges - 1) / 2).round() + (edges - 1) / 2


def draw_crop(
    case: TrainingCase,
    window: tuple[int, int, int],
    augmentation: AugmentationSettings,
    foreground_share: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor | None]:
    """One augmented crop: image `(C, X, Y, Z)` and class indices `(1, X, Y, Z)` (None without labels)."""
    centre = crop_centre(case, window, foreground_share, augmentation.shift, generator)
    return _read(case, window, augmentation, centre, generator)


def draw_views(
    case: TrainingCase,
    window: tuple[int, int, int],
    augmentation: AugmentationSettings,
    views: int,
    generator: torch.Generator,
) -> list[Tensor]:
    """Several crops `(C, X, Y, Z)` of the same place, each augmented and displaced by itself."""
    place = crop_centre(case, window, 0.0, 0.0, generator)
    edges = torch.tensor(window, dtype=torch.float32)
    shifts = [((torch.rand(3, generator=generator) * 2 - 1) * augmentation.shift * edges).round() for _ in range(views)]
    return [_read(case, window, augmentation, place + shift, generator)[0] for shift in shifts]


def _read(
    case: TrainingCase,
    window: tuple[int, int, int],
    augmentation: AugmentationSettings,
    centre: Tensor,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor | None]:
    points = sampling_points(window, centre, augmentation, generator)
    label: Tensor | None
    if case.source is not None:
        image, label = draw(case.source, points, generator)
    else:
        image = change_intensity(sample(case.image, points, "bilinear"), augmentation, generator)
        label = None if case.label is None else sample_labels(case.label, points)
    cut_off(image, label, augmentation.cut_off, generator)
    return (image, None) if label is None else _mirrored(image, label, case, augmentation, generator)


def _mirrored(
    image: Tensor, label: Tensor, case: TrainingCase, augmentation: AugmentationSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Half of the crops mirrored along x, with left and right structures swapped, where `flip_pairs` asks for it."""
    if not augmentation.flip_pairs or case.other_side is None or torch.rand((), generator=generator) < 0.5:
        return image, label
    return image.flip(1), swap_sides(label.flip(1), case.other_side)


def cases_of_step(
    seed: int, step: int, process: int, processes: int, batch: int, per_volume: int, cases: int
) -> list[int]:
    """Case of each crop of a step; `per_volume` neighbouring crops come from the same case."""
    volumes = batch // per_volume
    first = (step * processes + process) * volumes
    return [index for index in case_indices(seed, first, volumes, cases) for _ in range(per_volume)]


def draw_batch(
    cases: Sequence[TrainingCase],
    window: tuple[int, int, int],
    augmentation: AugmentationSettings,
    foreground_share: float,
    batch: int,
    seed: int,
    step: int,
    process: int = 0,
    processes: int = 1,
    per_volume: int = 1,
) -> tuple[Tensor, Tensor | None]:
    """Images `(B, C, X, Y, Z)` and class indices `(B, 1, X, Y, Z)` of one step of one process."""
    generator = generator_for(seed, 1, step, process)
    indices = cases_of_step(seed, step, process, processes, batch, per_volume, len(cases))
    crops = [draw_crop(cases[index], window, augmentation, foreground_share, generator) for index in indices]
    labels = [label for _, label in crops if label is not None]
    return torch.stack([image for image, _ in crops]), torch.stack(labels) if labels else None


def draw_unlabelled_batch(
    cases: Sequence[TrainingCase],
    window: tuple[int, int, int],
    augmentation: AugmentationSettings,
    batch: int,
    views: int,
    seed: int,
    step: int,
    process: int = 0,
    processes: int = 1,
    per_volume: int = 1,
) -> Tensor:
    """Crops `(views * B, C, X, Y, Z)` of one step of one process: the first view of every place, then the second."""
    generator = generator_for(seed, 1, step, process)
    indices = cases_of_step(seed, step, process, processes, batch, per_volume, len(cases))
    places = [draw_views(cases[index], window, augmentation, views, generator) for index in indices]
    return torch.stack([views_of_place[view] for view in range(views) for views_of_place in places])


def fixed_crops(
    cases: Sequence[TrainingCase],
    window: tuple[int, int, int],
    augmentation: AugmentationSettings,
    count: int,
    views: int,
    seed: int,
) -> Tensor:
    """Crops `(views * count, C, X, Y, Z)` that are the same in every call: what pre-training is validated on.

    Single crops are not augmented; several views of a place would be equal without.
    """
    plain = AugmentationSettings(spatial_share=0, shift=0, intensity=False)
    generator = generator_for(seed, 2)
    used = augmentation if views > 1 else plain
    places = [draw_views(cases[index % len(cases)], window, used, views, generator) for index in range(count)]
    return torch.stack([views_of_place[view] for view in range(views) for views_of_place in places])


def ahead(make: Callable[[int], Batch], start: int, depth: int = 2) -> Generator[Batch, None, None]:
    """Yield `make(start)`, `make(start + 1)`, ... computed by a thread up to `depth` steps ahead.

    Closing the generator waits for the step that the thread is at.
    """
    waiting: queue.Queue = queue.Queue(maxsize=depth)
    finished = threading.Event()

    def offer(item: tuple[Batch | None, BaseException | None]) -> None:
        while not finished.is_set():
            try:
                return waiting.put(item, timeout=0.2)
            except queue.Full:
                continue

    def work() -> None:
        step = start
        try:
            while not finished.is_set():
                offer((make(step), None))
                step += 1
        except BaseException as fault:
            offer((None, fault))

    worker = threading.Thread(target=work, daemon=True, name="mimseg-crops")
    worker.start()
    try:
        while True:
            batch, fault = waiting.get()
            if fault is not None:
                raise fault
            yield batch  # type: ignore[misc]
    finally:
        finished.set()
        # A thread that is still inside PyTorch when Python ends would abort the whole process.
        worker.join()
