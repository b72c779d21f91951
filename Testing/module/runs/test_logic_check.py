"""Check data: what is wrong with the training cases."""

import base64
import os
import shutil
from pathlib import Path

import pytest
from logic_tools import add_cases, pretrain

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
from fake_backend import PNG, arguments_of, fake_backend
from MIMSegmentLib.Runs.CheckReport import picturesOf


def test_good_cases_have_no_problem_that_prevents_training(logic, scene):
    logic, record = logic
    add_cases(logic, scene)
    logic.checkCases()
    name, result = record.wait()
    assert name == "finished", result
    assert result["command"] == "check"
    assert [problem for problem in result["problems"] if problem["severity"] == "error"] == []


def test_problems_of_cases_are_told_in_plain_words(logic, scene):
    logic, record = logic
    add_cases(logic, scene)
    entry = logic.cases.entries()[1]
    os.remove(logic.cases.path(entry["image"]))
    logic.checkCases()
    _name, result = record.wait()
    (problem,) = [problem for problem in result["problems"] if problem["severity"] == "error"]
    assert problem["case"] == entry["id"]
    assert problem["message"]
    assert problem["remedy"]


def test_the_backend_looks_into_the_cases(logic, scene):
    logic, record = logic
    add_cases(logic, scene, 2)
    first, second = logic.cases.entries()
    shutil.copy(logic.cases.path(first["image"]), logic.cases.path(second["image"]))
    logic.checkCases()
    _name, result = record.wait()
    assert [problem for problem in result["problems"] if "case" in problem and problem["message"]]


def test_no_case_is_a_problem_and_no_failure(logic):
    logic, record = logic
    logic.checkCases()
    _name, result = record.wait()
    assert result["problems"][0]["severity"] == "error"


def test_a_table_that_cannot_be_read_is_told_and_another_run_can_follow(logic, scene):
    logic, record = logic
    add_cases(logic, scene, 1)
    Path(logic.cases.path("cases.json")).write_text("{")
    logic.checkCases()
    name, message, _hint = record.wait()
    assert name == "failed"
    assert "cases.json" in message
    assert not logic.running


def test_the_cases_are_compared_with_what_training_starts_from(make_logic, scene, folder):
    backend, set_mode = fake_backend(folder / "module")
    set_mode("RUN")
    logic, record = make_logic(backend)
    add_cases(logic, scene)
    (folder / "scans").mkdir()
    pretrain(logic, [str(folder / "scans")], "Vor", 5)
    record.wait()
    for initial, expected in (
        ("tiny", "--model=tiny"),
        (logic.pretrainings()[0]["path"], "--modality=MR"),
        ("none", None),
    ):
        record.clear()
        logic.checkCases(initial)
        name, result = record.wait()
        assert name == "finished", result
        (arguments,) = arguments_of(record)
        given = [text for text in arguments if text.startswith(("--model=", "--modality="))]
        assert given == [expected] * (expected is not None)
        assert os.path.isfile(result["report"])


def test_the_pictures_of_findings_are_taken_from_the_backends_own_report(tmp_path):
    from mimseg.checks.finding import Finding, Spot
    from mimseg.commands.check.report import make_page

    png = base64.b64decode(PNG)
    spots = (Spot("Kopf & <1>", "left"), Spot("Kopf & <1>", "right"))
    findings = [
        Finding("Kopf & <1>", "error", "a", 'The label is "odd" & small.', "Redraw it.", {"x": 1.5}, spots),
        Finding("", "note", "b", "Spacing differs.", "Nothing.", {}, spots[:1]),
        Finding("Kopf & <1>", "note", "c", "No picture.", "Nothing."),
    ]
    path = tmp_path / "check.html"
    path.write_text(make_page(findings, 2, dict.fromkeys(spots, png)), encoding="utf-8")
    assert picturesOf(str(path)) == {
        ("Kopf & <1>", 'The label is "odd" & small.'): [("Kopf & <1>: left", png), ("Kopf & <1>: right", png)],
        ("", "Spacing differs."): [("Kopf & <1>: left", png)],
    }
    assert picturesOf(str(tmp_path / "gone.html")) == {}
