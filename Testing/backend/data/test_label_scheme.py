"""What labels mean in training: segments by name or code, overlaps, ignored voxels, values that nothing names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from segment_tools import Recorder
from segmentation_files import segment, write_segmentation
from synthetic import ball_scan, write_scan

from mimseg.commands.check.run import CheckSettings, check
from mimseg.commands.finetune.checking import stop_at_errors
from mimseg.data.cases import load_dataset
from mimseg.data.labels.scheme import IGNORED, LabelScheme, choose_scheme
from mimseg.data.labels.structures import Code, Label
from mimseg.data.labels.truth import read_truth, with_overlaps
from mimseg.errors import UserError
from mimseg.events import Reporter

LEFT, RIGHT = Code("SCT", "7771000", "Left"), Code("SCT", "24028007", "Right")
KIDNEY = Code("SCT", "64033007", "Kidney")
PAIR = (
    Label(1, "anterior", (255, 0, 0), type=KIDNEY, modifier=LEFT),
    Label(2, "posterior", (0, 255, 0), type=KIDNEY, modifier=RIGHT),
)
NAMED = [{"value": 1, "name": "anterior"}, {"value": 2, "name": "posterior"}]


@pytest.fixture
def labels() -> np.ndarray:
    return ball_scan(0)[1]


def swapped(labels: np.ndarray) -> np.ndarray:
    return np.array([0, 2, 1], np.uint8)[labels]


def write_cases(folder: Path, write_label, count: int = 4, suffix: str = ".seg.nrrd") -> Path:
    """A case list of ball scans whose labels `write_label(path, labels, number)` writes; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["image,label,id"]
    for number in range(count):
        image, labels = ball_scan(number)
        write_scan(folder / f"{number}.nii.gz", image)
        write_label(folder / f"{number}_l{suffix}", labels, number)
        rows.append(f"{number}.nii.gz,{number}_l{suffix},case_{number}")
    (folder / "cases.csv").write_text("\n".join(rows), encoding="utf-8")
    (folder / "labels.json").write_text(json.dumps(NAMED), encoding="utf-8")
    return folder / "cases.csv"


def test_segments_are_found_by_name_whatever_their_number(tmp_path: Path, labels: np.ndarray) -> None:
    for name, stored, table in (
        ("as-named", labels, [segment("Anterior ", 1), segment("posterior", 2)]),
        ("swapped", swapped(labels), [segment("posterior", 1), segment("anterior", 2)]),
        ("other-values", labels * 40, [segment("posterior", 80), segment("anterior", 40)]),
    ):
        write_segmentation(tmp_path / f"{name}.seg.nrrd", [stored], table)
        read = read_truth(tmp_path / f"{name}.seg.nrrd", LabelScheme(PAIR))
        assert np.array_equal(read.array, labels), name
    layers = [labels == 2, labels == 1]
    write_segmentation(tmp_path / "l.seg.nrrd", layers, [segment("posterior", 1), segment("anterior", 1, 1)])
    assert np.array_equal(read_truth(tmp_path / "l.seg.nrrd", LabelScheme(PAIR)).array, labels)


def test_a_code_tells_where_names_do_not_and_only_if_it_is_unique(tmp_path: Path, labels: np.ndarray) -> None:
    path = tmp_path / "s.seg.nrrd"
    table = [segment("Niere", 1, 0, "64033007", "24028007"), segment("Niere 2", 2, 0, "64033007", "7771000")]
    write_segmentation(path, [swapped(labels)], table)
    assert np.array_equal(read_truth(path, LabelScheme(PAIR)).array, labels)
    write_segmentation(path, [labels], [segment("a", 1, 0, "64033007"), segment("b", 2, 0, "64033007")])
    with pytest.raises(UserError, match="“a”, “b”"):
        read_truth(path, LabelScheme(PAIR))


def test_a_segment_that_is_no_structure_is_refused_by_name(tmp_path: Path, labels: np.ndarray) -> None:
    path = tmp_path / "s.seg.nrrd"
    write_segmentation(path, [labels], [segment("anterior", 1), segment("Segment_2", 2)])
    with pytest.raises(UserError, match=r"“Segment_2”.* none of the structures anterior, posterior") as refusal:
        read_truth(path, LabelScheme(PAIR))
    assert refusal.value.code == "unknown-segment"
    # One without a voxel does no harm.
    write_segmentation(path, [np.where(labels == 1, 1, 0)], [segment("anterior", 1), segment("Segment_2", 2)])
    assert np.array_equal(read_truth(path, LabelScheme(PAIR)).array, labels == 1)


def test_overlapping_segments_keep_all_their_voxels(tmp_path: Path, labels: np.ndarray) -> None:
    structures = (*PAIR, Label(3, "whole", (0, 0, 255)))
    table = [segment("anterior", 1), segment("posterior", 2), segment("whole", 1, 1)]
    write_segmentation(tmp_path / "a.seg.nrrd", [labels, labels > 0], table)
    # Here the whole is a little more than its parts.
    wider = (labels > 0) | (np.roll(labels, 1, 0) > 0)
    write_segmentation(tmp_path / "b.seg.nrrd", [labels, wider], table)
    reporter = Recorder()
    files = [tmp_path / "a.seg.nrrd", tmp_path / "b.seg.nrrd"]
    scheme = with_overlaps(LabelScheme(structures), files, reporter)
    assert scheme.labels == structures
    assert reporter.warnings == ["overlap-trained"]
    for path, whole in zip(files, (labels > 0, wider), strict=True):
        classes = scheme.classes_of(read_truth(path, scheme).array, path)
        voxels = scheme.membership[:, classes]
        for found, true in zip(voxels, (labels == 1, labels == 2, whole), strict=True):
            assert np.array_equal(found, true)


def test_segments_that_do_not_overlap_stay_exclusive(tmp_path: Path, labels: np.ndarray) -> None:
    path = tmp_path / "s.seg.nrrd"
    write_segmentation(path, [labels == 1, labels == 2], [segment("anterior", 1), segment("posterior", 1, 1)])
    assert with_overlaps(LabelScheme(PAIR), [path]) == LabelScheme(PAIR)


def test_parts_of_regions_go_by_value_and_must_have_one(tmp_path: Path, labels: np.ndarray) -> None:
    scheme = LabelScheme(PAIR, ((1, 2), (2,)))
    path = tmp_path / "s.seg.nrrd"
    write_segmentation(path, [labels], [segment("shell", 1), segment("core", 2)])
    assert np.array_equal(read_truth(path, scheme).array, labels)
    write_segmentation(path, [labels == 1, labels == 2], [segment("shell", 1), segment("core", 1, 1)])
    with pytest.raises(UserError) as refusal:
        read_truth(path, scheme)
    assert refusal.value.code == "unknown-segment"


@pytest.mark.parametrize("kind", ["description", "label file", "segment"])
def test_ignored_voxels_are_no_structure_and_have_their_own_class(tmp_path: Path, kind: str) -> None:
    _, labels = ball_scan(0)
    edge = np.zeros_like(labels, bool)
    edge[:, :, :4] = True
    stored = np.where(edge, 9, labels)
    entries = [*NAMED, {"value": 9, "name": "Ignore"}] if kind == "label file" else NAMED
    (tmp_path / "labels.json").write_text(json.dumps(entries), encoding="utf-8")
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    write_scan(tmp_path / "imagesTr" / "a.nrrd", ball_scan(0)[0])
    path = tmp_path / "labelsTr" / ("a.seg.nrrd" if kind == "segment" else "a.nrrd")
    if kind == "segment":
        table = [segment("anterior", 1), segment("posterior", 2), segment("ignore", 1, 1)]
        write_segmentation(path, [labels, edge], table)
    else:
        write_scan(path, stored.astype(np.uint8))
    if kind == "description":
        content = {"labels": {"background": 0, "anterior": 1, "posterior": 2, "ignore": 9}, "file_ending": ".nrrd"}
        (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    label_file = None if kind == "description" else tmp_path / "labels.json"
    scheme = with_overlaps(choose_scheme(load_dataset(tmp_path), label_file, tmp_path), [path])
    assert [label.name for label in scheme.labels] == ["anterior", "posterior"]
    assert scheme.regions is None
    classes = scheme.classes_of(read_truth(path, scheme).array, path)
    assert np.array_equal(classes, np.where(edge, IGNORED, labels))
    assert {f.code for f in check(CheckSettings(tmp_path, label_file), Reporter()).findings} <= {"many-pieces"}


def test_structures_are_those_that_the_segmentations_name_if_nothing_else_does(tmp_path: Path) -> None:
    def write(path: Path, labels: np.ndarray, number: int) -> None:
        odd = number % 2
        table = [segment("ball", 2 if odd else 1, 0, "64033007"), segment("block", 1 if odd else 2)]
        write_segmentation(path, [swapped(labels) if odd else labels], table)

    data = write_cases(tmp_path, write)
    scheme = choose_scheme(load_dataset(data), None, data)
    assert [(label.value, label.name, label.type and label.type.value) for label in scheme.labels] == [
        (1, "ball", "64033007"),
        (2, "block", None),
    ]
    for number in range(4):
        assert np.array_equal(read_truth(tmp_path / f"{number}_l.seg.nrrd", scheme).array, ball_scan(number)[1])
    assert check(CheckSettings(data), Reporter()).findings == []


def problems(data: Path, training: int = 3) -> tuple[UserError | None, Recorder]:
    dataset, reporter = load_dataset(data), Recorder()
    scheme = with_overlaps(choose_scheme(dataset, data.parent / "labels.json", data), [])
    try:
        stop_at_errors(dataset, dataset.cases[:training], dataset.cases[training:], scheme, reporter)
    except UserError as fault:
        return fault, reporter
    return None, reporter


def test_training_stops_at_what_check_calls_an_error(tmp_path: Path) -> None:
    data = write_cases(tmp_path / "clean", lambda path, labels, _: write_scan(path, labels), suffix=".nii.gz")
    assert problems(data)[0] is None

    def strange(path: Path, labels: np.ndarray, number: int) -> None:
        write_scan(path, np.where(labels == 2, 7, labels).astype(np.uint8) if number in (0, 3) else labels)

    fault, _ = problems(write_cases(tmp_path / "strange", strange, suffix=".nii.gz"))
    assert fault is not None
    assert fault.code == "unknown-label-value"
    assert "case_0" in fault.message
    assert "case_3" in fault.message


def test_labels_that_are_all_empty_are_refused_and_one_is_told(tmp_path: Path) -> None:
    def empty(path: Path, labels: np.ndarray, _: int) -> None:
        write_scan(path, np.zeros_like(labels))

    fault, _ = problems(write_cases(tmp_path / "all", empty, suffix=".nii.gz"))
    assert fault is not None
    assert fault.code == "nothing-labelled"

    def one_empty(path: Path, labels: np.ndarray, number: int) -> None:
        write_scan(path, labels * (number != 1))

    fault, reporter = problems(write_cases(tmp_path / "one", one_empty, suffix=".nii.gz"))
    assert fault is None
    assert reporter.warnings == ["empty-label"]


@pytest.mark.parametrize(
    ("empty", "training", "code", "named"),
    [
        ((0, 1, 2), 3, "nothing-labelled", "all 3 training cases are empty (case_0, case_1, case_2)"),
        ((3,), 3, "nothing-to-score", "all validation cases are empty (case_3)"),
    ],
    ids=["training", "validation"],
)
def test_empty_cases_alone_neither_train_nor_validate(
    tmp_path: Path, empty: tuple[int, ...], training: int, code: str, named: str
) -> None:
    def some_empty(path: Path, labels: np.ndarray, number: int) -> None:
        write_scan(path, labels * (number not in empty))

    fault, _ = problems(write_cases(tmp_path, some_empty, suffix=".nii.gz"), training)
    assert fault is not None
    assert fault.code == code
    assert named in fault.message
    assert "validation cases" in (fault.hint or "")


def test_a_structure_that_no_training_case_has_is_named(tmp_path: Path) -> None:
    def only_last(path: Path, labels: np.ndarray, number: int) -> None:
        write_scan(path, np.where((labels == 2) & (number != 3), 0, labels).astype(np.uint8))

    data = write_cases(tmp_path, only_last, suffix=".nii.gz")
    fault, reporter = problems(data)
    told = [event[2] for event in reporter.events if event[0] == "warning"]
    assert fault is None
    assert len(told) == 1
    assert "posterior" in told[0]
    assert "validates" in told[0]


def test_files_left_out_are_told_before_training(tmp_path: Path) -> None:
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    for number in range(3):
        image, labels = ball_scan(number)
        write_scan(tmp_path / "imagesTr" / f"{number}.nii.gz", image)
        write_scan(tmp_path / "labelsTr" / f"{number if number else 'zero'}.nii.gz", labels)
    (tmp_path / "labels.json").write_text(json.dumps(NAMED), encoding="utf-8")
    dataset, reporter = load_dataset(tmp_path), Recorder()
    scheme = choose_scheme(dataset, tmp_path / "labels.json", tmp_path)
    stop_at_errors(dataset, dataset.cases, (), scheme, reporter)
    told = " ".join(event[2] for event in reporter.events if event[0] == "warning")
    assert "0.nii.gz" in told
    assert "zero.nii.gz" in told


def test_a_case_without_one_of_its_channels_stops_training(tmp_path: Path) -> None:
    data = write_cases(tmp_path, lambda path, labels, _: write_scan(path, labels), suffix=".nii.gz")
    rows = (tmp_path / "cases.csv").read_text(encoding="utf-8").splitlines()
    two = [f"{row.split(',')[0]}|{row}" if number not in (0, 2) else row for number, row in enumerate(rows)]
    (tmp_path / "cases.csv").write_text("\n".join(two), encoding="utf-8")
    fault, _ = problems(data)
    assert fault is not None
    assert fault.code == "channel-count"
    assert "case_1" in fault.message
