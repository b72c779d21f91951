"""Scores of segmentations: by hand, by properties, and against MONAI."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimseg.metrics.bootstrap import bootstrap_interval
from mimseg.metrics.overlap import (
    Overlap,
    dice,
    mean_of_defined,
    overlaps,
    volume_error_ml,
    volume_error_percent,
    volume_ml,
)
from mimseg.metrics.surface import surface, surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0), (3.0, 0.5, 1.25)]


def ball(shape: tuple[int, int, int], center: tuple[float, float, float], radius: float) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(length) for length in shape), indexing="ij")
    return sum((axis - c) ** 2 for axis, c in zip(axes, center, strict=True)) <= radius**2


def brute_force_distances(start: np.ndarray, goal: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    a, b = (np.argwhere(mask) * np.asarray(spacing) for mask in (start, goal))
    return np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)).min(1)


def random_pair(seed: int, shape: tuple[int, int, int] = (14, 12, 9)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    masks = []
    for _ in range(2):
        mask = ball(shape, tuple(generator.uniform(2, 8, 3)), generator.uniform(2, 5))
        mask ^= generator.random(shape) > 0.97  # single voxels, also at the image's edge
        masks.append(mask)
    return masks[0], masks[1]


def test_dice_of_two_bars_sharing_half_is_one_half():
    first, second = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    first[0:2], second[1:3] = True, True
    assert dice(first, second) == 0.5


def test_dice_is_undefined_if_both_are_empty_and_zero_if_one_is():
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)
    assert math.isnan(dice(empty, empty))
    assert dice(empty, full) == dice(full, empty) == 0.0


def test_all_classes_are_counted_in_one_pass_with_either_memory_order():
    generator = np.random.default_rng(0)
    predicted, reference = generator.integers(0, 5, (2, 9, 8, 7)).astype(np.uint8)
    for left, right in ((predicted, reference), (np.asfortranarray(predicted), reference.astype(np.uint16))):
        counted = overlaps(left, right, [0, 2, 4, 300])
        for value in (0, 2, 4):
            expected = dice(predicted == value, reference == value)
            assert counted[value].dice == pytest.approx(expected)
            assert counted[value].predicted == np.count_nonzero(predicted == value)
        assert counted[300] == Overlap(0, 0, 0)


def test_label_maps_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="cannot be compared"):
        overlaps(np.zeros((2, 2, 2), int), np.zeros((2, 2, 3), int), [1])
    with pytest.raises(ValueError, match="cannot be compared"):
        surface_distances(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 3), bool), (1, 1, 1))


def test_volume_error_has_sign_unit_and_percent():
    overlap = Overlap(predicted=1500, reference=1000, common=900)
    assert volume_ml(1000, (1.0, 1.0, 1.0)) == 1.0
    assert volume_error_ml(overlap, (1.0, 1.0, 2.0)) == pytest.approx(1.0)
    assert volume_error_percent(overlap) == pytest.approx(50.0)
    assert math.isnan(volume_error_percent(Overlap(5, 0, 0)))


def test_means_leave_undefined_scores_out():
    assert mean_of_defined([0.5, math.nan, 1.0]) == 0.75
    assert math.isnan(mean_of_defined([math.nan]))


def test_surface_is_the_outer_voxel_layer_and_the_image_edge_counts_as_outside():
    cube = np.zeros((7, 7, 7), bool)
    cube[1:6, 1:6, 1:6] = True
    assert np.count_nonzero(surface(cube)) == 5**3 - 3**3
    assert np.count_nonzero(surface(np.ones((4, 4, 4), bool))) == 4**3 - 2**3


def test_distance_between_shifted_plates_respects_the_spacing_of_each_axis():
    for axis, spacing in enumerate((0.5, 1.25, 4.0)):
        first, second = np.zeros((10, 10, 10), bool), np.zeros((10, 10, 10), bool)
        first[tuple(2 if a == axis else slice(None) for a in range(3))] = True
        second[tuple(5 if a == axis else slice(None) for a in range(3))] = True
        distances = surface_distances(first, second, (0.5, 1.25, 4.0))
        assert distances.hd95_mm() == pytest.approx(3 * spacing)
        assert distances.surface_dice(3 * spacing) == 1.0
        assert distances.surface_dice(3 * spacing - 0.01) == 0.0


@pytest.mark.parametrize("spacing", SPACINGS)
def test_distances_equal_those_by_brute_force(spacing: tuple[float, float, float]):
    for seed in range(4):
        first, second = random_pair(seed)
        found = surface_distances(first, second, spacing)
        for distances, start, goal in (
            (found.to_reference, first, second),
            (found.to_prediction, second, first),
        ):
            expected = brute_force_distances(surface(start), surface(goal), spacing)
            np.testing.assert_allclose(np.sort(distances), np.sort(expected), rtol=1e-5, atol=1e-5)


def test_surface_scores_of_empty_masks_follow_the_stated_rule():
    empty, full = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    neither = surface_distances(empty, empty, (1, 1, 1))
    assert math.isnan(neither.hd95_mm())
    assert math.isnan(neither.surface_dice())
    for one in (surface_distances(empty, full, (1, 1, 1)), surface_distances(full, empty, (1, 1, 1))):
        assert one.hd95_mm() == math.inf
        assert one.surface_dice() == 0.0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.integers(0, 3))
def test_scores_do_not_depend_on_direction_position_or_empty_surroundings(seed: int, shift: int):
    first, second = random_pair(seed, (10, 9, 8))
    spacing = (0.8, 1.0, 2.5)
    forth, back = surface_distances(first, second, spacing), surface_distances(second, first, spacing)
    assert forth.hd95_mm() == pytest.approx(back.hd95_mm())
    wide = [np.pad(mask, ((shift, 4), (5 - shift, 1), (2, shift))) for mask in (first, second)]
    moved = surface_distances(wide[0], wide[1], spacing)
    assert moved.hd95_mm() == pytest.approx(forth.hd95_mm(), rel=1e-5)
    assert moved.surface_dice(1.0) == pytest.approx(forth.surface_dice(1.0))
    assert surface_distances(first, first, spacing).hd95_mm() == pytest.approx(0.0, abs=1e-5)
    assert surface_distances(first, first, spacing).surface_dice(0.0) == 1.0


def test_interval_contains_the_mean_and_is_repeatable_and_narrows_with_more_cases():
    values = np.random.default_rng(1).normal(0.85, 0.05, 30)
    low, high = bootstrap_interval(values, seed=7)
    assert low < values.mean() < high
    assert bootstrap_interval(values, seed=7) == (low, high)
    assert bootstrap_interval(values, seed=8) != (low, high)
    more_low, more_high = bootstrap_interval(np.tile(values, 9), seed=7)
    assert more_high - more_low < 0.5 * (high - low)


def test_interval_of_a_mean_has_the_width_that_theory_expects():
    values = np.random.default_rng(2).normal(0, 1, 400)
    low, high = bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_interval_ignores_undefined_cases_and_is_undefined_for_fewer_than_two():
    values = [0.7, 0.8, 0.9, math.nan, math.inf]
    assert bootstrap_interval(values) == bootstrap_interval(values[:3])
    assert all(math.isnan(bound) for bound in bootstrap_interval([0.5, math.nan]))


def test_interval_of_the_median_stays_within_the_values():
    low, high = bootstrap_interval([1.0, 2.0, 3.0, 100.0], statistic="median")
    assert 1.0 <= low <= high <= 100.0


@pytest.mark.train
@pytest.mark.filterwarnings("ignore:.*(is all 0|always_return_as_numpy).*")
@pytest.mark.parametrize("spacing", SPACINGS)
def test_scores_equal_those_of_monai(spacing: tuple[float, float, float]):
    torch = pytest.importorskip("torch")
    metrics = pytest.importorskip("monai.metrics")
    empty = np.zeros((14, 12, 9), bool)
    pairs = [random_pair(seed) for seed in range(3)] + [(empty, random_pair(0)[0]), (empty, empty)]
    for first, second in pairs:
        ours = surface_distances(first, second, spacing)
        tensors = [torch.from_numpy(np.stack([~mask, mask])[None]).float() for mask in (first, second)]
        hausdorff = metrics.compute_hausdorff_distance(*tensors, percentile=95, spacing=spacing).item()
        if first.any() == second.any():
            assert ours.hd95_mm() == pytest.approx(hausdorff, rel=1e-5, nan_ok=True)
        else:  # MONAI says NaN, which hides a missed structure; here it is infinite.
            assert ours.hd95_mm() == math.inf
        for tolerance in (0.5, 0.7, 1.0, 2.5):
            theirs = metrics.compute_surface_dice(*tensors, [tolerance], spacing=spacing).item()
            assert ours.surface_dice(tolerance) == pytest.approx(theirs, abs=1e-6, nan_ok=True)
        theirs = metrics.compute_dice(*tensors, include_background=False, ignore_empty=True)
        expected = theirs.item() if second.any() else (0.0 if first.any() else math.nan)
        assert dice(first, second) == pytest.approx(expected, nan_ok=True)
