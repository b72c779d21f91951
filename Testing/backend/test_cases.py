"""Finding the cases of a data set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimseg.data.cases import load_dataset, pick_cases, stem
from mimseg.errors import UserError


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")


def test_a_decathlon_description_gives_pairs_and_label_names(tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr", "a.nii.gz", "b.nii.gz")
    touch(tmp_path / "labelsTr", "a.nii.gz", "b.nii.gz")
    description = {
        "labels": {"0": "background", "1": "anterior", "2": "posterior"},
        "modality": {"0": "MRI"},
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in "ab"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    for given in (tmp_path, tmp_path / "dataset.json"):
        dataset = load_dataset(given)
        assert [case.identifier for case in dataset.cases] == ["a", "b"]
        assert dataset.label_names == {1: "anterior", 2: "posterior"}
        assert dataset.channels == ("MRI",)


def test_an_nnunet_description_gives_channels_and_label_names(tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr", *(f"case_{n:03d}_{c:04d}.nrrd" for n in (1, 2) for c in (0, 1)), "notes.txt")
    touch(tmp_path / "labelsTr", "case_001.nrrd", "case_002.nrrd")
    description = {
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "tumour": 1},
        "numTraining": 2,
        "file_ending": ".nrrd",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    dataset = load_dataset(tmp_path)
    assert dataset.label_names == {1: "tumour"}
    assert dataset.channels == ("T1", "T2")
    assert [path.name for path in dataset.cases[1].images] == ["case_002_0000.nrrd", "case_002_0001.nrrd"]
    assert dataset.cases[1].label == tmp_path / "labelsTr" / "case_002.nrrd"


def test_plain_folders_are_paired_by_name_even_when_names_end_in_four_digits(tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr", "scan_2024.nii", "lonely.nii")
    touch(tmp_path / "labelsTr", "scan_2024.nii")
    dataset = load_dataset(tmp_path)
    assert [(case.identifier, len(case.images)) for case in dataset.cases] == [("scan_2024", 1)]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_case_list_names_files_relative_to_itself(tmp_path: Path, kind: str) -> None:
    touch(tmp_path / "Bilder ä", "1.mha", "1b.mha", "1-seg.mha")
    entry = {"id": "erste", "subject": "s1", "image": "Bilder ä/1.mha|Bilder ä/1b.mha", "label": "Bilder ä/1-seg.mha"}
    path = tmp_path / f"cases.{kind}"
    if kind == "csv":
        path.write_text(",".join(entry) + "\n" + ",".join(entry.values()) + "\n", encoding="utf-8")
    else:
        path.write_text(json.dumps([entry]), encoding="utf-8")
    (case,) = load_dataset(path).cases
    assert (case.identifier, case.subject, len(case.images)) == ("erste", "s1", 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"label": "x"}]', "names no image"),
        ('[{"image": "missing.nii"}]', "does not exist"),
        ("[]", "no case"),
        ("{", "not readable as JSON"),
        ('"text"', "not a dataset.json"),
    ],
)
def test_unusable_lists_are_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "cases.json"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as refusal:
        load_dataset(path)
    assert "cases.json" in refusal.value.message


def test_cases_are_picked_by_name_text_file_and_json_key(tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr", *(f"{n}.nii" for n in "abcd"))
    touch(tmp_path / "labelsTr", *(f"{n}.nii" for n in "abcd"))
    cases = load_dataset(tmp_path).cases
    (tmp_path / "names.txt").write_text("c\n\na\n")
    (tmp_path / "splits.json").write_text(json.dumps({"few": {"seed0": {"2": ["d", "b"]}}}))

    def names(selection: str) -> list[str]:
        return [case.identifier for case in pick_cases(cases, selection)]

    assert names("b, a") == ["b", "a"]
    assert names(str(tmp_path / "names.txt")) == ["c", "a"]
    assert names(f"{tmp_path / 'splits.json'}:few.seed0.2") == ["d", "b"]
    for wrong in ("z", "", f"{tmp_path / 'splits.json'}:few.seed1", f"{tmp_path / 'splits.json'}:few"):
        with pytest.raises(UserError):
            names(wrong)


def test_double_extensions_are_no_part_of_a_name() -> None:
    assert stem(Path("a.b.nii.gz")) == "a.b"
    assert stem(Path("x.seg.nrrd")) == "x"
