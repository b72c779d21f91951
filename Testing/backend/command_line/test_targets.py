"""What a command writes replaces no case list or label file of that name, and makes no model a damaged one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic import write_dataset
from tiny_model import write_tiny_bundle

from mimseg.cli.main import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set with a dataset.json, a case list, a label file, a folder to rank into and a model."""
    write_dataset(tmp_path / "data", 2)
    write_tiny_bundle(tmp_path / "tiny")
    labels = [{"value": 1, "name": "Ball"}, {"value": 2, "name": "Other"}]
    (tmp_path / "organs.json").write_text(json.dumps(labels), encoding="utf-8")
    cases = [{"image": f"data/imagesTr/case_{n}.nii.gz", "label": f"data/labelsTr/case_{n}.nii.gz"} for n in range(2)]
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    lines = [f"{case['image']},{case['label']}" for case in cases]
    (tmp_path / "cases.csv").write_text("\n".join(["image,label", *lines]), encoding="utf-8")
    (tmp_path / "ranking").mkdir()
    (tmp_path / "ranking" / "rank.csv").write_text("patient,rank\n1,1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "lost"),
    [
        ("check cases.json -o cases", "cases.json"),
        ("check cases.json -o cases.html", "cases.json"),
        ("check data -o data/dataset", "dataset.json"),
        ("evaluate --pred data/labelsTr --ref data/labelsTr --labels organs.json -o organs", "organs.json"),
        ("evaluate --pred data/labelsTr --ref data/labelsTr -o cases", "cases.csv"),
        ("rank data/imagesTr --model tiny -o ranking", "rank.csv"),
        ("segment data/imagesTr --model tiny -o out --table cases.csv", "cases.csv"),
    ],
)
def test_a_file_that_is_no_report_is_not_replaced(
    here: Path, command: str, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert main([*command.split(), "--json-lines"]) == 2
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert error["code"] == "output-exists"
    assert lost in error["message"]
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "command",
    [
        "check cases.json -o report",
        "evaluate --pred data/labelsTr --ref data/labelsTr -o report",
        "rank data/imagesTr --model tiny -o new --no-maps",
        "segment data/imagesTr --model tiny -o out --table out/volumes.csv",
    ],
)
def test_a_report_of_ours_is_made_again(here: Path, command: str) -> None:
    for _ in range(2):
        assert main([*command.split(), "--quiet"]) == 0


@pytest.mark.parametrize(
    "command",
    [
        "segment data/imagesTr --model tiny -o tiny/results",
        "segment data/imagesTr/case_0.nii.gz --model tiny -o link/case_0.nii.gz",
        "segment data/imagesTr --model tiny -o out --table tiny/volumes.csv",
        "segment data/imagesTr/case_0.nii.gz --model tiny -o out --preview tiny/view.png",
        "rank data/imagesTr --model tiny -o tiny",
        "convert data/labelsTr/case_0.nii.gz -o tiny/labels.nrrd",
        "check data -o tiny/report",
        "evaluate --pred data/labelsTr --ref data/labelsTr -o tiny",
        "models export tiny tiny",
        "models export tiny tiny/docs/tiny.zip",
        "models export tiny tiny --format onnx",
    ],
)
def test_nothing_is_written_into_a_model(here: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "link").symlink_to(here / "tiny" / "models")
    before = sorted(here.rglob("*"))
    assert main([*command.split(), "--json-lines"]) == 2
    error = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert error["code"] == "bad-output"
    assert "folder of a model" in error["message"]
    assert sorted(here.rglob("*")) == before
