"""Labels that reach beyond their image: never lost without a word."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import RecordingReporter

from mimseg.checks.cases.reading import load_case
from mimseg.cli.main import main
from mimseg.data.cases import Case
from mimseg.data.images import image_of
from mimseg.data.labels.labelmaps import read_labelmap, write_labelmap
from mimseg.data.labels.redrawing import read_drawn
from mimseg.data.labels.scheme import LabelScheme
from mimseg.data.labels.structures import Label
from mimseg.data.labels.truth import read_truth
from mimseg.data.orientation import turn_to
from mimseg.data.volume import Grid
from mimseg.errors import UserError

GRID = Grid((12, 10, 8), (1.0, 1.0, 2.0), (5.0, -3.0, 7.0))
TABLE = (Label(1, "liver", (200, 0, 0)),)


def drawn_beyond(folder: Path, top: int = 16) -> Path:
    """A segmentation of 4 slices from the fifth before `top`, of twice as many slices as the image."""
    labels = np.zeros((12, 10, 16), np.uint8)
    labels[2:7, 2:7, top - 4 : top] = 1
    write_labelmap(folder / "l.seg.nrrd", labels, Grid(labels.shape, GRID.spacing, GRID.origin), TABLE)
    return folder / "l.seg.nrrd"


@pytest.mark.parametrize("ending", [".nii.gz", ".seg.nrrd"])
@pytest.mark.parametrize("orientation", ["RAS", "PIR", "SAL"])
def test_the_same_voxels_in_another_order_lie_on_the_image(tmp_path: Path, ending: str, orientation: str) -> None:
    labels = np.random.default_rng(0).integers(0, 3, GRID.size).astype(np.uint8)
    turn = turn_to(orientation, GRID)
    write_labelmap(tmp_path / f"l{ending}", turn.apply(labels), turn.apply_to_grid(GRID), TABLE)
    reporter = RecordingReporter()
    assert np.array_equal(read_labelmap(tmp_path / f"l{ending}", GRID, reporter).array, labels)
    assert np.array_equal(read_drawn(tmp_path / f"l{ending}", GRID).labels, labels)
    assert reporter.codes == []


def test_segments_of_a_part_are_put_in_place_with_their_axes_turned(tmp_path: Path) -> None:
    part = Grid((12, 10, 4), GRID.spacing, (5.0, -3.0, 11.0))
    labels = np.random.default_rng(0).integers(0, 2, part.size).astype(np.uint8)
    turn = turn_to("SAL", part)
    write_labelmap(tmp_path / "l.seg.nrrd", turn.apply(labels), turn.apply_to_grid(part), TABLE)
    assert np.array_equal(read_labelmap(tmp_path / "l.seg.nrrd", GRID).array[:, :, 2:6], labels)


def test_labels_wholly_outside_of_the_image_lie_on_another_grid(tmp_path: Path) -> None:
    path = drawn_beyond(tmp_path)
    for read in (read_labelmap, read_drawn, lambda *given: read_truth(given[0], LabelScheme(TABLE), given[1])):
        with pytest.raises(UserError, match=r"l\.seg\.nrrd.*outside") as caught:
            read(path, GRID)
        assert caught.value.code == "grid-mismatch"


def test_labels_partly_outside_are_told_with_their_share(tmp_path: Path) -> None:
    path, reporter = drawn_beyond(tmp_path, 9), RecordingReporter()
    assert read_labelmap(path, GRID, reporter).array.sum() == 75
    ((code, message),) = reporter.warnings
    assert code == "outside-image"
    assert "25 of 100 labelled voxels (25%)" in message
    reporter = RecordingReporter()
    read_truth(path, LabelScheme(TABLE), GRID, reporter)
    assert reporter.codes == ["outside-image"]


def test_labels_inside_of_the_image_and_empty_ones_are_not_told(tmp_path: Path) -> None:
    reporter = RecordingReporter()
    assert read_labelmap(drawn_beyond(tmp_path, 8), GRID, reporter).array.sum() == 100
    write_labelmap(tmp_path / "e.seg.nrrd", np.zeros((3, 3, 3), np.uint8), Grid((3, 3, 3), GRID.spacing), TABLE)
    assert not read_labelmap(tmp_path / "e.seg.nrrd", Grid((9, 9, 9), GRID.spacing), reporter).array.any()
    assert not reporter.warnings


def test_check_finds_labels_beyond_the_image(tmp_path: Path) -> None:
    sitk.WriteImage(image_of(np.arange(960, dtype=np.int16).reshape(GRID.size), GRID), str(tmp_path / "i.nrrd"))
    _, found = load_case(Case("a", (tmp_path / "i.nrrd",), drawn_beyond(tmp_path, 9)))
    assert [(one.severity, one.code) for one in found] == [("warning", "outside-image")]
    assert "image" in found[0].remedy


@pytest.mark.parametrize(("top", "code"), [(9, "outside-image"), (16, "grid-mismatch")])
def test_convert_refuses_to_write_a_part_of_the_labels(
    tmp_path: Path, top: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sitk.WriteImage(image_of(np.arange(960, dtype=np.int16).reshape(GRID.size), GRID), str(tmp_path / "i.nrrd"))
    given = [str(drawn_beyond(tmp_path, top)), "--scan", str(tmp_path / "i.nrrd"), "-o", str(tmp_path / "o.nii.gz")]
    assert main(["convert", *given, "--json-lines"]) == 2
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["code"] == code
    assert "l.seg.nrrd" in told["message"]
    assert told["hint"]
    assert not (tmp_path / "o.nii.gz").exists()
