"""The table of training cases: written from MRML nodes and folders, read by the backend's own code."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from logic_tools import FOLDER, add_segmentation, add_volume, box, oblique, read_json, smooth_values, terminology

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
import slicer
from MIMSegmentLib.Cases import Cases
from MIMSegmentLib.LabelFile import findPairs
from MIMSegmentLib.Labels import Labels
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene import Scene

SHAPE = (12, 14, 16)
LEFT, RIGHT = box(SHAPE, (2, 5), (3, 7), (2, 6)), box(SHAPE, (2, 5), (3, 7), (9, 13))
HIPPOCAMPUS = "5366008"


@pytest.fixture
def tool(scene):
    return Scene(scene)


@pytest.fixture
def cases(tmp_path):
    return Cases(str(tmp_path / FOLDER / "cases"))


def add(cases, tool, structures, name="Fall ä/1"):
    """A case from the scene; returns its entry."""
    volume = add_volume(tool.scene, name, smooth_values(SHAPE))
    identifier = cases.addFromScene(tool, volume, add_segmentation(tool.scene, volume, structures))
    return next(entry for entry in cases.entries() if entry["id"] == identifier)


def labels_of(cases, entry):
    return sitk.GetArrayFromImage(sitk.ReadImage(cases.path(entry["label"])))


# -- values by name


def segment(identifier, name, code=None, modifier=None):
    entry = {"id": identifier, "name": name}
    if code:
        entry["type"] = {"scheme": "SCT", "value": code, "meaning": "x"}
    if modifier:
        entry["modifier"] = {"scheme": "SCT", "value": modifier, "meaning": "x"}
    return entry


def test_names_decide_whatever_their_case_and_spaces():
    labels = Labels()
    assert labels.match([segment("a", "Liver"), segment("b", "Left  Kidney")]) == {"a": 1, "b": 2}
    assert labels.match([segment("x", " left kidney"), segment("y", "LIVER")]) == {"x": 2, "y": 1}
    assert [entry["name"] for entry in labels.toJson()] == ["Liver", "Left Kidney"]


def test_a_code_decides_where_no_name_does():
    labels = Labels()
    labels.match([segment("a", "Liver", "10200004")])
    assert labels.match([segment("b", "Foie", "10200004")]) == {"b": 1}


def test_a_name_wins_over_a_code():
    labels = Labels()
    labels.match([segment("a", "Liver", "1"), segment("b", "Spleen", "2")])
    assert labels.match([segment("c", "Spleen", "1")]) == {"c": 2}


def test_left_and_right_that_share_a_code_stay_apart():
    labels = Labels()
    both = [segment("a", "Left", HIPPOCAMPUS), segment("b", "Right", HIPPOCAMPUS)]
    assert labels.match(both) == {"a": 1, "b": 2}
    # Which of the two it is, nothing tells.
    assert labels.match([segment("c", "Hippocampus", HIPPOCAMPUS)]) == {"c": 3}


def test_the_side_belongs_to_the_code():
    labels = Labels()
    labels.match([segment("a", "L", HIPPOCAMPUS, "7771000"), segment("b", "R", HIPPOCAMPUS, "24028007")])
    matched = labels.match(
        [segment("c", "rechts", HIPPOCAMPUS, "24028007"), segment("d", "links", HIPPOCAMPUS, "7771000")]
    )
    assert matched == {"c": 2, "d": 1}


def test_slicers_default_code_says_nothing():
    labels = Labels()
    labels.match([segment("a", "Segment_1", "85756007")])
    assert labels.match([segment("b", "Tumor", "85756007")]) == {"b": 2}
    assert "type" not in labels.toJson()[0]


def test_two_segments_of_one_name_are_one_structure():
    assert Labels().match([segment("a", "Liver"), segment("b", "liver")]) == {"a": 1, "b": 1}


def test_a_structure_is_not_claimed_twice_by_name_and_by_code():
    labels = Labels()
    labels.match([segment("a", "Liver", "1")])
    assert labels.match([segment("b", "Leber", "1"), segment("c", "Liver", "1")]) == {"c": 1, "b": 2}


# -- from the scene


def test_the_same_structure_has_the_same_value_in_all_cases(cases, tool):
    first = add(cases, tool, {"Links": LEFT, "Rechts": RIGHT})
    second = add(cases, tool, {"rechts ": RIGHT, "Tumor": box(SHAPE, (8, 10), (3, 7), (2, 6)), "links": LEFT})
    assert np.array_equal(labels_of(cases, first), LEFT * 1 + RIGHT * 2)
    assert np.array_equal(labels_of(cases, second) * (LEFT | RIGHT), LEFT * 1 + RIGHT * 2)
    assert first["structures"] == ["Links", "Rechts"]
    assert second["structures"] == ["Links", "Rechts", "Tumor"]
    assert [(label["value"], label["name"]) for label in cases.labels().toJson()] == [
        (1, "Links"),
        (2, "Rechts"),
        (3, "Tumor"),
    ]


def test_codes_and_colors_reach_the_label_file(cases, tool):
    add(cases, tool, {"Links": (LEFT, terminology(HIPPOCAMPUS, "Hippocampus", "Left"))})
    (label,) = cases.labels().toJson()
    assert label["color"] == [255, 51, 102]
    assert label["type"] == {"scheme": "SCT", "value": HIPPOCAMPUS, "meaning": "Hippocampus"}
    assert label["modifier"]["meaning"] == "Left"


def test_the_backend_reads_cases_and_labels(cases, tool, tmp_path):
    from mimseg.data.cases import load_dataset
    from mimseg.data.labelmaps import read_labelmap
    from mimseg.data.labels import read_labels
    from mimseg.data.volumes import read_volume

    add(cases, tool, {"Links": (LEFT, terminology(HIPPOCAMPUS, "Hippocampus", "Left")), "Rechts": RIGHT})
    add(cases, tool, {"Rechts": RIGHT})
    case_file, label_file = cases.writeTrainingList(str(tmp_path / "run ä"))
    labels = read_labels(Path(label_file))
    assert [(label.value, label.name) for label in labels] == [(1, "Links"), (2, "Rechts")]
    assert labels[0].type.value == HIPPOCAMPUS
    dataset = load_dataset(Path(case_file))
    assert [case.identifier for case in dataset.cases] == [entry["id"] for entry in cases.entries()]
    volume = read_volume(dataset.cases[0].images[0])
    labelmap = read_labelmap(dataset.cases[0].label, like=volume.grid)
    assert np.array_equal(labelmap.array.transpose(2, 1, 0), LEFT * 1 + RIGHT * 2)
    assert np.allclose(volume.array.transpose(2, 1, 0), smooth_values(SHAPE))


def test_the_table_itself_is_a_case_list_of_the_backend(cases, tool):
    from mimseg.data.cases import load_dataset

    entry = add(cases, tool, {"a": LEFT})
    (case,) = load_dataset(Path(cases.folder) / "cases.json").cases
    assert case.identifier == entry["id"]


def test_the_table_survives_the_scene_and_the_program(cases, tool, scene):
    entry = add(cases, tool, {"a": LEFT})
    scene.Clear(0)
    again = Cases(cases.folder)
    assert again.entries() == [entry]
    assert os.path.isfile(again.path(entry["image"]))
    assert [problem for problem in again.problems() if problem["severity"] == "error"] == []


def test_a_segmentation_below_a_transform_is_taken_where_it_is_seen(cases, tool, scene):
    import vtk

    volume = add_volume(scene, "v", smooth_values(SHAPE))
    node = add_segmentation(scene, volume, {"a": LEFT})
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    step = matrix.MultiplyPoint((7, 0, 0, 0))
    shift = vtk.vtkMatrix4x4()
    for row in range(3):
        shift.SetElement(row, 3, step[row])
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(shift)
    node.SetAndObserveTransformNodeID(transform.GetID())
    cases.addFromScene(tool, volume, node)
    assert np.array_equal(labels_of(cases, cases.entries()[0]) != 0, RIGHT)


def test_a_corrected_result_is_added_as_such(cases, tool, scene):
    volume = add_volume(scene, "v", smooth_values(SHAPE))
    cases.addCorrected(tool, volume, add_segmentation(scene, volume, {"a": LEFT}))
    assert cases.entries()[0]["source"] == "corrected"


def test_cases_of_the_same_volume_name_do_not_disturb_each_other(cases, tool):
    first, second = add(cases, tool, {"a": LEFT}), add(cases, tool, {"a": RIGHT})
    assert first["id"] != second["id"]
    assert np.array_equal(labels_of(cases, first) != 0, LEFT)


@pytest.mark.parametrize("structures", [{}, {"a": np.zeros(SHAPE, bool)}])
def test_an_empty_segmentation_is_refused_and_leaves_no_file(cases, tool, structures):
    with pytest.raises(Problem) as caught:
        add(cases, tool, structures)
    assert caught.value.hint
    assert cases.entries() == []
    assert [name for _folder, _folders, files in os.walk(cases.folder) for name in files] == []


def test_a_segmentation_of_another_place_is_refused(cases, tool, scene):
    volume = add_volume(scene, "v", smooth_values(SHAPE))
    elsewhere = add_volume(scene, "w", smooth_values(SHAPE), oblique(origin=(500.0, 500.0, 500.0)))
    with pytest.raises(Problem, match="no voxel"):
        cases.addFromScene(tool, volume, add_segmentation(scene, elsewhere, {"a": LEFT}))


@pytest.mark.parametrize("missing", ["volume", "segmentation"])
def test_a_case_needs_both(cases, tool, scene, missing):
    volume = add_volume(scene, "v", smooth_values(SHAPE))
    node = add_segmentation(scene, volume, {"a": LEFT})
    with pytest.raises(Problem):
        cases.addFromScene(tool, None if missing == "volume" else volume, None if missing != "volume" else node)


def test_a_folder_that_cannot_be_written_is_told(tool, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match="cannot be written"):
        add(Cases(str(tmp_path / "file" / "cases")), tool, {"a": LEFT})


def test_a_damaged_table_is_an_empty_one(cases, tool):
    os.makedirs(cases.folder)
    (Path(cases.folder) / "cases.json").write_text("{")
    assert cases.entries() == []
    add(cases, tool, {"a": LEFT})
    assert len(cases.entries()) == 1


# -- removing


def test_removing_a_case_deletes_its_files_only(cases, tool):
    first, second = add(cases, tool, {"a": LEFT}), add(cases, tool, {"b": RIGHT})
    cases.remove(first["id"])
    assert cases.entries() == [second]
    assert not os.path.exists(cases.path(first["image"]))
    assert not os.path.exists(cases.path(first["label"]))
    assert os.path.exists(cases.path(second["image"]))
    _cases, label_file = cases.writeTrainingList(str(Path(cases.folder) / "run"))
    assert [label["name"] for label in read_json(label_file)] == ["b"]


def test_values_are_not_given_out_again(cases, tool):
    first = add(cases, tool, {"a": LEFT})
    second = add(cases, tool, {"b": RIGHT})
    cases.remove(first["id"])
    third = add(cases, tool, {"c": LEFT, "b": RIGHT})
    assert np.array_equal(labels_of(cases, third), LEFT * 3 + RIGHT * 2)
    assert labels_of(cases, second).max() == 2


# -- folders


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
    added = cases.addFromFolder(str(folder))
    assert len(added) == 2
    entry = cases.entries()[0]
    assert entry["structures"] == ["Links", "Rechts"]
    assert entry["image"] == str(folder / "imagesTr" / "a.nii.gz")
    assert np.array_equal(labels_of(cases, entry), LEFT * 1 + RIGHT * 2)
    cases.remove(entry["id"])
    assert (folder / "imagesTr" / "a.nii.gz").exists()
    assert (folder / "labelsTr" / "a.nii.gz").exists()


def test_an_nnu_net_folder_is_understood(tmp_path):
    write_image(tmp_path / "imagesTr" / "case_1_0000.nii.gz", smooth_values(SHAPE))
    write_image(tmp_path / "labelsTr" / "case_1.nii.gz", LEFT.astype(np.uint8))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1}}))
    pairs, names = findPairs(str(tmp_path))
    assert [tuple(os.path.basename(path) for path in pair) for pair in pairs] == [
        ("case_1_0000.nii.gz", "case_1.nii.gz")
    ]
    assert names == {1: "liver"}


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
    (identifier,) = cases.addFromFolder(str(tmp_path))
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
    (identifier,) = cases.addFromFolder(str(tmp_path))
    (entry,) = cases.entries()
    assert entry["id"] == identifier
    assert np.array_equal(labels_of(cases, entry), np.where(LEFT, 2, wide))
    assert cases.labels().toJson()[1]["modifier"]["meaning"] == "Left"


@pytest.mark.parametrize("label", ["a_seg.nii.gz", "a-label.nrrd", "A_mask.nii.gz", "a.seg.nrrd"])
def test_scans_beside_their_labels_are_found(tmp_path, label):
    for name in ("a.nii.gz", "b.nii.gz", ".hidden.nii.gz", label):
        (tmp_path / name).write_text("")
    (tmp_path / "notes.txt").write_text("")
    pairs, _names = findPairs(str(tmp_path))
    assert [tuple(os.path.basename(path) for path in pair) for pair in pairs] == [("a.nii.gz", label)]


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_pairs_is_refused(cases, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem) as caught:
        cases.addFromFolder(str(tmp_path / folder))
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
        cases.addFromFolder(str(tmp_path))
    assert cases.entries() == []


# -- problems


def test_an_empty_table_is_a_problem(cases):
    (problem,) = cases.problems()
    assert problem["severity"] == "error"
    with pytest.raises(Problem):
        cases.writeTrainingList(cases.folder)


def test_a_structure_of_one_case_only_is_worth_a_look(cases, tool):
    add(cases, tool, {"Leber": LEFT})
    second = add(cases, tool, {"Leber": LEFT, "Lebr": RIGHT})
    (problem,) = cases.problems()
    assert (problem["case"], problem["severity"]) == (second["id"], "warning")
    assert "Lebr" in problem["message"]


def test_a_missing_file_is_an_error_of_its_case(cases, tool):
    entry = add(cases, tool, {"a": LEFT})
    os.remove(cases.path(entry["label"]))
    (problem,) = cases.problems()
    assert (problem["case"], problem["severity"]) == (entry["id"], "error")
    assert problem["remedy"]


def test_the_scene_is_unchanged_by_adding_a_case(cases, tool, scene):
    volume = add_volume(scene, "v", smooth_values(SHAPE))
    node = add_segmentation(scene, volume, {"a": LEFT})
    before = [scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())]
    cases.addFromScene(tool, volume, node)
    assert [scene.GetNthNode(number).GetID() for number in range(scene.GetNumberOfNodes())] == before
    assert slicer.util.arrayFromVolume(volume).max() == pytest.approx(100)


def test_one_bad_file_of_a_folder_does_not_keep_the_others_out(cases, tmp_path):
    for name in ("a", "b", "c"):
        write_image(tmp_path / f"{name}.nrrd", smooth_values(SHAPE))
        write_image(tmp_path / f"{name}_seg.nrrd", LEFT.astype(np.uint8))
    (tmp_path / "b_seg.nrrd").write_text("no image")
    with pytest.raises(Problem, match="1 of 3"):
        cases.addFromFolder(str(tmp_path))
    assert [Path(entry["image"]).name for entry in cases.entries()] == ["a.nrrd", "c.nrrd"]
    write_image(tmp_path / "b_seg.nrrd", LEFT.astype(np.uint8))
    assert len(cases.addFromFolder(str(tmp_path))) == 1
    assert cases.addFromFolder(str(tmp_path)) == []
    assert len(cases.entries()) == 3
