"""No result is right silently that is not: every file is verified before it takes its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from file_limits import files_no_larger_than
from segment_tools import settings_for, write_scan
from tiny_model import write_tiny_bundle

from mimseg.commands.segment.run import segment
from mimseg.commands.segment.volume_table import write_table
from mimseg.data.labels.labelmaps import read_labelmap, write_labelmap
from mimseg.data.volume import Grid
from mimseg.data.writing import is_whole, write_map
from mimseg.errors import UserError
from mimseg.formats import FORMATS
from mimseg.reports.pictures import write_png

# A DICOM segmentation needs the slices of its scan: see its own tests.
LABELS_WRITTEN = [each.ending for each in FORMATS if each.writer and not each.dicom]
GRID = Grid((40, 41, 42), (0.7, 1.1, 3.0), (-11.5, 20.25, 30.0))
NOISE = np.random.default_rng(0).integers(0, 200, GRID.size).astype(np.uint8)


def refused(path: Path, fault: UserError) -> None:
    assert fault.code == "cannot-write"
    assert str(path) in fault.message
    assert fault.hint
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("ending", LABELS_WRITTEN)
@pytest.mark.parametrize("room", [0, 1, 4096, 40_000])
def test_where_room_is_short_the_older_result_survives(tmp_path: Path, ending: str, room: int) -> None:
    path = tmp_path / f"r{ending}"
    write_labelmap(path, np.ones(GRID.size, np.uint8), GRID)
    before = path.read_bytes()
    with files_no_larger_than(room), pytest.raises(UserError) as caught:
        write_labelmap(path, NOISE, GRID)
    refused(path, caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("ending", LABELS_WRITTEN)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_library_that_writes_less_and_says_nothing_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, share: float
) -> None:
    """As ITK does on a full disk."""
    path = tmp_path / f"r{ending}"
    write_labelmap(path, NOISE, GRID)
    whole = path.read_bytes()

    def write_less(written: Path, drawn: object) -> None:
        written.write_bytes(whole[: int(len(whole) * share)])

    for module in ("nifti", "plain", "seg_nrrd"):
        monkeypatch.setattr(f"mimseg.data.writers.{module}.write", write_less)
    with pytest.raises(UserError) as caught:
        write_labelmap(path, NOISE, GRID)
    refused(path, caught.value)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("ending", LABELS_WRITTEN)
def test_an_ending_in_capitals_means_the_same_format(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"R{ending.upper()}"
    write_labelmap(path, NOISE, GRID)
    assert list(tmp_path.iterdir()) == [path]
    assert np.array_equal(read_labelmap(path, like=GRID).array, NOISE)


@pytest.mark.parametrize("ending", LABELS_WRITTEN)
def test_whole_files_are_told_from_cut_ones(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"r{ending}"
    write_labelmap(path, NOISE, GRID)
    assert is_whole(path)
    content = path.read_bytes()
    for length in (0, 1, 300, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert not is_whole(path)


def test_maps_tables_and_pictures_are_refused_alike(tmp_path: Path) -> None:
    for name, write in (
        ("u.nii.gz", lambda path: write_map(path, NOISE.astype(np.float32), GRID)),
        ("t.csv", lambda path: write_table(path, [])),
        ("p.png", lambda path: write_png(path, np.stack([NOISE[0]] * 3, axis=-1))),
    ):
        path = tmp_path / name / name
        path.parent.mkdir()
        path.write_bytes(b"old")
        with files_no_larger_than(10), pytest.raises(UserError) as caught:
            write(path)
        refused(path, caught.value)
        assert path.read_bytes() == b"old"


def test_a_run_on_a_full_disk_fails_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.nrrd")
    settings = settings_for(
        write_tiny_bundle(tmp_path / "tiny"), (tmp_path / "scan.nrrd",), tmp_path / "out" / "r.nii.gz", resume=True
    )
    with files_no_larger_than(100), pytest.raises(UserError) as caught:
        segment(settings)
    assert caught.value.code == "cannot-write"
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "out" / "r.nii.gz").write_bytes(b"")  # as a version before left it
    assert len(segment(settings)) == 1
    assert read_labelmap(tmp_path / "out" / "r.nii.gz").grid.size == (22, 18, 9)
