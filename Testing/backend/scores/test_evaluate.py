"""`mimseg evaluate`: pairing files, matching labels, scores, summaries, the report's files."""

from __future__ import annotations

import csv
import json
import math
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mimseg import stopping
from mimseg.cli.main import main
from mimseg.commands.evaluate.report import format_table, write_report
from mimseg.commands.evaluate.run import EvaluateSettings, evaluate, pair_files, score_case
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid
from mimseg.errors import Stopped, UserError
from mimseg.events import Reporter
from mimseg.metrics.scores import score_classes
from mimseg.metrics.summary import CaseScores, summarise

GRID = Grid((12, 10, 8), (1.0, 1.0, 2.0), (5.0, -3.0, 7.0))
ANTERIOR, POSTERIOR = Label(1, "Anterior", (200, 0, 0)), Label(2, "Posterior", (0, 200, 0))


class Recorder(Reporter):
    """Keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, str]] = []

    def warning(self, code: str, message: str) -> None:
        self.warnings.append((code, message))


def two_boxes(first: int = 1, second: int = 2, shift: int = 0) -> np.ndarray:
    labels = np.zeros(GRID.size, np.uint8)
    labels[2 + shift : 6 + shift, 2:8, 2:6] = first
    labels[6 + shift : 9 + shift, 2:8, 2:6] = second
    return labels


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    predictions, references = tmp_path / "prädiktionen", tmp_path / "my references"
    for name, shift in (("a", 0), ("b", 1), ("c", 2)):
        write_labelmap(references / f"{name}.nii.gz", two_boxes(), GRID)
        write_labelmap(predictions / f"{name}.nrrd", two_boxes(shift=shift), GRID)
    return predictions, references


def test_folders_are_matched_by_name_and_the_report_holds_every_case_and_class(
    folders: tuple[Path, Path], tmp_path: Path
):
    reporter = Recorder()
    evaluation, paths = evaluate(EvaluateSettings(*folders, tmp_path / "report" / "scores"), reporter)
    assert paths == (tmp_path / "report" / "scores.csv", tmp_path / "report" / "scores.json")
    with (tmp_path / "report" / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["class"]) for row in rows[:3]] == [
        ("a", "label 1"),
        ("a", "label 2"),
        ("a", "background"),
    ]
    assert len(rows) == 9
    assert float(rows[0]["dice"]) == 1.0
    assert float(rows[3]["dice"]) == pytest.approx(0.75)
    assert float(rows[0]["reference_ml"]) == pytest.approx(4 * 6 * 4 * 2 / 1000)
    report = json.loads((tmp_path / "report" / "scores.json").read_text(encoding="utf-8"))
    dice = report["overall"]["dice"]
    expected = np.mean([1.0, np.mean([0.75, 2 / 3]), np.mean([0.5, 1 / 3])])
    assert dice["mean"] == pytest.approx(expected)
    assert dice["median"] == pytest.approx(np.mean([0.75, 2 / 3]))
    assert dice["interval"][0] < dice["mean"] < dice["interval"][1]
    assert report["overall"]["dice_with_background"]["mean"] > dice["mean"]
    assert report["classes"]["label 1"]["hd95_mm"]["cases"] == 3
    assert evaluation.overall["dice"].mean == pytest.approx(expected)
    assert not reporter.warnings


def test_report_holds_no_path_and_leaves_no_partial_file(folders: tuple[Path, Path], tmp_path: Path):
    evaluate(EvaluateSettings(*folders, tmp_path / "scores.json"), Reporter())
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"scores.csv", "scores.json"}
    assert str(tmp_path) not in (tmp_path / "scores.json").read_text(encoding="utf-8")


def test_segmentations_are_matched_by_segment_name_not_by_value(tmp_path: Path):
    write_labelmap(tmp_path / "p.seg.nrrd", two_boxes(), GRID, [ANTERIOR, POSTERIOR])
    swapped = [Label(1, "posterior", (0, 200, 0)), Label(2, "anterior", (200, 0, 0))]
    write_labelmap(tmp_path / "r.seg.nrrd", two_boxes(2, 1), GRID, swapped)
    scores = score_case("x", tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd", None, 1.0)
    assert {name: score.dice for name, score in scores.classes.items()} == {"anterior": 1.0, "posterior": 1.0}
    assert scores.background_dice == 1.0


def test_names_of_the_one_segmentation_serve_a_plain_labelmap_matched_by_value(tmp_path: Path):
    write_labelmap(tmp_path / "p.nii.gz", two_boxes(), GRID)
    write_labelmap(tmp_path / "r.seg.nrrd", two_boxes(), GRID, [ANTERIOR, POSTERIOR])
    reporter = Recorder()
    scores = score_case("x", tmp_path / "p.nii.gz", tmp_path / "r.seg.nrrd", None, 1.0, reporter)
    assert set(scores.classes) == {"Anterior", "Posterior"}
    [(code, message)] = reporter.warnings
    assert code == "matched-by-value"
    assert "1 = Anterior, 2 = Posterior" in message


def test_values_of_many_nameless_files_are_told_once(tmp_path: Path):
    for name in ("a", "b", "c"):
        write_labelmap(tmp_path / "p" / f"{name}.nii.gz", two_boxes(), GRID)
        write_labelmap(tmp_path / "r" / f"{name}.seg.nrrd", two_boxes(), GRID, [ANTERIOR, POSTERIOR])
    reporter = Recorder()
    evaluate(EvaluateSettings(tmp_path / "p", tmp_path / "r", tmp_path / "scores"), reporter)
    assert [code for code, _ in reporter.warnings] == ["matched-by-value"]


def test_label_file_says_what_a_nameless_file_holds_and_names_decide_in_the_other(tmp_path: Path):
    write_labelmap(tmp_path / "p.nii.gz", two_boxes(), GRID)
    swapped = [Label(1, "posterior", (0, 200, 0)), Label(2, "anterior", (200, 0, 0))]
    write_labelmap(tmp_path / "r.seg.nrrd", two_boxes(2, 1), GRID, swapped)
    table, reporter = {1: "Anterior", 2: "Posterior"}, Recorder()
    for pair in (("p.nii.gz", "r.seg.nrrd"), ("r.seg.nrrd", "p.nii.gz")):
        scores = score_case("x", tmp_path / pair[0], tmp_path / pair[1], table, 1.0, reporter)
        assert {name: score.dice for name, score in scores.classes.items()} == {"Anterior": 1.0, "Posterior": 1.0}
    assert not reporter.warnings


def test_two_segmentations_without_a_common_name_are_told(tmp_path: Path):
    write_labelmap(tmp_path / "p.seg.nrrd", two_boxes(), GRID, [Label(1, "Segment_1", (200, 0, 0))])
    write_labelmap(tmp_path / "r.seg.nrrd", two_boxes(), GRID, [ANTERIOR, POSTERIOR])
    reporter = Recorder()
    scores = score_case("x", tmp_path / "p.seg.nrrd", tmp_path / "r.seg.nrrd", None, 1.0, reporter)
    assert {score.dice for score in scores.classes.values()} == {0.0}
    assert [code for code, _ in reporter.warnings if code != "stray-voxels"] == ["no-common-names"]


def test_segment_names_that_the_label_file_does_not_know_are_matched_by_value(tmp_path: Path):
    write_labelmap(tmp_path / "p.nii.gz", two_boxes(), GRID)
    write_labelmap(tmp_path / "r.seg.nrrd", two_boxes(), GRID, [ANTERIOR, POSTERIOR])
    scores = score_case("x", tmp_path / "p.nii.gz", tmp_path / "r.seg.nrrd", {1: "head", 2: "tail"}, 1.0)
    assert {name: score.dice for name, score in scores.classes.items()} == {"head": 1.0, "tail": 1.0}


def test_label_file_names_and_chooses_what_is_scored(tmp_path: Path, folders: tuple[Path, Path]):
    (tmp_path / "labels.json").write_text('[{"value": 2, "name": "tail"}, {"value": 9, "name": "absent"}]')
    reporter = Recorder()
    settings = EvaluateSettings(*folders, tmp_path / "scores", labels=tmp_path / "labels.json")
    evaluation, _ = evaluate(settings, reporter)
    assert list(evaluation.classes) == ["tail", "absent"]
    assert evaluation.classes["absent"]["dice"].undefined == 3
    assert math.isnan(evaluation.classes["absent"]["dice"].mean)
    assert [code for code, _ in reporter.warnings] == ["not-scored"] * 3


def test_missed_structure_counts_as_dice_zero_and_its_distance_as_infinite(tmp_path: Path):
    write_labelmap(tmp_path / "p.nii.gz", two_boxes(1, 0), GRID)
    write_labelmap(tmp_path / "r.nii.gz", two_boxes(), GRID)
    evaluation, _ = evaluate(
        EvaluateSettings(tmp_path / "p.nii.gz", tmp_path / "r.nii.gz", tmp_path / "scores"), Reporter()
    )
    missed = evaluation.classes["label 2"]
    assert missed["dice"].mean == 0.0
    assert missed["hd95_mm"].infinite == 1
    assert evaluation.overall["dice"].mean == 0.5
    assert (
        json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["cases"][0]["classes"]["label 2"]["hd95_mm"]
        is None
    )
    assert "inf" in (tmp_path / "scores.csv").read_text(encoding="utf-8")
    assert "label 2: in one file only in 1 case(s)" in format_table(evaluation)


def test_case_without_any_label_is_counted_but_not_scored(tmp_path: Path):
    for name in ("p", "r"):
        write_labelmap(tmp_path / f"{name}.nii.gz", np.zeros(GRID.size, np.uint8), GRID)
    reporter = Recorder()
    settings = EvaluateSettings(tmp_path / "p.nii.gz", tmp_path / "r.nii.gz", tmp_path / "scores")
    evaluation, _ = evaluate(settings, reporter)
    assert evaluation.overall["dice"].undefined == 1
    assert [code for code, _ in reporter.warnings] == ["no-labels"]


def test_reference_that_slicer_cropped_to_its_segments_is_put_in_place(tmp_path: Path):
    write_labelmap(tmp_path / "p.nii.gz", two_boxes(), GRID)
    part = two_boxes()[2:9, 2:8, 2:6]
    origin = GRID.to_point(np.array([[2, 2, 2]], float))[0]
    cropped = Grid(part.shape, GRID.spacing, tuple(origin))
    write_labelmap(tmp_path / "r.seg.nrrd", part, cropped, [ANTERIOR, POSTERIOR])
    scores = score_case("x", tmp_path / "p.nii.gz", tmp_path / "r.seg.nrrd", None, 1.0)
    assert [score.dice for score in scores.classes.values()] == [1.0, 1.0]
    assert scores.background_dice == 1.0


def test_files_without_a_partner_are_named(folders: tuple[Path, Path]):
    write_labelmap(folders[0] / "only.nii.gz", two_boxes(), GRID)
    (folders[1] / "b.nii.gz").unlink()
    (folders[1] / ".hidden.nii.gz").write_bytes(b"")
    (folders[1] / "notes.txt").write_text("")
    reporter = Recorder()
    assert [pair[0] for pair in pair_files(*folders, reporter)] == ["a", "c"]
    assert [code for code, _ in reporter.warnings] == ["no-reference"]
    assert "2 prediction(s)" in reporter.warnings[0][1]
    assert "b, only" in reporter.warnings[0][1]


@pytest.mark.parametrize(
    ("prepare", "code", "text"),
    [
        (lambda p, r: (p / "missing", r), "file-missing", "missing does not exist"),
        (lambda p, r: (p / "a.nrrd", r), "bad-input", "the other a folder"),
        (lambda p, r: (p, r.parent), "no-cases", "holds no label map"),
    ],
)
def test_what_cannot_be_paired_is_refused(folders: tuple[Path, Path], prepare, code: str, text: str):
    with pytest.raises(UserError, match=text) as caught:
        pair_files(*prepare(*folders), Reporter())
    assert caught.value.code == code


def test_two_files_of_one_case_in_a_folder_are_refused(folders: tuple[Path, Path]):
    write_labelmap(folders[0] / "a.nii.gz", two_boxes(), GRID)
    with pytest.raises(UserError, match="two files of the case a"):
        pair_files(*folders, Reporter())


def test_another_grid_is_refused_and_nothing_is_written(folders: tuple[Path, Path], tmp_path: Path):
    write_labelmap(folders[0] / "b.nrrd", two_boxes(), Grid(GRID.size, (1.0, 1.0, 2.5), GRID.origin))
    settings = EvaluateSettings(folders[0] / "b.nrrd", folders[1] / "b.nii.gz", tmp_path / "scores")
    with pytest.raises(UserError, match=r"b\.nrrd") as caught:
        evaluate(settings, Reporter())
    assert caught.value.code == "grid-mismatch"
    assert not list(tmp_path.glob("scores*"))


def test_file_that_cannot_be_read_ends_its_own_case_only(folders: tuple[Path, Path], tmp_path: Path):
    (folders[0] / "a.nrrd").write_bytes((folders[0] / "a.nrrd").read_bytes()[:-20])
    write_labelmap(folders[0] / "b.nrrd", two_boxes(), Grid(GRID.size, (1.0, 1.0, 2.5), GRID.origin))
    reporter = Recorder()
    with pytest.raises(UserError, match=r"2 of 3 cases could not be scored: a, b") as caught:
        evaluate(EvaluateSettings(*folders, tmp_path / "scores"), reporter)
    assert caught.value.code == "cases-failed"
    assert [message.split(":")[0] for _, message in reporter.warnings] == ["a", "b"]
    report = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert [case["case"] for case in report["cases"]] == ["c"]
    assert report["left_out"] == ["a", "b"]
    (folders[0] / "c.nrrd").write_bytes(b"NRRD0004")
    with pytest.raises(UserError, match="None of the cases"):
        evaluate(EvaluateSettings(*folders, tmp_path / "none"), Reporter())
    assert not list(tmp_path.glob("none*"))


def test_stopped_evaluation_writes_nothing(folders: tuple[Path, Path], tmp_path: Path):
    stopping.request()
    try:
        with pytest.raises(Stopped):
            evaluate(EvaluateSettings(*folders, tmp_path / "scores"), Reporter())
    finally:
        stopping.clear()
    assert not list(tmp_path.glob("scores*"))


def test_negative_tolerance_is_refused(folders: tuple[Path, Path], tmp_path: Path):
    with pytest.raises(UserError, match="tolerance -1"):
        evaluate(EvaluateSettings(*folders, tmp_path / "scores", tolerance_mm=-1.0), Reporter())


def test_volume_errors_of_opposite_sign_do_not_cancel_in_the_absolute_error():
    larger, smaller, truth = (np.zeros((8, 8, 8), np.uint8) for _ in range(3))
    larger[1:7, 1:5, 1:5], smaller[1:3, 1:5, 1:5], truth[1:5, 1:5, 1:5] = 1, 1, 1
    cases = [
        CaseScores(name, {"x": score_classes(labels, truth, (1.0, 1.0, 1.0), [1])[1]}, 1.0)
        for name, labels in (("larger", larger), ("smaller", smaller))
    ]
    scores = summarise(cases, None, 1.0).classes["x"]
    assert scores["volume_error_percent"].mean == pytest.approx(0.0)
    assert scores["absolute_volume_error_percent"].mean == pytest.approx(50.0)


def test_report_goes_into_an_existing_folder(folders: tuple[Path, Path], tmp_path: Path):
    evaluation, _ = evaluate(EvaluateSettings(*folders, tmp_path / "first"), Reporter())
    (tmp_path / "reports").mkdir()
    assert write_report(tmp_path / "reports", evaluation)[0] == tmp_path / "reports" / "evaluation.csv"
    assert (tmp_path / "reports" / "evaluation.json").is_file()


def test_command_tells_programs_and_people_the_scores(folders: tuple[Path, Path], tmp_path: Path, capsys):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((resources.files("mimseg") / "schemas" / "events.schema.json").read_text(encoding="utf-8"))
    arguments = ["evaluate", "--pred", str(folders[0]), "--ref", str(folders[1]), "-o", str(tmp_path / "scores")]
    assert main([*arguments, "--json-lines"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for event in events:
        jsonschema.validate(event, schema, cls=jsonschema.Draft202012Validator)
    kinds = [event["event"] for event in events]
    assert (kinds[0], kinds[-1]) == ("start", "result")
    (dice,) = (event for event in events if event.get("name") == "dice" and event["label"] == "label 1")
    assert dice["value"] == pytest.approx(0.75)
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[1].split()[:4] == ["label", "1", "3", "0.750"]
    assert str(tmp_path / "scores.csv") in captured.err


@pytest.mark.shared_data
def test_real_reference_against_itself_is_perfect_even_where_labels_are_stored_as_float(shared_data: Path):
    for name in ("hippocampus_001", "hippocampus_003"):
        path = shared_data / "hippocampus" / "labelsTr" / f"{name}.nii.gz"
        scores = score_case(name, path, path, {1: "anterior", 2: "posterior"}, 1.0)
        assert {key: score.dice for key, score in scores.classes.items()} == {"anterior": 1.0, "posterior": 1.0}
        assert scores.mean("hd95_mm") == pytest.approx(0.0, abs=1e-5)
        assert 1.0 < sum(score.reference_ml for score in scores.classes.values()) < 6.0


def test_voxels_that_the_reference_ignores_count_nowhere(tmp_path: Path) -> None:
    expected, found = two_boxes(), two_boxes()
    expected[:, 2:4] = 3
    found[:4, 2:4] = 2  # wrong, but only where nobody says what is right
    write_labelmap(tmp_path / "r.nii.gz", expected, GRID)
    write_labelmap(tmp_path / "p.nii.gz", found, GRID)
    table = {1: "Anterior", 2: "Posterior", 3: "Ignore"}
    scores = score_case("x", tmp_path / "p.nii.gz", tmp_path / "r.nii.gz", table, 1.0)
    assert {name: score.dice for name, score in scores.classes.items()} == {"Anterior": 1.0, "Posterior": 1.0}
