"""What anatomy has is no fault: gas inside the body, pairs of organs, islands of a voxel; and faults beside it are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_faults import CASES, SIZE, Data, phantom
from synthetic import write_scan

from mimseg.checks.appearance import air_around
from mimseg.checks.finding import Finding
from mimseg.commands.check.run import CheckSettings, check
from mimseg.data.cases import load_dataset
from mimseg.events import Reporter


@pytest.fixture
def data(tmp_path: Path) -> Data:
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    for number in range(CASES):
        image, label = phantom(number)
        write_scan(tmp_path / "imagesTr" / f"case_{number}.nii.gz", image)
        write_scan(tmp_path / "labelsTr" / f"case_{number}.nii.gz", label)
    return Data(tmp_path)


def findings(data: Data) -> list[Finding]:
    return check(CheckSettings(data.folder), Reporter()).findings


def test_air_around_the_body_is_what_reaches_the_rim_of_the_scan() -> None:
    image = np.zeros((40, 40, 30), np.float32)
    image[8:32, 8:32, :] = 100
    image[12:20, 12:20, 10:] = 0  # a lung, cut by the last slice
    image[24:28, 24:28, 5:15] = 0  # gas in the bowel
    image[28:32, 25, 10] = 0  # and a hole in the thin wall before it
    air = air_around(image)
    assert air is not None
    assert air[:7].all()
    assert air[:, 33:].all()
    assert not air[12:20, 12:20, 10:].any()
    assert not air[24:28, 24:28, 5:15].any()


def test_a_pair_of_organs_under_one_label_is_no_stray(data: Data) -> None:
    for number in range(CASES):
        label = phantom(number)[1]
        organ = label == 2
        if number == 2:
            label[organ[::-1] & (label == 0)] = 2
        write_scan(data.label(number), label)
    (found,) = (f for f in findings(data) if f.code in ("many-pieces", "pair-of-pieces"))
    assert (found.case, found.severity, found.code) == ("case_2", "note", "pair-of-pieces")
    assert "tray" not in found.message + found.remedy


def test_a_slice_that_was_forgotten_makes_no_pair(data: Data) -> None:
    label = phantom(2)[1]
    middle = int(np.argwhere(label == 1)[:, 0].mean().round())
    label[middle][label[middle] == 1] = 0
    write_scan(data.label(2), label)
    (found,) = (f for f in findings(data) if "pieces" in f.code)
    assert (found.case, found.severity, found.code) == ("case_2", "warning", "many-pieces")
    assert "stray" not in found.remedy


def with_islands(label: np.ndarray, count: int) -> np.ndarray:
    label = label.copy()
    for number in range(count):
        label[1, 1, 1 + 3 * number] = 1 + number % 2
    return label


def test_islands_of_a_voxel_are_one_note_of_the_case(data: Data) -> None:
    write_scan(data.label(2), with_islands(phantom(2)[1], 4))
    pieces = [f for f in findings(data) if f.code == "many-pieces"]
    assert [(f.case, f.severity, f.evidence["values"]) for f in pieces] == [("case_2", "note", [1, 2])]
    assert "4 islands" in pieces[0].message


def test_islands_everywhere_do_not_hide_a_stray_piece(data: Data) -> None:
    for number in range(CASES):
        label = with_islands(phantom(number)[1], 2)
        if number == 2:
            label[2:5, 26:29, 20:22] = 1
        write_scan(data.label(number), label)
    warnings = {(f.case, f.code) for f in findings(data) if f.severity == "warning" and f.code == "many-pieces"}
    assert warnings == {("case_2", "many-pieces")}


def test_structures_that_are_all_too_large_are_one_finding(data: Data) -> None:
    label = phantom(2)[1]
    grid = np.stack(np.indices(SIZE))
    centre = np.array(SIZE)[:, None, None, None] / 2
    far = (((grid - centre) / np.array(SIZE)[:, None, None, None]) ** 2).sum(axis=0)
    label[(label == 0) & (far < 0.14)] = 1
    label[(label == 0) & (far < 0.2)] = 2
    write_scan(data.label(2), label)
    sizes = [f for f in findings(data) if f.code == "unusual-size"]
    assert [f.case for f in sizes] == ["case_2"]
    assert sizes[0].evidence["values"] == [1, 2]


def test_oesophagi_and_stomachs_that_hold_gas_are_inside(shared_data: Path) -> None:
    folder = shared_data / "abdomen_ct"
    if not folder.is_dir():
        pytest.skip("the abdomens are not at hand")
    cases = "abdomen_02,abdomen_12,abdomen_24"
    assert len(load_dataset(folder).cases) == 24
    found = check(CheckSettings(folder, cases=cases), Reporter()).findings
    assert "label-outside-body" not in {finding.code for finding in found}
