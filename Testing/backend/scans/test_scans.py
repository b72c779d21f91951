"""The scans of a folder: masks among them are left out by name, scans with a mask's name are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_files import straight, write_series
from segment_tools import Recorder
from synthetic import ball_scan, write_scan
from volume_files import ramp, write

from mimseg.commands.rank.inputs import find_unlabelled
from mimseg.commands.segment.outputs import expand_folders
from mimseg.data.scans import find_scans, holds_labels
from mimseg.errors import UserError


def put(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_scan(path, array)
    return path


def write_structures(path: Path) -> None:
    """The begin of a DICOM segmentation."""
    path.write_bytes(bytes(128) + b"DICM" + b"\x08\x00\x16\x00UI\x1c\x001.2.840.10008.5.1.4.1.1.66.4\0")


def total_segmentator(folder: Path) -> tuple[list[Path], set[str]]:
    """Scans, and names of masks, as TotalSegmentator's data set has them."""
    scans, masks = [], set()
    for number in range(2):
        image, label = ball_scan(number)
        scans.append(put(folder / f"s{number}" / "ct.nii.gz", image))
        for value, name in enumerate(("liver", "spleen", "absent"), start=1):
            put(folder / f"s{number}" / "segmentations" / f"{name}.nii.gz", (label == value).astype(np.uint8))
            masks.add(f"s{number}/segmentations/{name}.nii.gz")
    return scans, masks


def brats(folder: Path) -> tuple[list[Path], set[str]]:
    scans, masks = [], set()
    for number in range(2):
        image, label = ball_scan(number)
        for name in ("t1", "flair"):
            scans.append(put(folder / f"p{number}" / f"p{number}_{name}.nii.gz", image))
        put(folder / f"p{number}" / f"p{number}_seg.nii.gz", (label * 2).astype(np.float32))
        masks.add(f"p{number}/p{number}_seg.nii.gz")
    return scans, masks


def beside(folder: Path) -> tuple[list[Path], set[str]]:
    """Masks of any name on the grid of a scan."""
    image, label = ball_scan(0)
    scans = [put(folder / "patient.nrrd", image)]
    for name in ("patient_mask.nrrd", "lesion by hand.nrrd", "patient-label.nii", "x.nrrd"):
        put(folder / name, label)
    write_scan(folder / "y.seg.nrrd", label)
    return scans, {"patient_mask.nrrd", "lesion by hand.nrrd", "patient-label.nii", "x.nrrd", "y.seg.nrrd"}


LAYOUTS = [total_segmentator, brats, beside]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_masks_are_left_out_by_name(tmp_path: Path, layout: Callable[[Path], tuple[list[Path], set[str]]]) -> None:
    scans, masks = layout(tmp_path / "data")
    for find in (
        lambda reporter: find_scans(tmp_path / "data", reporter),
        lambda reporter: expand_folders([tmp_path / "data"], 1, reporter),
        lambda reporter: [case.images[0] for case in find_unlabelled([tmp_path / "data"], 1, None, (), reporter)],
    ):
        reporter = Recorder()
        assert sorted(find(reporter)) == sorted(scans)
        assert reporter.warnings == ["masks-left-out"]
        assert all(name in reporter.events[0][2] for name in masks)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_masks_are_not_pretrained_on(tmp_path: Path, layout: Callable[[Path], tuple[list[Path], set[str]]]) -> None:
    pytest.importorskip("torch")
    from mimseg.commands.pretrain.data import find_cases

    scans, masks = layout(tmp_path / "data")
    reporter = Recorder()
    cases = find_cases([tmp_path / "data"], None, reporter)
    assert sorted(case.images[0] for case in cases) == sorted(scans)
    assert all(name in reporter.events[0][2] for name in masks)


@pytest.mark.parametrize("name", ["labelled_case", "label_1", "patient_seg", "t1_mask", "segmentations/a", "masks/b"])
@pytest.mark.parametrize("kind", ["noise", "8 bit", "stripped"])
def test_a_scan_is_none_whatever_its_name(tmp_path: Path, name: str, kind: str) -> None:
    image = ball_scan(0)[0]
    if kind == "8 bit":
        image = np.clip(image, 0, 255).astype(np.uint8)
    elif kind == "stripped":
        image[:, :, 9:] = 0
        image = image.round().astype(np.int16)
    scans = [put(tmp_path / "other.nii.gz", ball_scan(1)[0]), put(tmp_path / f"{name}.nii.gz", image)]
    reporter = Recorder()
    assert find_scans(tmp_path, reporter) == sorted(scans)
    assert reporter.events == []


def test_phantoms_of_few_values_are_scans_where_no_other_scan_shares_their_grid(tmp_path: Path) -> None:
    phantoms = [put(tmp_path / f"{number}.nii.gz", ball_scan(number)[1] * 50) for number in range(3)]
    phantoms.append(put(tmp_path / "scan.nii.gz", ball_scan(0, (24, 22, 18))[0]))
    assert find_scans(tmp_path, Recorder()) == sorted(phantoms)


def test_a_file_that_is_given_is_taken_and_a_folder_of_masks_is_refused(tmp_path: Path) -> None:
    mask = put(tmp_path / "a_seg.nii.gz", ball_scan(0)[1])
    assert find_scans(mask) == [mask]
    with pytest.raises(UserError, match="only masks") as refusal:
        find_scans(tmp_path)
    assert refusal.value.code == "no-images"


def test_many_masks_of_a_folder_are_told_in_one_line(tmp_path: Path) -> None:
    image, label = ball_scan(0)
    put(tmp_path / "ct.nii.gz", image)
    for number in range(20):
        put(tmp_path / "segmentations" / f"organ_{number:02d}.nii.gz", (label == 1).astype(np.uint8))
    reporter = Recorder()
    assert find_scans(tmp_path, reporter) == [tmp_path / "ct.nii.gz"]
    assert "segmentations/ (20 files: organ_00.nii.gz ... organ_19.nii.gz)" in reporter.events[0][2]


def test_volumes_are_found_below_a_folder_without_labels_and_hidden_files(tmp_path: Path) -> None:
    wanted = [write(tmp_path / name, ramp()) for name in ("a/x.nii.gz", "b.nrrd", "c d/e.mha")]
    for name in ("labelsTr/x.nii.gz", ".hidden.nii", ".folder/x.nii", "b.seg.nrrd"):
        write(tmp_path / name, ramp(np.uint8))
    (tmp_path / "readme.txt").write_text("no")
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    reporter = Recorder()
    assert find_scans(tmp_path, reporter) == sorted([*wanted, tmp_path / "series"])
    assert "labelsTr/x.nii.gz" in reporter.events[0][2]
    assert ".hidden" not in reporter.events[0][2]
    assert find_scans(wanted[0]) == [wanted[0]]


def test_maps_of_an_earlier_ranking_are_no_scans(tmp_path: Path) -> None:
    scan = put(tmp_path / "a.nii.gz", ball_scan(0)[0])
    mapped = put(tmp_path / "ranking" / "a_uncertainty.nii.gz", (ball_scan(0)[0] / 1000).astype(np.float32))
    reporter = Recorder()
    assert find_scans(tmp_path, reporter) == [scan]
    assert reporter.warnings == ["maps-left-out"]
    assert "ranking/a_uncertainty.nii.gz" in reporter.events[0][2]
    assert find_scans(mapped) == [mapped]
    with pytest.raises(UserError, match="only maps"):
        find_scans(mapped.parent)


def test_a_stray_segmentation_makes_no_series_of_a_folder_of_images(tmp_path: Path) -> None:
    scans = [put(tmp_path / f"{name}.nii.gz", ball_scan(number)[0]) for number, name in enumerate("ab")]
    write_structures(tmp_path / "stray.dcm")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    for find in (
        lambda reporter: find_scans(tmp_path, reporter),
        lambda reporter: expand_folders([tmp_path], 1, reporter),
    ):
        reporter = Recorder()
        assert find(reporter) == scans
        assert reporter.warnings == ["masks-left-out"]
        assert "stray.dcm" in reporter.events[0][2]


def test_a_scan_beside_a_series_is_taken_or_told(tmp_path: Path) -> None:
    write_series(tmp_path, ramp(np.int16), straight(ramp().shape[2]))
    scan = put(tmp_path / "a.nii.gz", ball_scan(0)[0])
    for name in ("labels", "a_segmentation"):
        put(tmp_path / f"{name}.nrrd", ball_scan(1)[1])
    reporter = Recorder()
    assert expand_folders([tmp_path], 1, reporter) == [tmp_path]
    assert reporter.warnings == ["beside-series"]
    assert "a.nii.gz" in reporter.events[0][2]
    assert "labels" not in reporter.events[0][2]
    assert scan in find_scans(tmp_path)


def test_linked_folders_are_entered_once_and_links_upwards_end(tmp_path: Path) -> None:
    cohort, archive = tmp_path / "cohort", tmp_path / "archive"
    wanted = [write(path, ramp()) for path in (cohort / "a.nrrd", cohort / "plain" / "b.nrrd")]
    write(archive / "p1" / "c.nrrd", ramp())
    write_series(archive / "p2", ramp(np.int16), straight(ramp().shape[2]))
    links = {"p1": archive / "p1", "p2": archive / "p2", "again": cohort / "plain", "z": archive / "p1"}
    for link, target in links.items():
        (cohort / link).symlink_to(target)
    (archive / "p1" / "up").symlink_to(cohort)
    assert find_scans(cohort) == sorted([*wanted, cohort / "p1" / "c.nrrd", cohort / "p2"])


def test_a_folder_without_volumes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_scans(tmp_path)
    assert caught.value.code == "no-images"


def test_what_holds_labels() -> None:
    image, label = ball_scan(0)
    assert holds_labels(label)
    assert holds_labels(label.astype(np.float32))
    assert holds_labels(np.zeros((5, 5, 5)))
    for scan in (image, label * 0.5, np.where(label, np.nan, 0), np.indices((9, 9, 9)).sum(axis=0) % 7):
        assert not holds_labels(scan)
