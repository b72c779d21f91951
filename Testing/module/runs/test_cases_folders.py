"""Training cases from folders of scans and labels, as other programs write them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from logic_tools import FOLDER, add_segmentation, add_volume, box, smooth_values, terminology

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
from case_tools import HIPPOCAMPUS, LEFT, RIGHT, SHAPE, add, found_in, labels_of
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.Cases import Cases
from MIMSegmentLib.Scene.Scene import Scene


@pytest.fixture
def tool(scene):
    return Scene(scene)


@pytest.fixture
def cases(tmp_path):
    return Cases(str(tmp_path / FOLDER / "cases"))


def write_image(path, array, matrix=None, **metadata):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.5, 0.8, 2.5))
    for key, value in metadata.items():
        image.SetMetaData(key, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def test_a_decathlon_folder_is_added_with_its_names(cases, tmp_path):
    folder = tmp_path / FOLDER
    for name in ("a", "b"):
        write_image(folder / "imagesTr" / f"{name}.nii.gz", smooth_values(SHAPE))
        write_image(folder / "labelsTr" / f"{name}.nii.gz", (LEFT * 1 + RIGHT * 2).astype(np.uint8))
    (folder / "dataset.json").write_text(json.dumps({"labels": {"0": "background", "1": "Links", "2": "Rechts"}}))
    added = cases.addFromFolder(str(folder), found_in(folder))
    assert len(added) == 2
    entry = cases.entries()[0]
    assert entry["structures"] == ["Links", "Rechts"]
    assert entry["image"] == str(folder / "imagesTr" / "a.nii.gz")
    assert np.array_equal(labels_of(cases, entry), LEFT * 1 + RIGHT * 2)
    cases.remove(entry["id"])
    assert (folder / "imagesTr" / "a.nii.gz").exists()
    assert (folder / "labelsTr" / "a.nii.gz").exists()


def test_an_nnu_net_folder_is_understood_and_what_is_left_out_is_told(cases, tmp_path):
    write_image(tmp_path / "imagesTr" / "case_1_0000.nii.gz", smooth_values(SHAPE))
    write_image(tmp_path / "labelsTr" / "case_1.nii.gz", LEFT.astype(np.uint8))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    write_image(tmp_path / "imagesTr" / "lonely_0000.nii.gz", smooth_values(SHAPE))
    told = []
    cases.addFromFolder(str(tmp_path), found_in(tmp_path), told.append)
    (entry,) = cases.entries()
    assert os.path.basename(entry["image"]) == "case_1_0000.nii.gz"
    assert entry["structures"] == ["liver"]
    (text,) = told
    assert "lonely_0000.nii.gz" in text


def test_a_case_of_several_channels_is_refused_and_not_taken_for_its_first(cases, tmp_path):
    for channel in range(2):
        write_image(tmp_path / "imagesTr" / f"case_1_000{channel}.nii.gz", smooth_values(SHAPE))
    write_image(tmp_path / "labelsTr" / "case_1.nii.gz", LEFT.astype(np.uint8))
    with pytest.raises(Problem, match="several channels"):
        cases.addFromFolder(str(tmp_path), found_in(tmp_path))
    assert cases.entries() == []


def test_values_of_slicer_segmentations_are_matched_by_name(cases, tool, tmp_path):
    # In the scene Links is 1 and Rechts is 2; in the file it is the other way round.
    add(cases, tool, {"Links": LEFT, "Rechts": RIGHT})
    write_image(tmp_path / "x.nrrd", smooth_values(SHAPE))
    write_image(
        tmp_path / "x.seg.nrrd",
        (LEFT * 2 + RIGHT * 1).astype(np.uint8),
        Segment0_ID="s0",
        Segment0_Name="rechts",
        Segment0_LabelValue="1",
        Segment0_Layer="0",
        Segment0_Color="0.5 0.25 1",
        Segment1_ID="s1",
        Segment1_Name="Links",
        Segment1_LabelValue="2",
        Segment1_Layer="0",
    )
    (identifier,) = cases.addFromFolder(str(tmp_path), found_in(tmp_path))
    entry = next(entry for entry in cases.entries() if entry["id"] == identifier)
    assert np.array_equal(labels_of(cases, entry), LEFT * 1 + RIGHT * 2)


def test_overlapping_layers_and_codes_of_slicer_files_are_read(cases, scene, tmp_path):
    volume = add_volume(scene, "v", smooth_values(SHAPE))
    wide = box(SHAPE, (1, 6), (2, 8), (1, 7))
    node = add_segmentation(
        scene, volume, {"Außen": wide, "Innen": (LEFT, terminology(HIPPOCAMPUS, "Hippocampus", "Left"))}
    )
    tool = Scene(scene)
    tool.exportVolume(volume, str(tmp_path / "v.nrrd"))
    tool.saveSegmentation(node, str(tmp_path / "v.seg.nrrd"))
    told = []
    (identifier,) = cases.addFromFolder(str(tmp_path), found_in(tmp_path), told.append)
    (text,) = told
    assert f"overlap in {np.count_nonzero(LEFT & wide)} voxels of {identifier}" in text
    (entry,) = cases.entries()
    assert entry["id"] == identifier
    assert np.array_equal(labels_of(cases, entry), np.where(LEFT, 2, wide))
    assert cases.labels().toJson()[1]["modifier"]["meaning"] == "Left"


def test_labelmaps_without_scans_are_cases_once(cases, tmp_path):
    folder = tmp_path / FOLDER
    for number in (1, 2):
        write_image(folder / f"training_seg_0{number}.nii.gz", (LEFT * 2 + RIGHT * 41).astype(np.uint8))
    assert len(cases.addFromFolder(str(folder), found_in(folder))) == 2
    assert cases.addFromFolder(str(folder), found_in(folder)) == []
    assert cases.withoutVolume() == 2
    entry = cases.entries()[0]
    assert entry["image"] == ""
    assert [problem for problem in cases.problems() if problem["severity"] == "error"] == []
    case_file, label_file = cases.writeTrainingList(str(tmp_path / "run"))
    from mimseg.data.cases import load_dataset

    (first, _second) = load_dataset(Path(case_file), without_images=True).cases
    assert first.images == ()
    assert first.label == Path(cases.path(entry["label"]))
    assert len(json.loads(Path(label_file).read_text())) == 2
    cases.remove(entry["id"])
    assert (folder / "training_seg_01.nii.gz").exists()


@pytest.mark.parametrize("name", ["scan.nii.gz", "maskara.nii.gz", "slabels.nrrd"])
def test_scans_without_labels_are_no_labelmaps(cases, tmp_path, name):
    write_image(tmp_path / "data" / name, LEFT.astype(np.uint8))
    with pytest.raises(Problem, match="no scans with labels"):
        cases.addFromFolder(str(tmp_path / "data"), found_in(tmp_path / "data"))


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_pairs_is_refused(cases, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem) as caught:
        cases.addFromFolder(str(tmp_path / folder), found_in(tmp_path / folder))
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["text", "gray values", "negative"])
def test_labels_that_are_none_are_refused_by_name(cases, tmp_path, kind):
    write_image(tmp_path / "a.nrrd", smooth_values(SHAPE))
    path = tmp_path / "a_seg.nrrd"
    if kind == "text":
        path.write_text("no image")
    else:
        write_image(path, smooth_values(SHAPE) if kind == "gray values" else (LEFT * -1).astype(np.int16))
    with pytest.raises(Problem, match="a_seg"):
        cases.addFromFolder(str(tmp_path), found_in(tmp_path))
    assert cases.entries() == []


def test_one_bad_file_of_a_folder_does_not_keep_the_others_out(cases, tmp_path):
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.nrrd", smooth_values(SHAPE))
        write_image(tmp_path / f"{name}_seg.nrrd", LEFT.astype(np.uint8))
    (tmp_path / "b_seg.nrrd").write_text("no image")
    with pytest.raises(Problem, match="1 of 3"):
        cases.addFromFolder(str(tmp_path), found_in(tmp_path))
    assert [Path(entry["image"]).name for entry in cases.entries()] == ["a.nrrd", "c.nrrd"]
    write_image(tmp_path / "b_seg.nrrd", LEFT.astype(np.uint8))
    assert len(cases.addFromFolder(str(tmp_path), found_in(tmp_path))) == 1
    assert cases.addFromFolder(str(tmp_path), found_in(tmp_path)) == []
    assert len(cases.entries()) == 3
