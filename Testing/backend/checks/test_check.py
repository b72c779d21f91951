"""`mimseg check` as a command: what it prints, its JSON lines, its report, and what it compares the data with."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import ball_scan, write_dataset, write_scan
from tiny_model import write_tiny_bundle

from mimseg.checks.comparison import unusual_cases
from mimseg.checks.context import Context
from mimseg.checks.subjects import find as find_subjects
from mimseg.cli.main import main
from mimseg.commands.check.run import CheckSettings, check
from mimseg.errors import UserError
from mimseg.events import Reporter


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", 4)


def codes(data: Path, **options: object) -> set[tuple[str, str]]:
    findings = check(CheckSettings(data, **options), Reporter()).findings  # type: ignore[arg-type]
    return {(finding.case, finding.code) for finding in findings}


def empty_first_label(data: Path) -> None:
    write_scan(data / "labelsTr" / "case_0.nii.gz", np.zeros((20, 22, 18), np.uint8))


def test_a_clean_data_set_has_no_problem(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert codes(data) == set()
    assert main(["check", str(data)]) == 0
    assert capsys.readouterr().out == "No problem found in 4 cases.\n"


def test_values_that_the_data_set_does_not_name_are_errors(data: Path, tmp_path: Path) -> None:
    label = ball_scan(1)[1]
    label[label == 2] = 7
    write_scan(data / "labelsTr" / "case_1.nii.gz", label)
    found = check(CheckSettings(data), Reporter()).findings
    assert {(f.case, f.code, f.severity) for f in found} == {
        ("case_1", "unknown-label-value", "error"),
        ("case_1", "missing-structure", "warning"),
    }
    assert "It lacks the structure block (value 2)" in found[0].message
    regions = [{"value": 1, "name": "all", "values": [1, 2, 7]}, {"value": 2, "name": "core", "values": [2]}]
    (tmp_path / "regions.json").write_text(json.dumps(regions), encoding="utf-8")
    assert "unknown-label-value" not in {code for _, code in codes(data, labels=tmp_path / "regions.json")}


def test_json_lines_carry_the_list(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty_first_label(data)
    assert main(["check", str(data), "--json-lines"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (problem,) = lines[-1]["problems"]
    assert set(problem) == {"case", "severity", "code", "message", "remedy", "evidence", "numbers"}
    assert (problem["case"], problem["severity"], problem["code"]) == ("case_0", "warning", "empty-label")
    assert lines[-1]["counts"] == {"error": 0, "warning": 1, "note": 0}
    assert [line["code"] for line in lines if line["event"] == "warning"] == ["empty-label"]


def test_the_report_stands_alone_and_shows_pictures_but_no_folder(data: Path, tmp_path: Path) -> None:
    empty_first_label(data)
    (data / "imagesTr" / "case_1.nii.gz").write_bytes(b"nothing")
    assert main(["check", str(data), "-o", str(tmp_path / "report.html"), "--quiet"]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    content = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {problem["case"] for problem in content["problems"]} == {"case_0", "case_1"}
    assert all(problem["message"] in page.replace("&#x27;", "'") for problem in content["problems"])
    pictures = re.findall('src="([^"]*)"', page)
    assert pictures
    assert all(base64.b64decode(p.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG") for p in pictures)
    assert not re.search("https?://|<script|<link", page)
    assert str(tmp_path) not in page + json.dumps(content)


def test_a_report_that_cannot_be_written_is_an_error(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        check(CheckSettings(data, report=tmp_path / "file" / "report"), Reporter())


def test_volumes_without_low_values_are_no_ct(data: Path) -> None:
    assert codes(data, modality="CT") == {(f"case_{n}", "not-hounsfield") for n in range(4)}
    assert codes(data, modality="MR") == set()


def test_the_data_are_compared_with_a_model(data: Path, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "tiny", modality="CT")
    assert {code for _, code in codes(data, model=str(tmp_path / "tiny"))} == {"not-hounsfield"}
    write_tiny_bundle(tmp_path / "two", channels=("T1", "T2"))
    assert {code for _, code in codes(data, model=str(tmp_path / "two"))} == {"channel-count"}


def test_who_trains_must_not_validate(data: Path) -> None:
    rows = [f"imagesTr/case_{n}.nii.gz,labelsTr/case_{n}.nii.gz,{subject}" for n, subject in enumerate("aabc")]
    (data / "cases.csv").write_text("\n".join(["image,label,subject", *rows]), encoding="utf-8")
    assert codes(data / "cases.csv", validation="case_1") >= {("case_1", "leaking-validation")}
    assert codes(data / "cases.csv", validation="case_2") == {("", "several-cases-of-subject")}
    both = codes(data, cases="case_0,case_1,case_2", validation="case_2,case_3")
    assert both == {("case_2", "leaking-validation")}


def test_names_of_visits_are_recognised() -> None:
    def groups(*names: str) -> list[object]:
        return [finding.evidence["cases"] for finding in find_subjects(dict.fromkeys(names, ""), Context())]

    assert groups("sub-01_ses-1_T1w", "sub-01_ses-2_T1w", "sub-02_ses-1_T1w") == [
        ["sub-01_ses-1_T1w", "sub-01_ses-2_T1w"]
    ]
    assert groups("knee_left", "knee_right", "hip_left") == [["knee_left", "knee_right"]]
    assert groups("case_1", "case_2", "hippocampus_003", "hippocampus_004", "patient7") == []


def test_odd_numbers_are_seen_among_three_and_spread_is_respected() -> None:
    assert set(unusual_cases({"a": 1.0, "b": 1.1, "c": 9.0}, 0.2, 6)) == {"c"}
    assert unusual_cases({"a": 1.0, "b": 9.0}, 0.2, 6) == {}
    assert unusual_cases({str(n): float(n) for n in range(50)}, 0.2, 6) == {}


def test_checking_needs_no_training_packages() -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'monai', 'scipy', 'openvino', 'nibabel', 'onnx')))\n"
        "import mimseg.commands.check.run"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
