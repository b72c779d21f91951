"""Add box: where the slice views meet, turned with the volume, and exactly so large for the backend."""

import numpy as np
import pytest
from logic_tools import add_volume, oblique

pytest.importorskip("slicer.i18n", reason="needs 3D Slicer or the harness")
import slicer
import vtk
from MIMSegmentLib.Scene.RegionBox import RegionBox
from MIMSegmentLib.Scene.Scene import Scene

EDGES = (10.0, 16.0, 12.0)
MEETING = np.array([14.0, -11.0, 41.0])


def show(scene, directions, offsets):
    """Three slice views along the columns of `directions`, panned by `offsets` within their planes."""
    for number, name in enumerate(("Yellow", "Green", "Red")):
        others = [axis for axis in range(3) if axis != number]
        node = scene.GetSingletonNode(name, "vtkMRMLSliceNode")
        if node is None:
            node = slicer.vtkMRMLSliceNode()
            node.SetSingletonTag(name)
            node.SetLayoutName(name)
            node = scene.AddNode(node)
        matrix = np.eye(4)
        matrix[:3, 2] = directions[:, number]
        matrix[:3, 0], matrix[:3, 1] = directions[:, others[0]], directions[:, others[1]]
        # The slice's own center, which is not where the views meet.
        matrix[:3, 3] = MEETING + directions[:, others] @ offsets[number]
        node.GetSliceToRAS().DeepCopy(matrix.ravel())


@pytest.mark.parametrize("angle", [0.0, 19.0, 140.0])
def test_a_box_is_where_the_views_meet_and_turned_with_the_volume(scene, angle):
    volume = add_volume(scene, values=np.zeros((30, 50, 40), np.float32), matrix=oblique((1.5, 1.0, 2.5), angle=angle))
    toRAS = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(toRAS)
    columns = slicer.util.arrayFromVTKMatrix(toRAS)[:3, :3]
    directions = columns / np.linalg.norm(columns, axis=0)
    show(scene, directions, np.array([[7.0, -3.0], [12.0, 5.0], [-6.0, 9.0]]))
    node = RegionBox(scene).add(volume, EDGES)
    assert np.allclose(node.GetCenterWorld(), MEETING, atol=1e-4)
    assert np.allclose(node.GetSize(), EDGES)
    axes = slicer.util.arrayFromVTKMatrix(node.GetObjectToWorldMatrix())[:3, :3]
    assert np.allclose(np.abs(axes.T @ directions).max(axis=0), 1)
    # To the right, to the front, up: as nearly as the volume's axes allow.
    assert np.all(np.diag(axes) > 0)


def test_without_views_or_where_they_meet_outside_the_box_is_in_the_middle_of_the_volume(scene):
    volume = add_volume(scene)
    bounds = np.zeros(6)
    volume.GetRASBounds(bounds)
    middle = (bounds[0::2] + bounds[1::2]) / 2
    assert np.allclose(RegionBox(scene).add(volume, EDGES).GetCenterWorld(), middle)
    MEETING[:] += 500
    try:
        show(scene, np.eye(3), np.zeros((3, 2)))
    finally:
        MEETING[:] -= 500
    assert np.allclose(RegionBox(scene).add(volume, EDGES).GetCenterWorld(), middle)


def test_the_backend_cuts_the_box_as_it_was_added_from_an_oblique_scan(scene, folder):
    from mimseg.data.regions import box_from_ras
    from mimseg.data.volumes import read_volume

    volume = add_volume(scene, values=np.zeros((30, 50, 40), np.float32), matrix=oblique((1.5, 1.0, 2.0), angle=19.0))
    tool = Scene(scene)
    tool.exportVolume(volume, str(folder / "v.nrrd"))
    grid = read_volume(folder / "v.nrrd").grid
    (region,) = tool.regionsForVolume([RegionBox(scene).add(volume, EDGES)], volume)
    millimeters = np.array(box_from_ras(region, grid).size) * grid.spacing
    assert np.all(np.sort(millimeters) <= np.sort(EDGES) + 2 * 2.0)
