"""`mimseg models`: list, show, export, import, remove."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundle_files import make_bundle_of_bytes
from json_lines import events

from mimseg.cli.main import main


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models; the shipped ones are a folder with one model."""
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path / "models"))
    make_bundle_of_bytes(tmp_path / "shipped" / "shipped-model", name="shipped-model", title="Comes with mimseg")
    monkeypatch.setattr("mimseg.bundle.locations.shipped_folder", lambda: tmp_path / "shipped")
    return tmp_path / "models"


def test_a_model_goes_from_export_to_import_to_removal(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    made = make_bundle_of_bytes(tmp_path / "made", name="made-here")
    packed = tmp_path / "made.zip"
    assert main(["models", "export", str(made), str(packed)]) == 0
    assert main(["models", "export", str(packed), str(tmp_path / "again.zip")]) == 0
    assert (tmp_path / "again.zip").read_bytes() == packed.read_bytes()
    assert main(["models", "import", str(packed)]) == 0
    capsys.readouterr()
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert "made-here" in listed
    assert "yours" in listed
    assert "Comes with mimseg" in listed
    assert "shipped" in listed
    assert main(["models", "show", "made-here"]) == 0
    shown = capsys.readouterr().out
    assert "1 left, 2 right|hand" in shown
    assert "mean Dice 0.500" in shown
    assert "Research use only" in shown
    assert main(["models", "remove", "made-here"]) == 0
    assert list(models.iterdir()) == []
    assert main(["models", "show", "made-here"]) == 2


def test_a_score_of_an_earlier_version_says_so(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    scores = {"summary": {"mean_dice": 0.7367, "version": "0.3.0"}}
    made = make_bundle_of_bytes(tmp_path / "made", name="made-here", scores=scores)
    assert main(["models", "show", str(made)]) == 0
    assert "mean Dice 0.737 on its validation cases (version 0.3.0, which had not seen" in capsys.readouterr().out


def test_json_lines_follow_the_schema(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    made = make_bundle_of_bytes(tmp_path / "made", name="made-here")
    results = {}
    for arguments in (
        ["export", str(made), str(tmp_path)],
        ["import", str(tmp_path / "made-here-1.2.3.zip")],
        ["list"],
        ["show", "made-here"],
        ["remove", "made-here"],
    ):
        assert main(["models", *arguments, "--json-lines"]) == 0
        start, results[arguments[0]] = events(capsys.readouterr().out)
        assert start == {"event": "start", "command": "models", "action": arguments[0]}
    assert results["export"]["file"] == str(tmp_path / "made-here-1.2.3.zip")
    assert results["import"]["path"] == str(models / "made-here")
    names = {entry["name"]: entry["shipped"] for entry in results["list"]["models"]}
    assert names == {"made-here": False, "shipped-model": True}
    assert results["show"]["description"]["labels"][0]["name"] == "left"
    assert main(["models", "show", "absent", "--json-lines"]) == 2
    assert events(capsys.readouterr().out)[-1]["code"] == "no-such-model"


def test_a_shipped_model_cannot_be_removed(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["models", "remove", "shipped-model"]) == 2
    assert "came with mimseg" in capsys.readouterr().err
    assert (tmp_path / "shipped" / "shipped-model" / "segmentation.json").is_file()


@pytest.mark.parametrize("name", ["../shipped/shipped-model", ".", "absent", "/"])
def test_only_a_name_of_an_imported_model_can_be_removed(
    models: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture
) -> None:
    make_bundle_of_bytes(models / "mine", name="mine")
    assert main(["models", "remove", name]) == 2
    assert "mine" in capsys.readouterr().err
    assert (models / "mine").is_dir()
    assert (tmp_path / "shipped" / "shipped-model").is_dir()


def test_a_damaged_model_is_listed_and_the_others_too(models: Path, capsys: pytest.CaptureFixture) -> None:
    make_bundle_of_bytes(models / "broken")
    (models / "broken" / "segmentation.json").write_text("{")
    assert main(["models", "list"]) == 0
    listed = capsys.readouterr().out
    assert "unusable" in listed
    assert "Comes with mimseg" in listed
    assert main(["models", "show", "broken"]) == 2
    assert main(["models", "remove", "broken"]) == 0


def test_without_any_model_the_list_says_how_to_get_one(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("mimseg.bundle.locations.shipped_folder", lambda: tmp_path / "nowhere")
    assert main(["models", "list"]) == 0
    assert "models import" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [[], ["list", "x"], ["show"], ["export", "x"], ["import"], ["remove", "a", "b"], ["train"]]
)
def test_wrong_usage_is_explained(models: Path, arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["models", *arguments]) == 2
    assert "models" in capsys.readouterr().err


def test_an_unsafe_zip_ends_in_exit_code_2(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "evil.zip"
    path.write_bytes(b"PK\x05\x06" + bytes(18))
    assert main(["models", "import", str(path)]) == 2
    assert main(["models", "import", str(tmp_path / "absent.zip")]) == 2
    assert "Traceback" not in capsys.readouterr().err
