"""`mimseg check` names each planted fault in the case that has it, and nothing in the others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from synthetic import write_scan

from mimseg.data.labelmaps import write_labelmap
from mimseg.data.labels import Label
from mimseg.data.volume import Grid
from mimseg.events import Reporter
from mimseg.tasks.check import CheckSettings, check

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


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir()
    for number in range(CASES):
        image, label = phantom(number)
        write_scan(folder / "imagesTr" / f"case_{number}.nii.gz", image)
        write_scan(folder / "labelsTr" / f"case_{number}.nii.gz", label)
    return folder


@pytest.fixture
def data(clean: Path, tmp_path: Path) -> Data:
    return Data(Path(shutil.copytree(clean, tmp_path / "data")))


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


def test_clean_cases_have_no_finding(data: Data) -> None:
    assert data.found() == set()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_clean_cases_have_no_finding_either(data: Data, count: int) -> None:
    assert data.found(cases=",".join(f"case_{number}" for number in range(count))) == set()


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_each_planted_fault_is_named_and_nothing_else(data: Data, plant: Callable[[Data], Found]) -> None:
    wanted = plant(data)
    found = data.found()
    assert wanted <= found
    assert {code for _, code in found - wanted} <= ALSO.get(plant, set())
    assert {case for case, _ in found} == {case for case, _ in wanted}


@pytest.mark.parametrize("plant", [flipped_case, empty_label, same_voxels, odd_spacing, stray_voxels, hole])
def test_three_cases_are_enough_to_see_which_one_is_odd(data: Data, plant: Callable[[Data], Found]) -> None:
    wanted = plant(data)
    assert wanted <= data.found(cases="case_0,case_1,case_2")


def test_a_scan_in_training_and_validation_is_an_error(data: Data) -> None:
    same_voxels(data)
    crop = phantom(1)
    write_scan(data.image(3), crop[0][4:])
    write_scan(data.label(3), crop[1][4:])
    settings = CheckSettings(data.folder, validation="case_2,case_3")
    graves = {
        f.code for f in check(settings, Reporter()).findings if f.severity == "error" and "validation" in f.message
    }
    assert graves == {"duplicate", "same-scan"}


def test_segments_of_other_names_or_values_are_named(tmp_path: Path) -> None:
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    lps = Grid(SIZE, direction=np.diag([-1.0, -1.0, 1.0]))
    tables = [("organ", "small"), ("organ", "small"), ("Organ", "small"), ("small", "organ"), ("organ", "vessel")]
    for number, (first, second) in enumerate(tables):
        image, label = phantom(number)
        write_scan(tmp_path / "imagesTr" / f"case_{number}.nrrd", image)
        table = (Label(1, first, (255, 0, 0)), Label(2, second, (0, 255, 0)))
        write_labelmap(tmp_path / "labelsTr" / f"case_{number}.seg.nrrd", label, lps, table)
    findings = check(CheckSettings(tmp_path), Reporter()).findings
    assert [(f.case, f.code, f.evidence["name"]) for f in findings] == [
        ("case_3", "label-names-differ", "small"),
        ("case_3", "label-names-differ", "organ"),
        ("case_4", "label-names-differ", "vessel"),
    ]


def test_ct_that_lost_its_scale_is_explained(data: Data) -> None:
    for number in range(CASES):
        image = phantom(number)[0]
        scaled = {0: image + 1000, 1: image / 300, 2: np.clip(image, 0, 255)}.get(number, image * 2 - 500)
        write_scan(data.image(number), np.maximum(scaled, 0 if number < 3 else -1000).astype(np.float32))
    findings = check(CheckSettings(data.folder, modality="CT"), Reporter()).findings
    told = {f.case: f.message for f in findings if f.code == "not-hounsfield"}
    assert set(told) == {"case_0", "case_1", "case_2"}
    assert "1024 too bright" in told["case_0"]
    assert "0..1" in told["case_1"]
    assert "8-bit" in told["case_2"]


def test_an_unreadable_channel_or_another_number_of_channels_is_an_error(data: Data) -> None:
    lines = ["image,label"] + [f"imagesTr/case_{n}.nii.gz,labelsTr/case_{n}.nii.gz" for n in range(4)]
    lines[1] = "imagesTr/case_0.nii.gz|imagesTr/case_0.nii.gz,labelsTr/case_0.nii.gz"
    (data.folder / "cases.csv").write_text("\n".join(lines), encoding="utf-8")
    findings = check(CheckSettings(data.folder / "cases.csv"), Reporter()).findings
    assert {(f.case, f.code, f.severity) for f in findings} == {("case_0", "channel-count", "error")}


def test_what_lies_left_in_an_oblique_header_is_not_a_flip(data: Data) -> None:
    image, label = phantom(2)
    for path, array in ((data.image(2), image), (data.label(2), label)):
        stored = sitk.GetImageFromArray(np.ascontiguousarray(array[::-1].transpose()))
        # Voxels stored from right to left, and a header that says so.
        stored.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, 1))
        sitk.WriteImage(stored, str(path))
    assert data.found() == set()
