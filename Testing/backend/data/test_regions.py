"""Regions in millimetres and boxes of voxels."""

import itertools

import numpy as np
import pytest
from oblique_grids import OBLIQUE, grid_of

from mimseg.data.regions import Box, bounding_box, box_from_ras, ras_bounds
from mimseg.data.volume import Grid
from mimseg.errors import UserError


def test_a_region_in_millimetres_is_cut_out_where_3d_slicer_shows_it():
    grid = Grid((20, 30, 40), (2.0, 1.0, 1.5), (10.0, -20.0, 5.0))
    # Voxel i covers LPS x from 10 + 2 i - 1 to 10 + 2 i + 1, that is RAS x from -11 - 2 i to -9 - 2 i.
    box = box_from_ras((-21.0, -13.0, 10.5, 15.5, 4.25, 100.0), grid)
    assert box.start == (2, 5, 0)
    assert box.stop == (6, 10, 40)


def test_a_region_on_an_oblique_scan_encloses_the_rotated_box():
    grid = grid_of((40, 40, 40), (1.0, 1.0, 1.0), 33, OBLIQUE[3])
    centre = grid.to_point(np.array([[20.0, 19.0, 18.0]]))[0] * [-1, -1, 1]
    bounds = [value for c in centre for value in (c - 4, c + 4)]
    box = box_from_ras(bounds, grid)
    corners = np.array(list(itertools.product(bounds[0:2], bounds[2:4], bounds[4:6]))) * [-1, -1, 1]
    indices = grid.to_index(corners)
    assert (indices.min(axis=0) >= np.array(box.start) - 0.5).all()
    assert (indices.max(axis=0) <= np.array(box.stop) - 0.5).all()
    assert max(box.size) < 18


def test_a_box_that_is_turned_with_the_scan_holds_exactly_its_voxels():
    grid = grid_of((40, 40, 40), (1.0, 2.0, 1.5), 33, OBLIQUE[3])
    corners = grid.to_point(np.array([[9.5, 11.5, 4.5], [15.5, 11.5, 4.5], [9.5, 20.5, 4.5], [9.5, 11.5, 12.5]]))
    origin, *ends = corners * [-1, -1, 1]
    turned = [value for vector in (origin, *(end - origin for end in ends)) for value in vector]
    assert box_from_ras(turned, grid) == Box((10, 12, 5), (16, 21, 13))
    flat = [*turned[:9], *turned[3:6]]
    with pytest.raises(UserError):
        box_from_ras(flat, grid)


def test_what_lies_beside_a_turned_box_is_erased_and_a_straight_one_is_left_alone():
    grid = Grid((60, 60, 8), (1.0, 1.0, 2.0), (-30.0, -30.0, -8.0))
    c = 20 * np.sqrt(0.5)
    turned = (0.0, -2 * c + 3.3, -7.0, *(c, c, 0), *(-c, c, 0), *(0, 0, 8))
    box = box_from_ras(turned, grid)
    found, bits = np.ones(grid.size, np.uint8), np.full((2, *grid.size), 255, np.uint8)
    found[:3], bits[:, :3] = 0, 0
    part = (slice(3, None), *Box.whole(grid.size).slices[1:])
    box.erase_outside((3, 0, 0), found[part], bits[:, 3:])
    centres = grid.to_point(np.argwhere(found >= 0).astype(float)) * [-1, -1, 1] - turned[:3]
    shares = centres @ np.linalg.inv(np.reshape(turned[3:], (3, 3)))
    expected = ((shares >= 0) & (shares <= 1)).all(axis=1).reshape(grid.size)
    assert expected[3:].sum() == pytest.approx(20 * 20 * 8 / 2, rel=0.05)
    assert np.array_equal(found[3:] == 1, expected[3:])
    assert np.array_equal(bits[1] == 255, found == 1)
    assert box.size[0] * box.size[1] > 700
    straight = box_from_ras((-10.0, 10, -10, 10, -6, 3), grid)
    assert straight.shares is None


def test_the_bounds_of_the_whole_volume_select_the_whole_volume():
    for turn in range(48):
        grid = grid_of((5, 6, 7), (0.7, 1.9, 3.1), turn)
        assert box_from_ras(ras_bounds(grid), grid) == Box.whole(grid.size)


@pytest.mark.parametrize(
    "bounds", [(0, 1, 2), (5, 1, 0, 1, 0, 1), (900, 910, 0, 5, 0, 5), (float("nan"), 1, 0, 1, 0, 1)]
)
def test_a_region_that_is_no_box_or_misses_the_volume_is_refused(bounds):
    with pytest.raises(UserError) as refusal:
        box_from_ras(bounds, grid_of((5, 5, 5)))
    assert refusal.value.code == "bad-region"
    assert refusal.value.hint


def test_the_bounding_box_of_nothing_is_none():
    assert bounding_box(np.zeros((3, 3, 3), bool)) is None
