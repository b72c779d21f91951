"""Headers of Slicer segmentations that other programs wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from segmentation_files import segment, write_segmentation

from mimseg.data.labels.drawn import Overlapping
from mimseg.data.labels.labelmaps import read_labelmap, read_segment_names, write_labelmap
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid
from mimseg.errors import UserError


@pytest.mark.parametrize("value", [-1, 0, 70000])
def test_a_label_value_that_no_labelmap_can_hold_is_refused_in_words(tmp_path: Path, value: int) -> None:
    path = tmp_path / "s.seg.nrrd"
    write_segmentation(path, [np.ones((3, 4, 5))], [segment("liver", 1), segment("spleen", value)])
    for read in (read_labelmap, read_segment_names):
        with pytest.raises(UserError, match=rf"s\.seg\.nrrd.*“spleen”.*{value}") as caught:
            read(path)
        assert caught.value.code == "bad-labels"
        assert "65535" in caught.value.hint


def test_3d_slicer_reads_layers_of_structures_that_overlap(tmp_path: Path) -> None:
    slicer = pytest.importorskip("slicer", reason="needs 3D Slicer's own data classes")
    grid = Grid((20, 18, 16), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0))
    whole, core, beside = np.zeros((3, *grid.size), bool)
    whole[2:12, 2:12, 2:12], core[4:8, 4:8, 4:8], beside[14:16, 3:5, 2:6] = True, True, True
    bits = (whole.astype(np.uint8) | core.astype(np.uint8) << 1)[np.newaxis]
    table = [Label(1, "whole", (255, 0, 0)), Label(2, "core", (0, 255, 0))]
    values = np.select([core, whole, beside], [2, 1, 5])
    write_labelmap(tmp_path / "o.seg.nrrd", values, grid, table, overlapping=Overlapping(bits, (1, 2)))
    scene, node, storage = (
        slicer.vtkMRMLScene(),
        slicer.vtkMRMLSegmentationNode(),
        slicer.vtkMRMLSegmentationStorageNode(),
    )
    scene.AddNode(node)
    storage.SetFileName(str(tmp_path / "o.seg.nrrd"))
    assert storage.ReadData(node)
    segmentation = node.GetSegmentation()
    assert segmentation.GetNumberOfLayers() == 2
    found = {}
    for identifier in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(identifier)
        scalars = segment.GetRepresentation("Binary labelmap").GetPointData().GetScalars()
        numbers = [scalars.GetTuple1(index) for index in range(scalars.GetNumberOfTuples())]
        found[segment.GetName()] = numbers.count(segment.GetLabelValue())
    assert found == {"whole": whole.sum(), "core": core.sum(), "Label 5": beside.sum()}
