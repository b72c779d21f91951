"""`mimseg check` names the planted faults, and none on a clean data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from synthetic import ball_scan, write_dataset, write_scan

from mimseg.cli.main import main
from mimseg.events import Reporter
from mimseg.tasks.check import check


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", 5)


def codes(data: Path, **options: object) -> set[tuple[str, str]]:
    return {(problem.case, problem.code) for problem in check(data, Reporter(), **options)}  # type: ignore[arg-type]


def test_a_clean_data_set_has_no_problem(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert codes(data) == set()
    assert main(["check", str(data)]) == 0
    assert "No problem found" in capsys.readouterr().out


def test_every_planted_fault_is_named_with_its_case_and_remedy(data: Path) -> None:
    labels, images = data / "labelsTr", data / "imagesTr"
    label = ball_scan(0)[1]
    write_scan(labels / "case_0.nii.gz", np.zeros_like(label))
    label[0, 0, 0] = 7
    write_scan(labels / "case_1.nii.gz", label)
    write_scan(labels / "case_2.nii.gz", ball_scan(2)[1], spacing=(1, 1, 2))
    shutil.copy(images / "case_4.nii.gz", images / "case_3.nii.gz")
    (images / "case_4.nii.gz").write_bytes(b"nothing")
    found = check(data, Reporter())
    assert {(p.case, p.code) for p in found} >= {
        ("case_0", "empty-label"),
        ("case_1", "unknown-label-value"),
        ("case_1", "tiny-label"),
        ("case_2", "grid-mismatch"),
    }
    assert any(p.case == "case_4" and p.severity == "error" for p in found)
    assert all(p.remedy for p in found if p.code != "grid-mismatch")


def test_duplicates_missing_structures_and_odd_spacings_are_found(data: Path) -> None:
    shutil.copy(data / "imagesTr" / "case_0.nii.gz", data / "imagesTr" / "case_1.nii.gz")
    image, label = ball_scan(2)
    write_scan(data / "imagesTr" / "case_2.nii.gz", image, spacing=(1, 1, 4))
    write_scan(data / "labelsTr" / "case_2.nii.gz", label, spacing=(1, 1, 4))
    only_ball = ball_scan(3)[1]
    only_ball[only_ball == 2] = 0
    write_scan(data / "labelsTr" / "case_3.nii.gz", only_ball)
    assert codes(data) == {("case_1", "duplicate"), ("case_2", "spacing"), ("case_3", "missing-structure")}


def test_volumes_without_negative_values_are_no_ct(data: Path) -> None:
    assert codes(data, modality="CT") == {(f"case_{n}", "not-hounsfield") for n in range(5)}
    assert codes(data, modality="MR") == set()


def test_json_lines_carry_the_list(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scan(data / "labelsTr" / "case_0.nii.gz", np.zeros((20, 22, 18), np.uint8))
    assert main(["check", str(data), "--json-lines"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [problem["code"] for problem in result["problems"]] == ["empty-label"]


def test_real_hippocampi_are_clean(shared_data: Path, tmp_path: Path) -> None:
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        for path in sorted((shared_data / "hippocampus" / folder).iterdir())[:12]:
            shutil.copy(path, tmp_path / folder)
    assert codes(tmp_path) == set()
