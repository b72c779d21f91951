"""Dropping what hangs nowhere on the main piece: exact, slab by slab, and kind to what a scan cuts off."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from locator_tools import SHARP, SIDES, write_two_sides
from segment_tools import settings_for
from tiny_model import write_tiny_bundle

from mimseg.commands.segment.run import segment
from mimseg.data.labels import connected
from mimseg.data.labels.connected import keep_main_piece, pieces_of
from mimseg.data.labels.labelmaps import read_labelmap


def largest_only(mask):
    """By numbering the whole array at once."""
    numbered = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
    sizes = np.bincount(numbered.ravel())
    sizes[0] = 0
    return numbered == sizes.argmax()


def blobs(seed, size=(23, 19, 21)):
    """Classes 0 .. 3 in blobs, with many pieces of every size; background at the sides."""
    noise = np.random.default_rng(seed).normal(size=size)
    smooth = sitk.GetArrayFromImage(sitk.DiscreteGaussian(sitk.GetImageFromArray(noise), 1.0))
    classes = np.digitize(smooth, np.quantile(smooth, (0.6, 0.75, 0.9))).astype(np.uint8)
    for side in (classes[0], classes[-1], classes[:, 0], classes[:, -1], classes[..., 0], classes[..., -1]):
        side[...] = 0
    return classes


@pytest.mark.parametrize("slab", [1, 900, 10**9], ids=["planes", "slabs", "whole"])
@pytest.mark.parametrize("group", [(1, 2, 3), (2, 3)])
def test_what_stays_is_the_largest_piece_however_the_scan_is_walked_through(slab, group, monkeypatch):
    monkeypatch.setattr(connected, "SLAB_VOXELS", slab)
    for seed in range(3):
        before = blobs(seed)
        mask = np.isin(before, group)
        expected = np.where(mask & ~largest_only(mask), 0, before)
        after = before.copy()
        dropped = keep_main_piece(after, group)
        assert np.array_equal(after, expected)
        assert dropped == np.count_nonzero(before != after) > 0
        assert pieces_of(after, group).count == 1
        assert keep_main_piece(after, group) == 0


@pytest.mark.parametrize("slab", [1, 900, 10**9], ids=["planes", "slabs", "whole"])
def test_of_a_single_structure_only_islands_are_dropped(slab, monkeypatch):
    monkeypatch.setattr(connected, "SLAB_VOXELS", slab)
    classes = np.zeros((12, 30, 12), np.uint8)
    classes[2:7, 2:10, 2:7] = 3  # 200 voxels
    classes[2:7, 14:18, 2:3] = 3  # 20: what a thin place separates
    classes[2:7, 22, 2:5] = 3  # 15
    classes[9, 26, 9] = 1
    assert keep_main_piece(classes, [3]) == 15
    assert not classes[:, 22].any()
    assert (np.count_nonzero(classes == 3), np.count_nonzero(classes == 1)) == (220, 1)


def test_pieces_that_touch_at_a_corner_hang_together():
    classes = np.zeros((6, 6, 6), np.uint8)
    classes[1, 1, 1] = classes[2, 2, 2] = classes[3, 1, 3] = 1
    assert pieces_of(classes, [1]).count == 1
    classes[2, 2, 2] = 0
    assert (pieces_of(classes, [1]).count, pieces_of(classes, [1]).main_share) == (2, 0.5)
    assert pieces_of(classes, [2]).main_share == 1.0


@pytest.mark.parametrize("slab", [1, 10**9])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_the_same_side_of_the_scan_cuts_stays(axis, slab, monkeypatch):
    monkeypatch.setattr(connected, "SLAB_VOXELS", slab)
    classes = np.zeros((12, 12, 12), np.uint8)
    along = np.moveaxis(classes, axis, 0)
    along[:5, 1:6, 1:6] = 2  # the main piece, cut below
    along[:2, 9:11, 9:11] = 1  # cut below, too: a second lobe
    along[10:, 9:11, 1:3] = 1  # cut above only
    along[5:7, 9:11, 9:11] = 1  # inside
    keep_main_piece(classes, [1, 2])
    assert np.count_nonzero(along[:2] == 1) == 8
    assert np.count_nonzero(along[2:] == 1) == 0
    assert np.count_nonzero(along == 2) == 125


def test_nothing_is_done_where_nothing_is():
    classes = np.zeros((4, 4, 4), np.uint16)
    assert keep_main_piece(classes, [300]) == 0
    classes[1, 1, 1] = 300
    assert keep_main_piece(classes, [300]) == 0
    assert classes.sum() == 300


def test_a_model_says_what_hangs_together(tmp_path):
    model = write_tiny_bundle(tmp_path / "tiny", SHARP, labels=SIDES, one_piece=(("Right-Part",),))
    array = write_two_sides(tmp_path / "scan.nrrd", stray=True)
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "o.nrrd"))
    found = read_labelmap(tmp_path / "o.nrrd").array
    assert found[2, 2, 2] == 0
    array[2, 2, 2] = 0
    assert np.array_equal(found, np.where(array == 50, 2, np.where(array == 100, 41, 0)))
    box = (0.0, 5.0, 0.0, 5.0, 0.0, 5.0)  # a box is a scan of its own
    segment(settings_for(model, tmp_path / "scan.nrrd", tmp_path / "part.nrrd", regions=(box,)))
    assert np.argwhere(read_labelmap(tmp_path / "part.nrrd").array).tolist() == [[2, 2, 2]]
