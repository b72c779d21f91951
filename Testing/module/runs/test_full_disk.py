"""A disk that fills up while the module writes: no cut file under a final name, nor the word that it was written."""

import contextlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from logic_tools import add_segmentation, add_volume
from panel_tools import FakeDesktop

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
from MIMSegmentLib.Files import writeText
from MIMSegmentLib.Problem import Problem
from MIMSegmentLib.Scene.LabelFile import LabelFile
from MIMSegmentLib.Scene.ResultFiles import ResultFiles
from MIMSegmentLib.Scene.Scene import Scene

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
SHAPE = (40, 50, 60)


@contextlib.contextmanager
def full_disk():
    """Files cannot grow beyond 3000 bytes; like a full disk, this fails in the middle of a file."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def segmentation(scene):
    values = np.random.default_rng(0).integers(0, 1000, SHAPE).astype(np.float32)
    volume = add_volume(scene, "Scan", values)
    return add_segmentation(scene, volume, {"A": values < 300, "B": values > 700})


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".seg.nrrd"])
def test_an_export_to_a_full_disk_leaves_nothing_and_says_so(segmentation, scene, tmp_path, ending):
    with full_disk(), pytest.raises(Problem, match="cannot be written") as caught:
        ResultFiles(Scene(scene)).write(segmentation, str(tmp_path), [ending])
    assert "free space" in caught.value.hint
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".seg.nrrd"])
def test_a_file_that_was_there_survives(segmentation, scene, tmp_path, ending):
    tool = ResultFiles(Scene(scene))
    written = tool.write(segmentation, str(tmp_path), [ending])
    before = [Path(path).read_bytes() for path in written]
    with full_disk(), pytest.raises(Problem):
        tool.write(segmentation, str(tmp_path), [ending])
    assert [Path(path).read_bytes() for path in written] == before


def test_volumes_label_files_and_texts_are_whole_or_absent(segmentation, scene, tmp_path):
    tool = Scene(scene)
    volume = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    with full_disk(), pytest.raises(Problem):
        tool.exportVolume(volume, str(tmp_path / "v.nrrd"))
    with full_disk(), pytest.raises(Problem):
        writeText(str(tmp_path / "t.txt"), "x" * 5000)
    assert os.listdir(tmp_path) == []


def test_labels_of_a_folder_are_whole_or_absent(segmentation, scene, tmp_path):
    (source, _table) = ResultFiles(Scene(scene)).write(segmentation, str(tmp_path / "in"), [".nrrd"])
    file = LabelFile(source)
    with full_disk(), pytest.raises(Problem):
        file.write(str(tmp_path / "out" / "l.nrrd"), {segment["id"]: 1 for segment in file.segments})
    assert os.listdir(tmp_path / "out") == []


def test_the_panel_says_it_beside_the_button_and_not_that_it_was_written(panel, segmentation, tmp_path):
    panel.ui.segmentationSelector.setCurrentNode(segmentation)
    panel.ui.exportFolderEdit.currentPath = str(tmp_path / "out")
    panel.ui.exportButton.click()
    assert "Written to" in panel.ui.exportStatusLabel.text
    FakeDesktop.answers["confirm"] = True
    with full_disk():
        panel.ui.exportButton.click()
    assert "cannot be written" in panel.ui.exportStatusLabel.text
    assert "Written to" not in panel.ui.exportStatusLabel.text
