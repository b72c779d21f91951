"""The table of training cases: written from the scene, read by the backend's own code."""

import os
from pathlib import Path

import numpy as np
import pytest
from logic_tools import FOLDER, add_segmentation, add_volume, box, oblique, read_json, smooth_values, terminology

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import slicer
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
    from mimseg.data.labels.labelmaps import read_labelmap
    from mimseg.data.labels.structures import read_labels
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


def test_a_case_needs_a_segmentation(cases, tool, scene):
    with pytest.raises(Problem, match="needs a segmentation"):
        cases.addFromScene(tool, add_volume(scene, "v", smooth_values(SHAPE)), None)


def test_a_segmentation_alone_is_a_case_on_its_own_grid(cases, tool, scene):
    volume = add_volume(scene, "v", smooth_values(SHAPE))
    with_volume = add(cases, tool, {"a": LEFT})
    node = add_segmentation(scene, volume, {"a": LEFT})
    identifier = cases.addFromScene(tool, None, node)
    alone = cases.entries()[1]
    assert (alone["id"], alone["image"]) == (identifier, "")
    assert np.array_equal(labels_of(cases, alone), labels_of(cases, with_volume))
    assert os.listdir(os.path.join(cases.folder, "images")) == [os.path.basename(with_volume["image"])]
    assert cases.withoutVolume() == 1
    # A corrected result has a scan: without it something is wrong.
    with pytest.raises(Problem, match="belongs to no volume"):
        cases.addCorrected(tool, None, node)
    with pytest.raises(Problem, match="has no voxel"):
        cases.addFromScene(tool, None, add_segmentation(scene, volume, {"a": LEFT & RIGHT}))


def test_a_folder_that_cannot_be_written_is_told(tool, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match="cannot be written"):
        add(Cases(str(tmp_path / "file" / "cases")), tool, {"a": LEFT})


def files_of(cases):
    return {path: path.read_bytes() for path in Path(cases.folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["cases.json", "labels.json"])
@pytest.mark.parametrize("content", ["{", "{}", '[{"id": 1}]', None])
def test_a_table_that_cannot_be_read_is_refused_by_name_and_nothing_is_written(cases, tool, name, content):
    first = add(cases, tool, {"a": LEFT, "b": RIGHT})
    path = Path(cases.folder) / name
    if content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_text(content)
    before = files_of(cases)
    for change in (
        lambda: add(cases, tool, {"b": LEFT}),
        lambda: cases.remove(first["id"]),
        lambda: cases.rename("a", "c"),
        lambda: cases.writeTrainingList(os.path.join(cases.folder, "run")),
    ):
        with pytest.raises(Problem, match=name) as caught:
            change()
        assert caught.value.hint
    assert files_of(cases) == before


def test_without_the_meaning_of_its_values_a_case_is_no_case(cases, tool):
    add(cases, tool, {"a": LEFT, "b": RIGHT})
    (Path(cases.folder) / "labels.json").unlink()
    before = files_of(cases)
    with pytest.raises(Problem, match=r"labels.json .*lacks structures of the cases: a, b"):
        add(cases, tool, {"b": LEFT})
    assert files_of(cases) == before


def test_a_table_that_cannot_be_written_leaves_the_structures_as_they_were(cases, tool, monkeypatch):
    from MIMSegmentLib.Scene import CaseTable

    def write(path, content, writeJson=CaseTable.writeJson):
        if path.endswith("cases.json"):
            raise Problem("The disk is full.")
        writeJson(path, content)

    add(cases, tool, {"a": LEFT})
    before = files_of(cases)
    monkeypatch.setattr(CaseTable, "writeJson", write)
    with pytest.raises(Problem, match="full"):
        cases.rename("a", "c")
    assert files_of(cases) == before


# -- the same scan again


def test_cases_of_one_scan_are_one_subject_and_others_are_not(cases, tool, scene, tmp_path):
    first = add(cases, tool, {"a": LEFT})
    other = add_volume(scene, "other", smooth_values(SHAPE, seed=1))
    alone = cases.addFromScene(tool, None, add_segmentation(scene, other, {"a": LEFT}))
    other = cases.addFromScene(tool, other, add_segmentation(scene, other, {"a": LEFT}))
    again = add(cases, tool, {"a": RIGHT}, "Another name")
    assert cases.ofSameScan(again["id"]) == [first["id"]]
    assert cases.ofSameScan(other) == cases.ofSameScan(alone) == []
    case_file, _labels = cases.writeTrainingList(str(tmp_path))
    assert [entry["subject"] for entry in read_json(case_file)] == [first["id"], "", "", first["id"]]


def test_scans_on_one_grid_are_read_once(cases, tool, scene, monkeypatch):
    from MIMSegmentLib.Scene import CaseTable

    read = []
    reader = CaseTable.sitk.ReadImage
    monkeypatch.setattr(CaseTable.sitk, "ReadImage", lambda path: read.append(path) or reader(path))
    for seed in range(4):
        volume = add_volume(scene, f"v{seed}", smooth_values(SHAPE, seed=seed))
        identifier = cases.addFromScene(tool, volume, add_segmentation(scene, volume, {"a": LEFT}))
        assert cases.ofSameScan(identifier) == []
    images = [path for path in read if "images" in path]
    assert len(images) == len(set(images)) == 4


def test_a_scan_of_a_folder_is_recognised_when_it_comes_from_the_scene(cases, tool, scene, tmp_path):
    volume = add_volume(scene, "v", smooth_values(SHAPE))
    node = add_segmentation(scene, volume, {"a": LEFT})
    tool.exportVolume(volume, str(tmp_path / "in" / "v.nii.gz"))
    tool.saveSegmentation(node, str(tmp_path / "in" / "v.seg.nrrd"))
    (known,) = cases.addFromFolder(str(tmp_path / "in"), found_in(tmp_path / "in"))
    assert cases.ofSameScan(cases.addFromScene(tool, volume, node)) == [known]
    (tmp_path / "in" / "v.nii.gz").unlink()
    assert cases.ofSameScan(cases.addFromScene(tool, volume, node)) != [known]


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
