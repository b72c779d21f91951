"""Synthetic cases without a fault, and the faults to plant in them with the findings that name each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from synthetic import write_scan

from mimseg.commands.check.run import CheckSettings, check
from mimseg.events import Reporter

CASES = 6
SIZE = (30, 34, 26)
Found = set[tuple[str, str]]


def phantom(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A body with texture in air, with a large bright organ on one side and a small dark one: image and labels."""
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SIZE), indexing="ij"))

    def ball(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
        moved = np.array(centre) + generator.uniform(-0.05, 0.05, 3)
        wide = np.array(radii) * generator.uniform(0.92, 1.08)
        return (((grid - moved[:, None, None, None]) / wide[:, None, None, None]) ** 2).sum(axis=0) < 1

    body = ball((0, 0, 0), (0.8, 0.85, 0.8))
    organ = ball((0.35, 0.2, 0.1), (0.25, 0.4, 0.3))
    small = ball((-0.3, -0.35, -0.3), (0.2, 0.2, 0.25)) & ~organ
    waves = generator.normal(0, 1, (4, 3)) * 4
    texture = sum(np.sin(np.tensordot(wave, grid, 1) + generator.uniform(0, 6)) for wave in waves)
    image = np.where(body, 100 + 6 * texture + 15 * grid[0] + 20 * grid[1] + 10 * grid[2], 0.0)
    image[organ] += 80
    image[small] -= 60
    image += generator.normal(0, 2, SIZE)
    return image.astype(np.float32), (organ + 2 * small).astype(np.uint8)


@dataclass
class Data:
    """A folder of phantoms whose files tests may spoil."""

    folder: Path

    def image(self, number: int) -> Path:
        return self.folder / "imagesTr" / f"case_{number}.nii.gz"

    def label(self, number: int) -> Path:
        return self.folder / "labelsTr" / f"case_{number}.nii.gz"

    def found(self, **settings: object) -> Found:
        findings = check(CheckSettings(self.folder, **settings), Reporter()).findings  # type: ignore[arg-type]
        assert all(finding.message and finding.remedy for finding in findings)
        return {(finding.case, finding.code) for finding in findings}


def cut_off(data: Data) -> Found:
    content = data.image(2).read_bytes()
    data.image(2).write_bytes(content[: len(content) // 2])
    return {("case_2", "unreadable")}


def label_on_another_grid(data: Data) -> Found:
    write_scan(data.label(2), phantom(2)[1][:-1])
    return {("case_2", "grid-mismatch")}


def one_value(data: Data) -> Found:
    write_scan(data.image(2), np.full(SIZE, 7.0, np.float32))
    return {("case_2", "constant")}


def empty_label(data: Data) -> Found:
    write_scan(data.label(2), np.zeros(SIZE, np.uint8))
    return {("case_2", "empty-label")}


def other_value(data: Data) -> Found:
    label = phantom(2)[1]
    label[label == 2] = 9
    write_scan(data.label(2), label)
    return {("case_2", "rare-label-value"), ("case_2", "missing-structure")}


def tiny_label(data: Data) -> Found:
    label = phantom(2)[1]
    ours = np.argwhere(label == 2)
    label[label == 2] = 0
    label[tuple(ours[len(ours) // 2])] = 2
    write_scan(data.label(2), label)
    return {("case_2", "tiny-label")}


def far_too_large(data: Data) -> Found:
    image, label = phantom(2)
    label[(label == 0) & (image > 60)] = 2
    write_scan(data.label(2), label)
    return {("case_2", "unusual-size"), ("case_2", "label-intensity")}


def stray_voxels(data: Data) -> Found:
    label = phantom(2)[1]
    label[7:9, 20, 13] = 1
    write_scan(data.label(2), label)
    return {("case_2", "many-pieces")}


def hole(data: Data) -> Found:
    label = phantom(2)[1]
    i, j, k = np.argwhere(label == 1).mean(axis=0).round().astype(int)
    label[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = 0
    write_scan(data.label(2), label)
    return {("case_2", "holes")}


def label_in_the_air(data: Data) -> Found:
    label = phantom(2)[1]
    moved = np.zeros_like(label)
    organ = label[label.any(axis=(1, 2))][:, label.any(axis=(0, 2))][:, :, label.any(axis=(0, 1))] == 2
    moved[: organ.shape[0], : organ.shape[1], : organ.shape[2]] = 2 * organ
    write_scan(data.label(2), np.where(label == 1, 1, moved).astype(np.uint8))
    return {("case_2", "label-outside-body")}


def label_on_something_else(data: Data) -> Found:
    label = phantom(2)[1]
    small = np.roll(label == 2, 9, axis=1)
    write_scan(data.label(2), np.where(small & (label != 1), 2, np.where(label == 1, 1, 0)).astype(np.uint8))
    return {("case_2", "label-intensity")}


def flipped_case(data: Data) -> Found:
    image, label = phantom(2)
    write_scan(data.image(2), image[::-1])
    write_scan(data.label(2), label[::-1])
    return {("case_2", "flipped")}


def upside_down_case(data: Data) -> Found:
    image, label = phantom(2)
    write_scan(data.image(2), image[:, ::-1, ::-1])
    write_scan(data.label(2), label[:, ::-1, ::-1])
    return {("case_2", "flipped")}


def permuted_axes(data: Data) -> Found:
    image, label = phantom(2)
    write_scan(data.image(2), image.transpose(1, 2, 0))
    write_scan(data.label(2), label.transpose(1, 2, 0))
    return {("case_2", "flipped")}


def flipped_label(data: Data) -> Found:
    write_scan(data.label(2), phantom(2)[1][::-1])
    return {("case_2", "label-flipped")}


def flipped_image(data: Data) -> Found:
    write_scan(data.image(2), phantom(2)[0][::-1])
    return {("case_2", "image-flipped")}


def same_voxels(data: Data) -> Found:
    shutil.copy(data.image(0), data.image(2))
    return {("case_2", "duplicate")}


def same_scan_with_noise(data: Data) -> Found:
    image = phantom(0)[0]
    write_scan(data.image(2), 20 + 1.5 * image + np.random.default_rng(1).normal(0, 3, SIZE).astype(np.float32))
    write_scan(data.label(2), np.roll(phantom(0)[1], 1, axis=2))
    return {("case_2", "near-duplicate")}


def mirrored_copy(data: Data) -> Found:
    image, label = phantom(0)
    write_scan(data.image(2), image[::-1])
    write_scan(data.label(2), label[::-1])
    return {("case_2", "near-duplicate"), ("case_2", "flipped")}


def crop_of_another(data: Data) -> Found:
    image, label = phantom(0)
    write_scan(data.image(2), image[3:-3, 5:-2, 4:])
    write_scan(data.label(2), label[3:-3, 5:-2, 4:])
    return {("case_2", "same-scan")}


def labels_of_another(data: Data) -> Found:
    shutil.copy(data.label(0), data.label(2))
    return {("case_2", "same-labels")}


def odd_spacing(data: Data) -> Found:
    image, label = phantom(2)
    write_scan(data.image(2), image, spacing=(1, 1, 3))
    write_scan(data.label(2), label, spacing=(1, 1, 3))
    return {("case_2", "spacing")}


def ct_among_mr(data: Data) -> Found:
    image = phantom(2)[0]
    write_scan(data.image(2), np.where(image < 20, -1000, image).astype(np.float32))
    return {("case_2", "other-modality")}


def two_visits(data: Data) -> Found:
    for number, name in ((1, "anna_baseline"), (2, "anna_followup")):
        data.image(number).rename(data.image(number).with_name(f"{name}.nii.gz"))
        data.label(number).rename(data.label(number).with_name(f"{name}.nii.gz"))
    return {("anna_baseline", "alike-names")}


def decimal_labels(data: Data) -> Found:
    write_scan(data.label(2), phantom(2)[1].astype(np.float32))
    return {("case_2", "decimal-labels")}


FAULTS: tuple[Callable[[Data], Found], ...] = (
    cut_off,
    label_on_another_grid,
    one_value,
    empty_label,
    other_value,
    tiny_label,
    far_too_large,
    stray_voxels,
    hole,
    label_in_the_air,
    label_on_something_else,
    flipped_case,
    upside_down_case,
    permuted_axes,
    flipped_label,
    flipped_image,
    same_voxels,
    same_scan_with_noise,
    mirrored_copy,
    crop_of_another,
    labels_of_another,
    odd_spacing,
    ct_among_mr,
    two_visits,
    decimal_labels,
)


# What a fault may bring along besides its own finding.
ALSO = {
    one_value: {"near-duplicate", "label-intensity"},
    far_too_large: {"label-outside-body", "label-flipped", "holes"},
    label_in_the_air: {"label-intensity", "many-pieces", "label-flipped"},
    flipped_label: {"label-intensity"},
    flipped_image: {"label-intensity"},
    same_voxels: {"label-intensity"},
    labels_of_another: {"label-intensity"},
    permuted_axes: {"spacing"},
}
