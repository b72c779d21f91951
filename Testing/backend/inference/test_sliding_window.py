"""Sliding-window inference against MONAI's, and what it does at the edges."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimseg import stopping
from mimseg.errors import Stopped
from mimseg.events import Reporter
from mimseg.inference.probabilities import to_probabilities
from mimseg.inference.sliding_window import importance_map, sliding_window, window_corners


def fake_network(batch):
    """Logits that depend on the position in the window and on neighbours, as those of a real network do."""
    neighbours = sum(np.roll(batch, step, axis) for step in (-1, 1) for axis in (2, 3, 4))
    ramp = np.linspace(0, 1, batch.shape[2], dtype=np.float32).reshape(1, 1, -1, 1, 1)
    return np.concatenate([batch[:, :1] * 0.3, neighbours[:, :1] * 0.2, batch[:, -1:] * ramp], axis=1)


SHAPES = [(8, 8, 8), (5, 6, 7), (20, 8, 3), (17, 13, 9), (8, 24, 16), (9, 8, 31), (1, 1, 1)]


@pytest.mark.train
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("window", "overlap", "batch"), [((8, 8, 8), 0.5, 1), ((8, 6, 10), 0.25, 3), ((8, 8, 8), 0.7, 4)]
)
def test_logits_equal_those_of_monai(shape, window, overlap, batch):
    torch = pytest.importorskip("torch")
    inferers = pytest.importorskip("monai.inferers")
    array = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    expected = inferers.sliding_window_inference(
        torch.from_numpy(array[None]),
        window,
        batch,
        lambda data: torch.from_numpy(np.ascontiguousarray(fake_network(data.numpy()))),
        overlap,
        mode="gaussian",
    )[0].numpy()
    logits = sliding_window(array, fake_network, window, overlap, batch)
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() < 1e-5
    assert np.array_equal(logits.argmax(axis=0), expected.argmax(axis=0))


@pytest.mark.train
@pytest.mark.parametrize("window", [(8, 8, 8), (48, 64, 48), (16, 5, 31)])
def test_the_importance_map_equals_that_of_monai(window):
    pytest.importorskip("torch")
    utils = pytest.importorskip("monai.data.utils")
    expected = utils.compute_importance_map(window, "gaussian", 0.125).numpy()
    assert np.allclose(importance_map(window), expected, rtol=1e-5, atol=0)


@settings(max_examples=50, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 20)] * 3),
    window=st.tuples(*[st.integers(1, 9)] * 3),
    overlap=st.floats(0, 0.9),
)
def test_a_network_that_returns_its_input_gives_the_volume_back(shape, window, overlap):
    array = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    assert np.abs(sliding_window(array, lambda batch: batch, window, overlap) - array).max() < 1e-4


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.floats(0, 0.95))
def test_windows_cover_every_voxel_and_stay_inside(edge, window, overlap):
    edge = max(edge, window)
    starts = [corner[0] for corner in window_corners((edge, 1, 1), (window, 1, 1), overlap)]
    assert starts == sorted(set(starts))
    assert starts[0] == 0
    assert starts[-1] == edge - window
    assert all(after - before <= window for before, after in itertools.pairwise(starts))


def test_windows_of_pure_background_are_not_computed():
    array = np.zeros((1, 32, 8, 8), np.float32)
    array[0, 26:30] = 1
    calls = []

    def predict(batch):
        calls.append(batch)
        return np.concatenate([1 - batch, batch * 3], axis=1)

    logits = sliding_window(array, predict, (8, 8, 8), 0.5, foreground=array[0] != 0)
    assert len(calls) == 2  # Of seven: those that start at 20 and 24.
    assert all(batch.any() for batch in calls)
    assert np.array_equal(logits.argmax(axis=0) == 1, array[0] == 1)


@pytest.mark.parametrize("shape", [(30, 8, 8), (3, 4, 5)])
def test_a_volume_of_nothing_but_background_is_background(shape):
    array = np.zeros((1, *shape), np.float32)
    logits = sliding_window(array, lambda batch: np.repeat(batch, 3, 1), (8, 8, 8), foreground=array[0] != 0)
    assert logits.shape == (3, *shape)
    assert not logits.argmax(axis=0).any()
    independent = sliding_window(
        array, lambda batch: np.repeat(batch, 3, 1), (8, 8, 8), foreground=array[0] != 0, multilabel=True
    )
    assert (to_probabilities(independent, multilabel=True) < 0.5).all()


def test_foreground_in_the_corner_of_a_padded_volume_is_seen():
    for corner in np.ndindex(2, 2, 2):
        array = np.zeros((1, 5, 20, 3), np.float32)
        array[(0, *(-1 if last else 0 for last in corner))] = 1
        logits = sliding_window(array, lambda b: np.concatenate([0.5 - b, b], 1), (8, 8, 8), foreground=array[0] != 0)
        assert np.array_equal(logits.argmax(axis=0), array[0])


def test_progress_counts_windows_and_ends_at_the_total():
    seen = []

    class Recorder(Reporter):
        def progress(self, phase, done, total):
            seen.append((phase, done, total))

    sliding_window(np.ones((1, 20, 8, 8), np.float32), lambda batch: batch, (8, 8, 8), batch=3, reporter=Recorder())
    assert seen == [("segment", 0, 4), ("segment", 3, 4), ("segment", 4, 4)]


def test_a_stop_is_noticed_at_the_next_window():
    calls = []

    def predict(batch):
        calls.append(1)
        stopping.request()
        return batch

    try:
        with pytest.raises(Stopped):
            sliding_window(np.ones((1, 30, 8, 8), np.float32), predict, (8, 8, 8))
    finally:
        stopping.clear()
    assert len(calls) == 1


def test_probabilities_equal_softmax_and_sigmoid():
    logits = np.random.default_rng(0).normal(0, 30, (3, 4, 5, 6)).astype(np.float32)
    shifted = np.exp(logits.astype(float) - logits.max(axis=0))
    assert np.allclose(to_probabilities(logits.copy()), shifted / shifted.sum(axis=0), atol=1e-6)
    assert np.allclose(to_probabilities(logits.copy(), True), 1 / (1 + np.exp(-logits.astype(float))), atol=1e-6)
