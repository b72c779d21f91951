"""How structures lie to one another: what is kept of a training, and what is told by it of a scan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from tiny_model import write_tiny_bundle

from mimseg.bundle.description import read_description
from mimseg.data.labels.structures import Label
from mimseg.data.volume import Grid
from mimseg.inference import known_places, known_volumes
from mimseg.inference.known_places import LIKE, extents_of, likeness, places_record, seen_in
from mimseg.inference.known_places import known_places as places_of
from mimseg.inference.known_volumes import finds_nothing_known, volumes_record

NAMES = [f"part {number}" for number in range(1, 11)]
# Ten structures in a body, in mm; none in a line or a plane with all others.
PLACES = np.random.default_rng(3).uniform(-40, 40, (10, 3))


def rotation(angle, axis=(1.0, 2.0, -0.5)):
    transform = sitk.VersorRigid3DTransform()
    transform.SetRotation(axis, angle)
    return np.array(transform.GetMatrix()).reshape(3, 3)


def scan_of(places, direction=None, spacing=(2.0, 3.0, 2.5), edge=4):
    """Classes 1, 2, ... as cubes around these LPS places, on an oblique grid."""
    grid = Grid((70, 48, 60), spacing, (0, 0, 0), rotation(0.4) if direction is None else direction)
    middle = grid.to_point(np.array([[35.0, 24.0, 30.0]]))[0]
    grid = replace(grid, origin=tuple((-middle).tolist()))
    classes = np.zeros(grid.size, np.uint8)
    for index, centre in enumerate(np.round(grid.to_index(np.asarray(places))).astype(int), start=1):
        classes[tuple(slice(place - edge // 2, place + edge // 2) for place in centre)] = index
    return classes, grid


@pytest.fixture
def known(tmp_path):
    """A description of ten structures whose volumes and places are known."""
    description = read_description(write_tiny_bundle(tmp_path / "tiny") / "segmentation.json")
    labels = tuple(Label(value, name, (0, 0, 0)) for value, name in enumerate(NAMES, start=1))
    training = {
        known_volumes.ENTRY: volumes_record(NAMES, [[0.5] * 10]),
        known_places.ENTRY: places_record(NAMES, [PLACES, PLACES + 7, PLACES @ rotation(0.5)]),
    }
    return replace(description, labels=labels, network={**description.network, "classes": 11}, training=training)


def test_middles_are_in_millimetres_of_oblique_scans_and_strays_do_not_move_them():
    classes, grid = scan_of(PLACES)
    classes[0, 0, :3] = 1
    extents = extents_of(classes, 12, grid)
    assert np.array_equal(extents.voxels, np.bincount(classes.ravel(), minlength=12))
    assert np.abs(extents.middles[1:11] - PLACES).max() < 4.0  # a cube's middle is rounded to voxels
    assert np.isnan(extents.middles[11]).all()


def test_likeness_does_not_care_where_a_body_lies_and_how_large_it_is():
    moved = 1.6 * PLACES @ rotation(1.2) + [100, -50, 3]
    assert likeness(PLACES, moved) == pytest.approx(1)
    assert likeness(PLACES, 4 * PLACES) < 0.8  # so large is nobody
    assert likeness(PLACES, PLACES * [-1, 1, 1]) < 0.9  # left is not right
    generator = np.random.default_rng(0)
    anyhow = [likeness(PLACES, generator.permutation(PLACES)) for _ in range(50)]
    assert np.mean(anyhow) < 0.5
    assert np.mean(np.array(anyhow) < LIKE) > 0.9
    assert likeness(PLACES, np.zeros((10, 3))) == 0


def test_the_record_is_the_mean_arrangement_of_what_all_cases_have(known):
    generator = np.random.default_rng(1)
    cases = [PLACES @ rotation(angle) + generator.normal(0, 2, (10, 3)) for angle in (0.0, 0.3, -0.4, 0.8)]
    cases[2][4] = np.nan
    record = places_record(NAMES, cases)
    assert list(record) == [name for name in NAMES if name != "part 5"]
    read = places_of(replace(known, training={known_places.ENTRY: record}))
    assert list(read) == [1, 2, 3, 4, 6, 7, 8, 9, 10]
    assert likeness(np.array(list(read.values())), np.delete(PLACES, 4, axis=0)) > 0.99


def test_too_few_cases_and_cases_of_different_arrangement_tell_nothing():
    assert places_record(NAMES, [PLACES] * 2) == {}
    assert places_record(NAMES, [PLACES, PLACES, PLACES[::-1]]) == {}
    assert places_record(NAMES, [PLACES, PLACES, np.full((10, 3), np.nan)]) == {}
    assert places_record(NAMES, []) == {}


@pytest.mark.parametrize("wrong", ["x", {"part 1": 3}, {"part 1": {"left": 1.0}}, {"part 1": {"left": "1"}}])
def test_a_damaged_record_tells_nothing(known, wrong):
    assert places_of(replace(known, training={known_places.ENTRY: wrong})) == {}


def test_structures_of_the_right_size_that_lie_anyhow_are_nothing_known(known):
    order = np.random.default_rng(5).permutation(10)
    classes, grid = scan_of(PLACES[order])
    assert finds_nothing_known(classes, known, grid)
    without = {known_volumes.ENTRY: known.training[known_volumes.ENTRY]}
    assert not finds_nothing_known(classes, replace(known, training=without), grid)


def test_a_turned_body_with_missing_and_displaced_structures_is_known(known):
    classes, grid = scan_of(0.8 * PLACES @ rotation(0.7, (0.2, 1.0, 0.4)))
    assert not finds_nothing_known(classes, known, grid)
    shifted = PLACES + np.where(PLACES[:, :1] > 0, [-8.0, 6.0, 0.0], 0.0)  # a mass pushes one side over
    classes, grid = scan_of(shifted)
    classes[classes == 3] = 0
    classes[classes == 8] = 0
    assert not finds_nothing_known(classes, known, grid)


def test_a_slab_is_judged_by_the_axes_that_it_shows(known):
    """Twenty slices show parts of many organs, all with their middles in the slab."""
    upright, straight = PLACES * (0.6, 0.6, 2.0), np.eye(3)
    training = {**known.training, known_places.ENTRY: places_record(NAMES, [upright] * 3)}
    description = replace(known, training=training)
    classes, grid = scan_of(upright * (1, 1, 0.05), straight, (2.0, 2.0, 2.0))
    lowest = grid.to_point(np.array([[0.0, 0.0, 24.0]]))[0]
    slab, thin = np.ascontiguousarray(classes[:, :, 24:36]), replace(grid, size=(70, 48, 12), origin=tuple(lowest))
    places, found = np.array(list(places_of(description).values())), extents_of(slab, 11, thin).middles[1:]
    assert likeness(places, found) < LIKE < likeness(seen_in(places, thin), found)
    assert not finds_nothing_known(slab, description, thin)
    # A scan that is as long as they reach is judged as before, and a slab in which they lie anyhow is refused.
    assert np.array_equal(seen_in(PLACES, grid), PLACES)
    anyhow = np.concatenate([[0], np.random.default_rng(1).permutation(10) + 1])[slab].astype(np.uint8)
    assert finds_nothing_known(anyhow, description, thin)
