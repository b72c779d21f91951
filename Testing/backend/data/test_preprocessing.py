"""Preprocessing and its inverse: exact geometry, intensities, settings."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oblique_grids import OBLIQUE, grid_of

from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing, prepare, restore, restore_probability
from mimseg.data.regions import Box
from mimseg.data.volume import Volume
from mimseg.errors import UserError


def object_in(size):
    """A box off the centre and of three different edges, so that no flip or swap leaves it in place."""
    mask = np.zeros(size, bool)
    i, j, k = (max(1, edge // 5) for edge in size)
    mask[i : i + max(2, size[0] // 2), j : j + max(2, size[1] // 3), k : k + max(2, size[2] // 4)] = True
    return mask


def one_hot(array):
    return np.stack([1 - array, array]).astype(np.float32)


PLAIN = Preprocessing(intensity=Intensity("window", 0, 1))


@pytest.mark.parametrize("turn", range(48))
def test_a_labelled_object_returns_to_its_voxels_from_every_axis_orientation(turn):
    grid = grid_of((10, 13, 16), (0.9, 1.1, 2.0), turn)
    mask = object_in(grid.size)
    prepared = prepare(Volume(mask.astype(np.int16), grid), PLAIN)
    labels = restore(one_hot(prepared.array[0]), prepared)
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, mask)


@pytest.mark.parametrize("turn", range(48))
def test_the_prepared_axes_point_right_front_and_up(turn):
    prepared = prepare(Volume(np.zeros((4, 5, 6), np.float32), grid_of((4, 5, 6), turn=turn)), PLAIN)
    assert np.allclose(prepared.grid.direction, np.diag([-1.0, -1.0, 1.0]))


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(*[st.integers(5, 18)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 5.0)] * 3),
    turn=st.integers(0, 47),
    angles=st.sampled_from(OBLIQUE),
    orientation=st.sampled_from(["RAS", "LPS", "SAR", "ILP"]),
    data=st.data(),
)
def test_every_voxel_of_the_prepared_grid_holds_what_lies_there_in_the_scan(
    size, spacing, turn, angles, orientation, data
):
    grid = grid_of(size, spacing, turn, angles)
    start = [data.draw(st.integers(0, edge - 3)) for edge in size]
    stop = [data.draw(st.integers(low + 2, edge)) for low, edge in zip(start, size, strict=True)]
    region = Box(tuple(start), tuple(stop))
    target = data.draw(st.sampled_from([None, (1.0, 1.0, 1.0), (2.0, 0.7, 1.3)]))
    # A function linear in space is interpolated exactly, up to the clamped far border.
    slope = np.array([0.3, -0.7, 0.45])
    indices = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, 3)
    values = (grid.to_point(indices) @ slope).reshape(size)
    wide = Preprocessing(orientation, target, Intensity("window", -1e4, 1e4))
    prepared = prepare(Volume(values, grid), wide, region)
    seen = prepared.array[0] * 2e4 - 1e4
    indices = np.stack(np.meshgrid(*map(np.arange, prepared.grid.size), indexing="ij"), -1).reshape(-1, 3)
    points = prepared.grid.to_point(indices)
    source = grid.to_index(points)
    inside = ((source >= np.array(start) - 1e-6) & (source <= np.array(stop) - 1 + 1e-6)).all(axis=1)
    assert inside.any()
    assert np.abs(seen.reshape(-1) - points @ slope)[inside].max() < 0.01
    assert prepared.region == region


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(*[st.integers(6, 16)] * 3),
    spacing=st.tuples(*[st.floats(0.5, 4.0)] * 3),
    turn=st.integers(0, 47),
    angles=st.sampled_from(OBLIQUE),
    target=st.sampled_from([None, (1.0, 1.0, 1.0), (1.5, 1.5, 3.0)]),
)
def test_restored_probabilities_lie_where_they_were_predicted(size, spacing, turn, angles, target):
    grid = grid_of(size, spacing, turn, angles)
    prepared = prepare(Volume(np.zeros(size, np.float32), grid), Preprocessing("RAS", target))
    slope = np.array([0.3, -0.7, 0.45])
    indices = np.stack(np.meshgrid(*map(np.arange, prepared.grid.size), indexing="ij"), -1).reshape(-1, 3)
    predicted = (prepared.grid.to_point(indices) @ slope).reshape(prepared.grid.size).astype(np.float32)
    restored = restore_probability(predicted, prepared)
    indices = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, 3)
    points = grid.to_point(indices)
    inner = (prepared.grid.to_index(points) <= np.array(prepared.grid.size) - 1 + 1e-6).all(axis=1)
    assert inner.any()
    assert np.abs(restored.reshape(-1) - points @ slope)[inner].max() < 1e-3


@pytest.mark.parametrize("angles", OBLIQUE)
@pytest.mark.parametrize("turn", [0, 5, 17, 30, 47])
def test_an_object_on_an_anisotropic_oblique_scan_returns_within_half_a_working_voxel(turn, angles):
    grid = grid_of((24, 20, 9), (0.8, 0.9, 3.0), turn, angles)
    mask = np.zeros(grid.size, bool)
    mask[6:16, 5:13, 2:6] = True
    prepared = prepare(
        Volume(mask.astype(np.float32), grid), Preprocessing("RAS", (1.0, 1.0, 1.0), Intensity("window", 0, 1))
    )
    labels = restore(one_hot(prepared.array[0]), prepared)
    assert labels.shape == mask.shape
    wrong = np.argwhere(labels.astype(bool) != mask)
    border = mask ^ np.all([np.roll(mask, step, axis) for step in (-1, 1) for axis in range(3)], axis=0)
    border |= np.any([np.roll(mask, step, axis) for step in (-1, 1) for axis in range(3)], axis=0) & ~mask
    assert len(wrong) < 0.1 * mask.sum()
    assert all(border[tuple(index)] for index in wrong)


def test_the_best_of_many_classes_equals_the_argmax_of_all_restored_probabilities():
    random = np.random.default_rng(3)
    grid = grid_of((11, 9, 14), (1.3, 0.7, 2.2), 21, OBLIQUE[2])
    prepared = prepare(Volume(np.zeros(grid.size, np.float32), grid), Preprocessing("RAS", (1.7, 1.1, 0.9)))
    for sharpness in (0.3, 2.0, 20.0):
        logits = sharpness * random.normal(size=(7, *prepared.grid.size))
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=0)
        probabilities = probabilities.astype(np.float32)
        restored = np.stack([restore_probability(channel, prepared) for channel in probabilities])
        assert np.array_equal(restore(probabilities, prepared), restored.argmax(axis=0))


def test_with_independent_classes_a_voxel_needs_more_than_one_half():
    grid = grid_of((4, 4, 4))
    prepared = prepare(Volume(np.zeros(grid.size, np.float32), grid), Preprocessing("LPS"))
    probabilities = np.full((2, 4, 4, 4), 0.4, np.float32)
    probabilities[0, 0], probabilities[1, 0, 0], probabilities[1, 1, 0] = 0.9, 0.8, 0.6
    labels = restore(probabilities, prepared, multilabel=True)
    assert (labels[0, 0] == 2).all(), "the smaller one, though less probable"
    assert (labels[0, 1:] == 1).all()
    assert (labels[1, 0] == 2).all()
    assert not labels[1, 1:].any()
    assert not labels[2:].any()
    swapped = restore(probabilities[::-1].copy(), prepared, multilabel=True)
    assert np.array_equal(swapped, np.array([0, 2, 1])[labels]), "whatever the order of the channels"


def test_more_than_256_classes_need_16_bits():
    prepared = prepare(Volume(np.zeros((2, 2, 2), np.float32), grid_of((2, 2, 2))), PLAIN)
    probabilities = np.zeros((300, 2, 2, 2), np.float32)
    probabilities[299] = 1
    assert (restore(probabilities, prepared) == 299).all()


def test_outside_of_the_region_all_is_background():
    grid = grid_of((9, 10, 11), turn=13)
    region = Box((2, 3, 4), (6, 8, 10))
    prepared = prepare(Volume(np.ones(grid.size, np.float32), grid), PLAIN, region)
    labels = restore(one_hot(np.ones(prepared.array.shape[1:])), prepared)
    expected = np.zeros(grid.size, np.uint8)
    expected[region.slices] = 1
    assert np.array_equal(labels, expected)


def test_the_foreground_crop_is_cut_out_and_put_back():
    grid = grid_of((12, 10, 8), turn=9)
    array = np.zeros(grid.size, np.int16)
    array[3:9, 2:7, 4:6] = 50
    prepared = prepare(Volume(array, grid), Preprocessing(intensity=Intensity("window", 0, 100), crop_foreground=True))
    assert sorted(prepared.array.shape[1:]) == [2, 5, 6]
    assert prepared.region == Box((3, 2, 4), (9, 7, 6))
    assert np.array_equal(restore(one_hot(prepared.array[0] > 0), prepared), array > 0)


def test_a_crop_to_the_foreground_of_nothing_keeps_the_volume():
    prepared = prepare(Volume(np.zeros((3, 4, 5), np.int16), grid_of((3, 4, 5))), Preprocessing(crop_foreground=True))
    assert prepared.array.shape == (1, 3, 4, 5)
    assert not prepared.foreground.any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, ">i2", np.uint16, np.float32, np.float64])
def test_the_input_is_left_unchanged_whatever_its_type(dtype):
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    before = array.copy()
    prepared = prepare(Volume(array, grid_of((3, 4, 5), turn=40)), Preprocessing())
    assert prepared.array.dtype == np.float32
    assert prepared.array.flags.c_contiguous
    assert np.array_equal(array, before)


def test_z_scores_leave_zero_alone_and_are_cut_at_five():
    array = np.zeros((20, 20, 20), np.float32)
    array[5:15, 5:15, 5:15] = np.random.default_rng(0).normal(100, 10, (10, 10, 10))
    array[7, 7, 7] = 1e6
    scaled = prepare(Volume(array, grid_of(array.shape)), Preprocessing()).array[0]
    assert scaled.max() == 5
    assert (scaled == 0).sum() == 7000


def test_each_channel_is_scaled_on_its_own():
    random = np.random.default_rng(0)
    array = np.stack([random.normal(5, 1, (8, 8, 8)), random.normal(-900, 70, (8, 8, 8))])
    scaled = prepare(Volume(array, grid_of((8, 8, 8))), Preprocessing()).array
    assert np.allclose(scaled.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    assert np.allclose(scaled.std(axis=(1, 2, 3)), 1, atol=1e-5)


def test_percentile_scaling_uses_the_stored_numbers():
    array = np.array([-2000.0, -100, 50, 3000]).reshape(1, 1, 4)
    scaled = prepare(
        Volume(array, grid_of((1, 1, 4))), Preprocessing("LPS", None, Intensity("percentile", -100, 300, 50, 25))
    ).array
    assert scaled.ravel().tolist() == [-6, -6, 0, 10]


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(),
        Preprocessing("LPS", (1.5, 1.5, 2.0), Intensity("window", -160, 240), True),
        Preprocessing("RAS", None, Intensity("percentile", -900, 300, 12.5, 99.0)),
    ],
)
def test_settings_survive_json(preprocessing):
    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


@pytest.mark.parametrize(
    "change",
    [
        {"orientation": "RAR"},
        {"orientation": 3},
        {"spacing": [1, 2]},
        {"spacing": [1, 2, -3]},
        {"spacing": "fine"},
        {"intensity": {"kind": "magic"}},
        {"intensity": {"kind": "window", "lower": 3, "upper": 1}},
        {"intensity": {"kind": "window", "lower": 3}},
        {"intensity": {"kind": "zscore", "lower": 3}},
        {"intensity": {"kind": "window", "lower": "low", "upper": float("nan")}},
        {"intensity": None},
        {"crop_foreground": "yes"},
        {"extra": 1},
    ],
)
def test_damaged_settings_are_refused(change):
    with pytest.raises(UserError):
        Preprocessing.from_json({**Preprocessing().to_json(), **change})


def test_zscores_copy_no_volume() -> None:
    array = np.random.default_rng(0).normal(300, 120, (1, 64, 64, 64)).astype(np.float32)
    tracemalloc.start()
    try:
        Intensity("zscore").scale(array)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert abs(float(array.mean())) < 1e-3
    assert peak < array.nbytes / 5


@pytest.mark.parametrize("offset", [0, -32768, -4096, -2048])
def test_robust_scaling_takes_no_mr_for_ct_because_its_values_are_negative(offset: int):
    mr = np.random.default_rng(0).uniform(0, 40, (1, 30, 30, 30)).astype(np.float32)
    mr[0, 5:25, 5:25, 5:25] += 600
    mr[0, 10:20, 10:20, 10:20] += 800
    moved = mr + offset
    for array in (mr, moved):
        Intensity("robust", 0, 80).scale(array)
    assert np.allclose(mr, moved, atol=1e-3)


def test_robust_scaling_takes_no_phase_image_for_ct():
    phase = np.random.default_rng(0).uniform(-4096, 4095, (1, 30, 30, 30)).astype(np.float32)
    Intensity("robust", 0, 80).scale(phase)
    assert 0.2 < phase.std() < 0.35, "not two values"


def test_robust_scaling_takes_scans_of_any_kind():
    intensity = Intensity("robust", 0, 80)
    generator = np.random.default_rng(0)
    mr = generator.uniform(100, 300, (1, 30, 30, 30)).astype(np.float32)
    mr[0, 0, 0, 0] = 1e6  # one bright voxel sets no scale
    scaled, moved = mr.copy(), 7 * mr + 50
    intensity.scale(scaled)
    intensity.scale(moved)
    assert np.allclose(scaled, moved, atol=1e-4)
    assert scaled.min() == 0
    assert scaled.max() == pytest.approx(1)
    assert scaled.mean() == pytest.approx(0.5, abs=0.02)
    head = np.full((1, 30, 30, 30), -1000, np.float32)
    head[0, 5:25, 5:25, 5:25] = 40
    head[0, 5:8] = 1200
    intensity.scale(head)
    assert (head[0, 0, 0, 0], head[0, 15, 15, 15], head[0, 6, 6, 6]) == (0, 0.5, 1)
    padded = np.full((1, 30, 30, 30), -3024, np.float32)
    padded[0, 2:28] = -1000
    padded[0, 2, 0] = -2100  # interpolated
    padded[0, 5:25, 5:25, 5:25] = 40
    padded[0, 5:8] = 1200
    intensity.scale(padded)
    assert (padded[0, 0, 0, 0], padded[0, 15, 15, 15], padded[0, 6, 6, 6]) == (0, 0.5, 1)
    assert Intensity.from_json(intensity.to_json()) == intensity
    with pytest.raises(UserError, match="cannot be cropped"):
        Preprocessing("RAS", None, intensity, crop_foreground=True)
