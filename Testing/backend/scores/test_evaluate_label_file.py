"""`evaluate --labels` reads a label file as `finetune` does: `also`, and structures that overlap by `values`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import RecordingReporter
from segmentation_files import segment, write_segmentation

from mimseg.commands.evaluate.run import EvaluateSettings, evaluate
from mimseg.data.labels.drawn import Overlapping
from mimseg.data.labels.labelmaps import write_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid
from mimseg.data.volumes import read_volume
from mimseg.errors import UserError

GRID = Grid((20, 20, 20), direction=np.diag([-1.0, -1.0, 1.0]))
SHELL, CORE = (slice(2, 18),) * 3, (slice(6, 12),) * 3
STRUCTURES = [
    {"value": 1, "name": "whole tumor", "values": [1, 2, 4]},
    {"value": 2, "name": "tumor core", "values": [1, 4]},
    {"value": 3, "name": "enhancing", "values": [4]},
]


def nested(shell: int, core: int, enhancing: int = 0) -> np.ndarray:
    labels = np.zeros(GRID.size, np.uint8)
    labels[SHELL], labels[CORE] = shell, core
    labels[6:9, 6:12, 6:12] = enhancing or core
    return labels


def scores_of(
    folder: Path, labels: list[dict], prediction: str = "p.nii.gz", reference: str = "r.nii.gz"
) -> tuple[dict[str, float], RecordingReporter]:
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    reporter = RecordingReporter()
    settings = EvaluateSettings(folder / prediction, folder / reference, folder / "s", folder / "labels.json")
    evaluation, _ = evaluate(settings, reporter)
    assert list(evaluation.classes) == [entry["name"] for entry in labels if entry["name"] != "ignore"]
    return {name: scores["dice"].mean for name, scores in evaluation.classes.items()}, reporter


def test_further_values_of_a_structure_count_as_the_structure(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "r.nii.gz", nested(1, 25), GRID)
    write_labelmap(tmp_path / "p.nii.gz", nested(1, 1), GRID)
    dice, reporter = scores_of(tmp_path, [{"value": 1, "name": "white matter", "also": [25]}])
    assert dice == {"white matter": 1.0}
    assert not reporter.codes


def test_a_perfect_result_of_structures_that_overlap_is_perfect(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "r.nii.gz", nested(2, 1, 4), GRID)
    write_labelmap(tmp_path / "p.nii.gz", nested(1, 2, 3), GRID)  # as `segment` writes it: the smallest is seen
    dice, reporter = scores_of(tmp_path, STRUCTURES)
    assert dice == {"whole tumor": 1.0, "tumor core": 1.0, "enhancing": 1.0}
    assert not reporter.codes


def test_structures_that_overlap_are_scored_each_as_a_whole(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "r.nii.gz", nested(2, 1, 4), GRID)
    write_labelmap(tmp_path / "p.nii.gz", nested(1, 0, 3), GRID)
    dice, _ = scores_of(tmp_path, STRUCTURES)
    whole, core, enhancing = 16**3, 6**3, 3 * 36
    lost = core - enhancing
    assert dice == pytest.approx(
        {"whole tumor": 2 * (whole - lost) / (2 * whole - lost), "tumor core": 2 * enhancing / (core + enhancing),
         "enhancing": 1.0}
    )  # fmt: skip


def test_named_segments_are_matched_by_name_whether_they_overlap_or_not(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "r.nii.gz", nested(2, 1), GRID)
    whole, core = (nested(1, 1) > 0).astype(np.uint8), np.zeros(GRID.size, np.uint8)
    core[CORE] = 1
    named = [segment("Whole Tumor", 1), segment("tumor core", 1, 1), segment("skull", 2)]
    whole[0] = 2
    write_segmentation(tmp_path / "over.seg.nrrd", [whole, core], named)
    apart = [segment("whole tumor", 7), segment("tumor core", 9)]
    write_segmentation(tmp_path / "apart.seg.nrrd", [nested(7, 9)], apart)
    for name, told in (("over.seg.nrrd", ["not-scored"]), ("apart.seg.nrrd", [])):
        dice, reporter = scores_of(tmp_path, STRUCTURES[:2], name)
        assert dice == {"whole tumor": 1.0, "tumor core": 1.0}
        assert reporter.codes == told
        assert scores_of(tmp_path, STRUCTURES[:2], "over.seg.nrrd", name)[0] == dice


def test_dicom_segmentations_hold_both_structures(tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    from dicom_files import straight, write_series

    write_series(tmp_path / "scan", np.zeros((20, 20, 20), np.int16), straight(20))
    grid = read_volume(tmp_path / "scan").grid
    labels = nested(2, 1)
    bits = (labels > 0).astype(np.uint8)[None] | (labels == 1).astype(np.uint8)[None] << 1
    table = [Label(1, "whole tumor", (200, 0, 0)), Label(2, "tumor core", (0, 200, 0))]
    write_labelmap(tmp_path / "p.dcm", nested(1, 2), grid, table, None, Overlapping(bits, (1, 2)))
    write_labelmap(tmp_path / "r.nrrd", labels, grid)
    # A plain label map has the extent of its image, the other one only slices with segments.
    dice, _ = scores_of(tmp_path, STRUCTURES[:2], "p.dcm", "r.nrrd")
    assert dice == {"whole tumor": 1.0, "tumor core": 1.0}


def test_voxels_that_the_reference_ignores_count_nowhere(tmp_path: Path) -> None:
    reference = nested(2, 1, 4)
    reference[:, :10] = 9
    write_labelmap(tmp_path / "r.nii.gz", reference, GRID)
    predicted = nested(1, 2, 3)
    predicted[:, :10] = 1
    write_labelmap(tmp_path / "p.nii.gz", predicted, GRID)
    dice, _ = scores_of(tmp_path, [*STRUCTURES, {"value": 9, "name": "ignore", "values": [9]}])
    assert dice == {"whole tumor": 1.0, "tumor core": 1.0, "enhancing": 1.0}


def test_a_prediction_numbered_like_a_reference_is_refused_instead_of_scored_wrongly(tmp_path: Path) -> None:
    write_labelmap(tmp_path / "r.nii.gz", nested(2, 1, 4), GRID)
    with pytest.raises(UserError, match=r"r\.nii\.gz.*value 4.*1 = whole tumor, 2 = tumor core") as caught:
        scores_of(tmp_path, STRUCTURES, "r.nii.gz")
    assert caught.value.code == "unknown-label-value"
    assert caught.value.hint


def test_values_of_a_reference_that_the_label_file_does_not_name_are_told(tmp_path: Path) -> None:
    reference = nested(2, 1, 4)
    reference[0, 0, 0] = 77
    write_labelmap(tmp_path / "r.nii.gz", reference, GRID)
    write_labelmap(tmp_path / "p.nii.gz", nested(1, 2, 3), GRID)
    dice, reporter = scores_of(tmp_path, STRUCTURES)
    assert set(dice.values()) == {1.0}
    assert reporter.codes == ["not-scored"]
    assert "77" in reporter.warnings[0][1]
