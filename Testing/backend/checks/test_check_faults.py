"""`mimseg check` names each planted fault in the case that has it, and nothing in the others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from planted_faults import (
    ALSO,
    CASES,
    FAULTS,
    SIZE,
    Data,
    Found,
    empty_label,
    flipped_case,
    hole,
    odd_spacing,
    phantom,
    same_voxels,
    stray_voxels,
)
from synthetic import write_scan

from mimseg.commands.check.run import CheckSettings, check
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid
from mimseg.events import Reporter


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


def test_segments_go_by_name_and_a_name_of_one_case_alone_is_told(tmp_path: Path) -> None:
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
    # In case_3 the same voxels have the other names: that is what differs, not the numbers.
    assert {(f.case, f.code) for f in findings if f.case != "case_3"} == {
        ("case_4", "label-names-differ"),
        ("case_4", "missing-structure"),
        ("", "not-in-all"),
    }
    (named,) = (f for f in findings if f.code == "label-names-differ")
    assert named.evidence["name"] == "vessel"
    assert "“small”" in named.message


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
