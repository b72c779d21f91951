"""Models whose structures overlap: what is kept, written and measured is the whole structure, in every format."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import oblique_series
from locator_tools import BOTH, SHARP, SIDES, write_two_sides
from segment_tools import Recorder, settings_for, write_scan
from tiny_model import write_tiny_bundle

import mimseg
from mimseg.commands.rank.case import Ensemble
from mimseg.commands.segment.run import segment
from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names
from mimseg.data.labels.structures import Label
from mimseg.data.volumes import read_volume

pytest.importorskip("openvino")

# Of the tiny network, the second output is above 0.5 in what is grey or bright, the third in what is bright.
LABELS = (Label(1, "nothing", (1, 1, 1)), Label(2, "whole", (200, 0, 0)), Label(3, "core", (0, 200, 0)))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "multi", SHARP, labels=LABELS, multilabel=True, name="multi")


@pytest.fixture
def blocks(tmp_path: Path) -> np.ndarray:
    """3 where it is grey, 7 where it is bright."""
    return write_scan(tmp_path / "scan.nrrd")[0]


def voxels(table: Path) -> dict[str, int]:
    with table.open(encoding="utf-8", newline="") as file:
        return {row["label"]: int(row["voxels"]) for row in csv.DictReader(file)}


def test_a_structure_that_is_kept_alone_has_no_hole_where_another_one_was(
    tmp_path: Path, model: Path, blocks: np.ndarray
) -> None:
    kept = {"labels": ("whole",), "table": tmp_path / "t.csv"}
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "o.nrrd", **kept))
    assert np.array_equal(read_labelmap(tmp_path / "o.nrrd").array, (blocks > 0) * 2)
    assert voxels(tmp_path / "t.csv") == {"whole": np.count_nonzero(blocks)}


@pytest.mark.parametrize("ending", [".nii.gz", ".seg.nrrd"])
def test_volumes_are_those_of_whole_structures_whatever_the_format(
    tmp_path: Path, model: Path, blocks: np.ndarray, ending: str
) -> None:
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / f"o{ending}", table=tmp_path / "t.csv"))
    sizes = {"nothing": 0, "whole": np.count_nonzero(blocks), "core": np.count_nonzero(blocks == 7)}
    assert voxels(tmp_path / "t.csv") == sizes
    # In one label map, the smaller one of two structures is seen.
    values = read_labelmap(tmp_path / f"o{ending}").array
    assert [np.count_nonzero(values == value) for value in (2, 3)] == [np.count_nonzero(blocks == v) for v in (3, 7)]


def test_the_library_measures_and_writes_whole_structures(tmp_path: Path, model: Path) -> None:
    pytest.importorskip("highdicom", reason="the extra `dicom` is not installed")
    oblique_series(tmp_path / "scan")
    scan, loaded = mimseg.read(tmp_path / "scan"), mimseg.open_model(model, device="cpu")
    found = loaded.segment(scan)
    ml = float(np.prod(scan.grid.spacing)) / 1000
    whole, core = np.count_nonzero(found.array), np.count_nonzero(found.array == 3)
    assert 0 < core < whole
    assert found.volumes() == pytest.approx({"nothing": 0, "whole": whole * ml, "core": core * ml})
    alone = loaded.segment(scan, names=["whole"])
    assert np.array_equal(alone.array, (found.array > 0) * 2)
    assert alone.volumes() == pytest.approx({"whole": whole * ml})
    found.write(tmp_path / "o.dcm")
    number = next(value for value, name in read_segment_names(tmp_path / "o.dcm").items() if name == "whole")
    only = read_labelmap(tmp_path / "o.dcm", scan.grid, merge=lambda layers, segments: _one(layers, segments, number))
    assert np.count_nonzero(only.array) == whole


def _one(layers: np.ndarray, segments: list, value: int) -> np.ndarray:
    (found,) = (each for each in segments if each.value == value)
    return (layers[found.layer] == found.label_value).astype(np.uint8)


def test_regions_that_a_locator_finds_note_whole_structures_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMSEG_MODELS", str(tmp_path))
    write_tiny_bundle(tmp_path / "whole", SHARP, name="whole", labels=SIDES)
    write_tiny_bundle(
        tmp_path / "part", SHARP, name="part", labels=LABELS, multilabel=True, field_of_view_mm=(10.0, 12.0, 8.0),
        locator=BOTH,
    )  # fmt: skip
    array = write_two_sides(tmp_path / "scan.nrrd")
    given = settings_for("part", tmp_path / "scan.nrrd", tmp_path / "o.nrrd", table=tmp_path / "t.csv")
    segment(given, Recorder())
    right = np.arange(len(array))[:, None, None] > 24
    sizes = voxels(tmp_path / "t.csv")
    assert sizes["Left whole"] == np.count_nonzero(~right & (array >= 50))
    assert sizes["Right whole"] == np.count_nonzero(right & (array >= 50))
    assert sizes["Right core"] == np.count_nonzero(right & (array == 100))
    segment(settings_for("part", tmp_path / "scan.nrrd", tmp_path / "w.nrrd", labels=("whole",)), Recorder())
    values = read_labelmap(tmp_path / "w.nrrd").array
    assert np.array_equal(values > 0, array >= 50)


def test_rank_tells_the_volumes_of_whole_structures(tmp_path: Path, model: Path) -> None:
    array = np.zeros((20, 18, 16), np.float32)
    array[4:14, 4:14, 4:12], array[6:9, 6:9, 6:9] = 50, 100
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "scan.nrrd"))
    volume = read_volume(tmp_path / "scan.nrrd")
    box = [(-30.0, 1.0, -30.0, 1.0, -1.0, 30.0), (-30.0, 1.0, -30.0, 1.0, -1.0, 8.5)]
    for regions in ((), box):
        judged = Ensemble([str(model)], False).judge(volume, regions)
        assert judged.volumes_ml == pytest.approx({"nothing": 0, "whole": 0.8, "core": 0.027})
        assert np.count_nonzero(judged.labels == 2) == 800 - 27
