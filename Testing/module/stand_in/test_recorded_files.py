"""Files are saved and loaded as recorded in a running Slicer (recorded/files.txt)."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

LINES = (Path(__file__).parents[1] / "recorded" / "files.txt").read_text(encoding="utf-8").splitlines()
OUTCOMES = dict(line.split(" -> ") for line in LINES if " -> " in line)
FAILURES = [line.split(" !! ")[0] for line in LINES if " !! " in line]
# Slicer reads or writes these; the stand-in raises, since the module does not use them.
NOT_OFFERED = {"hdr", "mgz", "tif"}


@pytest.fixture
def ct(slicer, scene):
    """The recorded volume: 40 x 30 x 20 voxels of 1 x 2 x 3 mm at (5, 6, 7)."""
    node = slicer.util.addVolumeFromArray(np.arange(24000, dtype=np.int16).reshape(20, 30, 40), name="V")
    node.SetSpacing(1, 2, 3)
    node.SetOrigin(5, 6, 7)
    return node


@pytest.mark.parametrize("ending", ["nrrd", "nii.gz", "nii", "mha"])
def test_a_volume_comes_back_with_its_grid(slicer, ct, tmp_path, ending):
    path = str(tmp_path / f"v.{ending}")
    assert slicer.util.saveNode(ct, path) is ast.literal_eval(OUTCOMES[f"save {ending}"])
    name, spacing, origin, same = ast.literal_eval(OUTCOMES[f"load {ending}"])
    loaded = slicer.util.loadVolume(path)
    assert loaded.GetName() == name.partition("_")[0]
    np.testing.assert_allclose(loaded.GetSpacing(), spacing)
    np.testing.assert_allclose(loaded.GetOrigin(), origin, rtol=1e-6)
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(loaded), slicer.util.arrayFromVolume(ct))
    assert same


@pytest.mark.parametrize("ending", sorted(NOT_OFFERED))
def test_other_formats_are_not_written_and_raise_when_read(slicer, ct, tmp_path, ending):
    assert f"save {ending}" in OUTCOMES
    assert slicer.util.saveNode(ct, str(tmp_path / f"v.{ending}")) is False
    with pytest.raises(AttributeError, match="not offered"):
        slicer.util.loadNodeFromFile(str(tmp_path / f"v.{ending}"), properties={})


def test_a_missing_file_raises_and_the_old_way_answers_false(slicer, scene):
    assert "load missing" in FAILURES
    with pytest.raises(RuntimeError, match="Failed to load node from file"):
        slicer.util.loadVolume("/nope.nrrd")
    assert slicer.util.loadVolume("/nope.nrrd", returnNode=True) == ast.literal_eval(OUTCOMES["load missing rn"])


def test_a_segmentation_is_saved_as_seg_nrrd_only(slicer, ct, tmp_path):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    segment = node.GetSegmentation().AddEmptySegment("one")
    mask = (slicer.util.arrayFromVolume(ct) > 500).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, node, segment, ct)
    assert slicer.util.saveNode(node, str(tmp_path / "s.seg.nrrd")) is ast.literal_eval(OUTCOMES["save seg seg.nrrd"])
    loaded = slicer.util.loadSegmentation(str(tmp_path / "s.seg.nrrd"))
    name, count = ast.literal_eval(OUTCOMES["load seg seg.nrrd"])
    assert (loaded.GetName(), loaded.GetSegmentation().GetNumberOfSegments()) == (name, count)
    assert slicer.util.saveNode(node, str(tmp_path / "s.nii.gz")) is ast.literal_eval(OUTCOMES["save seg nii.gz"])
    assert "load seg nii.gz" in FAILURES
    with pytest.raises(RuntimeError):
        slicer.util.loadSegmentation(str(tmp_path / "s.nii.gz"))


def test_a_label_volume_is_loaded_as_a_label_map(slicer, ct, tmp_path):
    path = str(tmp_path / "labels.nrrd")
    slicer.util.saveNode(ct, path)
    assert slicer.util.loadLabelVolume(path).GetClassName() == OUTCOMES["loadLabelVolume"].strip()
