"""Results as files and as labelmap nodes."""

import os
from pathlib import Path

import numpy as np
import pytest
from logic_tools import add_segmentation, add_volume, box, labels_of, segment

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import SimpleITK as sitk
import slicer
import vtk
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.ResultFiles import FORMATS


@pytest.fixture
def segmented(logic, scene):
    logic, record = logic
    volume = add_volume(scene)
    segment(logic, volume, "tiny")
    _name, result = record.wait()
    record.clear()
    return logic, record, volume, result["segmentations"][0]


def test_what_the_panel_exports_the_backend_writes_too():
    from mimseg.formats import LABELS_WRITTEN

    assert {ending for ending in FORMATS if ending != "labelmap"} <= set(LABELS_WRITTEN)


def test_exported_files_open_with_the_volumes_geometry(segmented, folder):
    logic, _record, volume, node = segmented
    paths = logic.exportResult(node, str(folder / "out ß"), (".nii.gz", ".nrrd", ".seg.nrrd"))
    assert sorted(os.listdir(folder / "out ß")) == sorted(os.path.basename(path) for path in paths)
    assert [os.path.basename(path) for path in paths] == [
        "Kopf ä_1 tiny.nii.gz",
        "Kopf ä_1 tiny.nrrd",
        "Kopf ä_1 tiny.seg.nrrd",
        "Kopf ä_1 tiny-volumes.csv",
    ]
    expected = labels_of(logic, node, volume)
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    for path in paths[:3]:
        image = sitk.ReadImage(path)
        assert image.GetSize() == volume.GetImageData().GetDimensions()
        spacing, direction = np.array(image.GetSpacing()), np.array(image.GetDirection()).reshape(3, 3)
        ras = np.diag([-1, -1, 1]) @ direction @ np.diag(spacing)
        for row in range(3):
            assert matrix.GetElement(row, 3) == pytest.approx(
                (-image.GetOrigin()[row] if row < 2 else image.GetOrigin()[row]), abs=1e-4
            )
            for column in range(3):
                assert matrix.GetElement(row, column) == pytest.approx(ras[row, column], abs=1e-5)
        if not path.endswith(".seg.nrrd"):
            assert np.array_equal(sitk.GetArrayFromImage(image), expected)
    table = Path(paths[-1]).read_text(encoding="utf-8-sig").splitlines()
    assert table[0] == "structure,value,side,volume_ml,voxels"
    assert table[1].startswith("Grey,3,")


def test_a_labelmap_node_is_made_on_demand(segmented, scene):
    logic, _record, volume, node = segmented
    (name,) = logic.exportResult(node, "", ("labelmap",))
    labelmap = scene.GetFirstNodeByName(name)
    assert labelmap.IsA("vtkMRMLLabelMapVolumeNode")
    assert np.array_equal(slicer.util.arrayFromVolume(labelmap) != 0, labels_of(logic, node, volume) != 0)


def test_an_output_folder_that_cannot_be_written_is_told(segmented, folder):
    logic, _record, _volume, node = segmented
    (folder / "file").write_text("")
    with pytest.raises(Problem) as caught:
        logic.exportResult(node, str(folder / "file"), (".nrrd",))
    message, hint = caught.value.message, caught.value.hint
    assert "cannot be written" in message
    assert hint


@pytest.mark.parametrize(("target", "formats"), [("", (".nrrd",)), ("x", ()), ("x", (".exe",))])
def test_an_export_without_folder_or_format_is_told(segmented, target, formats):
    logic, _record, _volume, node = segmented
    with pytest.raises(Problem):
        logic.exportResult(node, target, formats)


def test_a_result_without_its_volume_can_still_be_exported(segmented, scene, folder):
    logic, _record, volume, node = segmented
    expected = labels_of(logic, node, volume)
    scene.RemoveNode(volume)
    paths = logic.exportResult(node, str(folder / "out"), (".nrrd",))
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(paths[0])), expected)


@pytest.mark.parametrize("formats", [(".seg.nrrd",), (".seg.nrrd", ".nii.gz"), (".nrrd",), ("labelmap",)])
@pytest.mark.parametrize("apart", [True, False])
def test_a_labelmap_that_loses_an_overlap_is_told(logic, scene, folder, formats, apart):
    logic, _record = logic
    shape = (12, 14, 16)
    masks = {"a": box(shape, (2, 6), (2, 6), (2, 6)), "b": box(shape, (6 if apart else 4, 9), (2, 6), (2, 6))}
    node = add_segmentation(scene, add_volume(scene, "v", np.zeros(shape, np.int16)), masks)
    told = []
    logic.exportResult(node, str(folder), formats, told.append)
    if apart or formats == (".seg.nrrd",):
        assert told == []
    else:
        (text,) = told
        assert "overlap in 32 voxels" in text
        assert ".seg.nrrd" in text
