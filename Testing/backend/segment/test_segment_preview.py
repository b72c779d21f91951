"""The picture of a result."""

import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import LABELS

from mimseg.data.volume import Grid
from mimseg.reports import preview
from mimseg.reports.pictures import encode_png


def test_the_picture_is_a_readable_png(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(picture))
    back = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.png")))
    assert np.array_equal(back, picture)
    assert zlib.crc32(b"IEND") == 0xAE426082


@pytest.mark.parametrize("turn", [np.diag([1.0, 1, 1]), np.diag([-1.0, -1, 1]), np.eye(3)[:, [2, 0, 1]]])
def test_the_picture_shows_the_right_side_on_the_left_and_the_front_at_the_top(turn):
    """One marked voxel at the patient's right, front and top, whatever the order of the array's axes."""
    grid = Grid((30, 30, 30), direction=turn)
    corner_lps = np.array([[-1.0, -1.0, 1.0]]) * 10
    middle = grid.to_point(np.array([[14.5, 14.5, 14.5]]))
    index = tuple(np.rint(grid.to_index(middle + corner_lps))[0].astype(int))
    labels = np.zeros(grid.size, np.uint8)
    labels[tuple(slice(i - 1, i + 2) for i in index)] = 7
    image = np.zeros(grid.size, np.float32)
    picture = preview.draw_preview(image, labels, grid, LABELS, (0, 1))
    tile, step = preview._TILE, preview._TILE + preview._GAP
    expected = [("front", "right"), ("top", "right"), ("top", "front")]
    for number in range(len(expected)):
        shown = picture[:tile, number * step : number * step + tile].sum(axis=2) > 0
        rows, columns = np.nonzero(shown)
        assert rows.max() < tile / 2  # Front or top: in the upper half.
        assert columns.max() < tile / 2  # Right or front: in the left half.


def test_the_picture_keeps_millimetres_square():
    grid = Grid((40, 40, 8), (1.0, 1.0, 5.0))
    picture = preview.draw_preview(np.ones(grid.size, np.float32), np.zeros(grid.size, np.uint8), grid, (), (0, 1))
    tile, step = preview._TILE, preview._TILE + preview._GAP
    for number in range(3):
        shown = picture[:tile, number * step : number * step + tile].any(axis=2)
        assert shown.all()  # 40 mm by 40 mm in every plane.


def test_the_picture_of_a_pair_cuts_through_one_of_the_pair():
    labels = np.zeros((40, 20, 20), np.uint8)
    labels[5:10, 5:15, 5:15] = 3
    labels[30:35, 5:15, 5:15] = 7
    assert labels[preview._centre(labels, preview.bounding_box(labels != 0))] != 0
