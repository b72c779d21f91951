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


def test_folders_named_by_uids_keep_their_last_number(tmp_path: Path) -> None:
    for name in ("1.2.840.1.5", "1.2.840.1.6"):
        touch(tmp_path / name, "slice")
    (tmp_path / "cases.csv").write_text("image,label\n1.2.840.1.5,a.nii\n1.2.840.1.6,b.nii\n", encoding="utf-8")
    touch(tmp_path, "a.nii", "b.nii")
    cases = load_dataset(tmp_path / "cases.csv").cases
    assert [case.identifier for case in cases] == ["1.2.840.1.5", "1.2.840.1.6"]


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
        ('[{"id": "x"}]', "names neither an image nor a label"),
        ('[{"label": "missing.nii"}]', "does not exist"),
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


def write_description(folder: Path, **content: object) -> None:
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def test_names_that_end_in_four_digits_are_no_channels_where_a_label_has_them(tmp_path: Path) -> None:
    names = ["scan_2019", "scan_2020", "scan_2021", "case1", "case2"]
    touch(tmp_path / "imagesTr", *(f"{name}.nii.gz" for name in names))
    touch(tmp_path / "labelsTr", *(f"{name}.nii.gz" for name in names))
    dataset = load_dataset(tmp_path)
    assert [case.identifier for case in dataset.cases] == sorted(names)
    assert {len(case.images) for case in dataset.cases} == {1}
    assert dataset.flaws == ()


def test_four_digits_and_a_channel_number_behind_them_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr", *(f"p_{n:04d}_{c:04d}.nii.gz" for n in (1, 2) for c in (0, 1)))
    touch(tmp_path / "labelsTr", "p_0001.nii.gz", "p_0002.nii.gz")
    dataset = load_dataset(tmp_path)
    assert [case.identifier for case in dataset.cases] == ["p_0001", "p_0002"]
    assert [path.name for path in dataset.cases[1].images] == ["p_0002_0000.nii.gz", "p_0002_0001.nii.gz"]
    assert dataset.flaws == ()


def test_files_without_a_partner_are_named_and_counted(tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr", "a.nii.gz", "b.nii.gz", "picture_only.nii.gz", "a.nrrd")
    touch(tmp_path / "labelsTr", "a.nii.gz", "b.nii.gz", "drawn_only.nii.gz")
    write_description(tmp_path, labels={"background": 0, "liver": 1}, numTraining=4, file_ending=".nii.gz")
    dataset = load_dataset(tmp_path)
    assert [case.identifier for case in dataset.cases] == ["a", "b"]
    assert {name for flaw in dataset.flaws for name in flaw.files} == {
        "picture_only.nii.gz",
        "drawn_only.nii.gz",
        "a.nrrd",
    }
    assert all(name in flaw.message for flaw in dataset.flaws for name in flaw.files)
    assert ["numTraining 4" in flaw.message for flaw in dataset.flaws if flaw.code == "case-count"] == [True]


def test_a_case_that_lacks_a_channel_or_has_others_is_an_error_of_that_case(tmp_path: Path) -> None:
    files = {"a": (0, 1), "b": (0,), "c": (1, 2), "d": (0, 1)}
    touch(tmp_path / "imagesTr", *(f"{name}_{n:04d}.nii.gz" for name, numbers in files.items() for n in numbers))
    touch(tmp_path / "labelsTr", *(f"{name}.nii.gz" for name in files))
    for described in (True, False):
        if described:
            write_description(tmp_path, channel_names={"0": "T1", "1": "T2"}, labels={"background": 0, "tumour": 1})
        else:
            (tmp_path / "dataset.json").unlink()
        flaws = {flaw.case: flaw for flaw in load_dataset(tmp_path).flaws}
        assert {(name, flaw.severity, flaw.code) for name, flaw in flaws.items()} == {
            ("b", "error", "channel-count"),
            ("c", "error", "channel-count"),
        }
        assert "_0001" in flaws["b"].message
        assert "_0000" in flaws["c"].message
        assert "c_0002.nii.gz" in flaws["c"].message


def test_a_list_of_nnunet_s_first_version_names_files_without_their_channel_number(tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr", *(f"case(1)_{c:04d}.nii.gz" for c in (0, 1)), "case(1)x_0000.nii.gz")
    touch(tmp_path / "labelsTr", "case(1).nii.gz")
    entries = [{"image": "./imagesTr/case(1).nii.gz", "label": "./labelsTr/case(1).nii.gz"}]
    labels = {"0": "background", "1": "tumour"}
    write_description(tmp_path, modality={"0": "T1", "1": "T2"}, labels=labels, numTraining=1, training=entries)
    dataset = load_dataset(tmp_path)
    (case,) = dataset.cases
    assert case.identifier == "case(1)"
    assert [path.name for path in case.images] == ["case(1)_0000.nii.gz", "case(1)_0001.nii.gz"]
    assert [flaw.files for flaw in dataset.flaws] == [("case(1)x_0000.nii.gz",)]


def test_an_old_list_that_nnunet_left_behind_does_not_hide_the_folders(tmp_path: Path) -> None:
    touch(tmp_path / "imagesTr", "a_0000.nii.gz", "b_0000.nii.gz")
    touch(tmp_path / "labelsTr", "a.nii.gz", "b.nii.gz")
    write_description(
        tmp_path,
        labels={"background": 0, "liver": 1},
        file_ending=".nii.gz",
        training=[{"image": "./imagesTr/gone.nii.gz", "label": "./labelsTr/gone.nii.gz"}],
    )
    dataset = load_dataset(tmp_path)
    assert [case.identifier for case in dataset.cases] == ["a", "b"]
    assert [flaw.code for flaw in dataset.flaws] == ["old-list"]


@pytest.mark.parametrize(
    ("labels", "order", "names", "regions", "ignored"),
    [
        ({"background": 0, "liver": 1, "ignore": 2}, None, {1: "liver"}, {}, 2),
        ({"0": "background", "1": "liver", "2": "Ignore"}, None, {1: "liver"}, {}, 2),
        ({"background": [0], "liver": [2]}, [1], {2: "liver"}, {}, None),
        (
            {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4},
            [1, 2, 3],
            {1: "whole", 2: "core", 3: "enhancing"},
            {1: (1, 2, 3), 2: (2, 3), 3: (3,)},
            4,
        ),
        ({"whole": [1, 2], "core": 2}, [5, 7], {5: "whole", 7: "core"}, {5: (1, 2), 7: (2,)}, None),
        ({"whole": [1, 2], "core": 2}, None, {1: "whole", 2: "core"}, {1: (1, 2), 2: (2,)}, None),
    ],
)
def test_labels_regions_and_the_ignored_value_of_a_description(
    tmp_path: Path,
    labels: dict[str, object],
    order: list[int] | None,
    names: dict[int, str],
    regions: dict[int, tuple[int, ...]],
    ignored: int | None,
) -> None:
    touch(tmp_path / "imagesTr", "a.nii.gz")
    touch(tmp_path / "labelsTr", "a.nii.gz")
    write_description(tmp_path, labels=labels, regions_class_order=order)
    dataset = load_dataset(tmp_path)
    assert (dataset.label_names, dict(dataset.regions), dataset.ignored) == (names, regions, ignored)


@pytest.mark.parametrize("labels", [{"liver": "one"}, {"liver": -1}, {"liver": [1, "x"]}, {"a": 1, "b": 1}])
def test_labels_without_a_usable_value_are_refused(tmp_path: Path, labels: dict[str, object]) -> None:
    touch(tmp_path / "imagesTr", "a.nii.gz")
    touch(tmp_path / "labelsTr", "a.nii.gz")
    write_description(tmp_path, labels=labels)
    with pytest.raises(UserError, match=r"dataset\.json") as refusal:
        load_dataset(tmp_path)
    assert refusal.value.code == "bad-labels"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_case_list_may_be_what_a_spreadsheet_saves(tmp_path: Path, encoding: str, separator: str) -> None:
    touch(tmp_path / "Größe", "1.nii.gz", "1_seg.nii.gz")
    rows = [("Image", "Label", "ID"), ("Größe/1.nii.gz", "Größe\\1_seg.nii.gz", "übel")]
    text = "\r\n".join(separator.join(row) for row in rows) + "\r\n"
    (tmp_path / "cases.csv").write_bytes(text.encode(encoding))
    (tmp_path / "names.txt").write_bytes("übel\r\n".encode(encoding))
    cases = load_dataset(tmp_path / "cases.csv").cases
    assert [case.identifier for case in pick_cases(cases, str(tmp_path / "names.txt"))] == ["übel"]
    assert cases[0].label == tmp_path / "Größe" / "1_seg.nii.gz"


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_bytes(bytes(range(256)) * 4)
    with pytest.raises(UserError, match=r"cases\.csv"):
        load_dataset(tmp_path / "cases.csv")


def test_equal_file_names_in_several_folders_get_the_folder_s_name(tmp_path: Path) -> None:
    for folder in ("sub1", "sub2"):
        touch(tmp_path / folder, "t1.nii.gz", "seg.nii.gz")
    rows = ["image,label", *(f"{f}/t1.nii.gz,{f}/seg.nii.gz" for f in ("sub1", "sub2"))]
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    assert [case.identifier for case in load_dataset(tmp_path / "cases.csv").cases] == ["sub1_t1", "sub2_t1"]


def test_scans_beside_their_labels_are_a_data_set(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii.gz", "a.seg.nrrd", "b.nrrd", "B_seg.nrrd", "c.mha", "c-label.mha", "alone.nii.gz", "x.txt")
    dataset = load_dataset(tmp_path)
    assert [(case.images[0].name, case.label and case.label.name) for case in dataset.cases] == [
        ("a.nii.gz", "a.seg.nrrd"),
        ("b.nrrd", "B_seg.nrrd"),
        ("c.mha", "c-label.mha"),
    ]
    assert [flaw.files for flaw in dataset.flaws] == [("alone.nii.gz",)]


def test_cases_without_images_are_for_training_only(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"")
    (tmp_path / "cases.csv").write_text("label,subject\na.nii.gz,s1\n")
    (case,) = load_dataset(tmp_path / "cases.csv", without_images=True).cases
    assert (case.identifier, case.images, case.label) == ("a", (), tmp_path / "a.nii.gz")
    with pytest.raises(UserError, match="without an image"):
        load_dataset(tmp_path / "cases.csv")
