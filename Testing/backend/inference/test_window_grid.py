"""The windows of a volume: where they lie, what each one finishes, and what must be kept for the next."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimseg.inference.window_grid import AxisWindows, WindowGrid, window_starts


def axis_of(size, window, overlap, margin):
    return AxisWindows(size, window, tuple(window_starts(size, window, overlap)), margin)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.floats(0, 0.95), st.integers(0, 1))
def test_cores_are_the_volume_and_cells_are_kept_as_long_as_a_core_needs_them(size, window, overlap, margin):
    axis = axis_of(size, window, overlap, margin)
    cores = [axis.core(index) for index in range(len(axis.starts))]
    assert [voxel for start, stop in cores for voxel in range(start, stop)] == list(range(size))
    kept = set(range(len(axis.bounds) - 1))
    for index in range(len(axis.starts)):
        # No window after this one touches the core; the margin was finished before.
        assert all(start >= cores[index][1] for start in axis.starts[index + 1 :])
        needed = axis.cells_in(axis.region(index))
        assert axis.region(index) == (axis.bounds[needed.start], axis.bounds[needed.stop])
        assert axis.region(index)[0] == max(0, cores[index][0] - margin)
        assert set(needed) <= kept
        covered = axis.cells_in(axis.inside(index))
        assert axis.inside(index) == (axis.bounds[covered.start], axis.bounds[covered.stop])
        assert set(covered) <= kept, "a released cell is not touched again"
        kept -= set(axis.released[index])
    assert not kept


def test_windows_are_visited_so_that_least_must_be_kept():
    grid = WindowGrid.plan((40, 200, 60), (32, 32, 32), 0.25)
    assert grid.order == (1, 2, 0)
    visited = list(grid)
    assert len(visited) == len(set(visited)) == 2 * 8 * 3
    assert [index[1] for index in visited] == sorted(index[1] for index in visited)
    assert grid.waiting_voxels < 0.3 * 40 * 200 * 60


def test_a_volume_smaller_than_a_window_lies_in_its_middle():
    assert window_starts(5, 8, 0.5) == [-1]
    assert WindowGrid.plan((5, 8, 2), (8, 8, 8), 0.5).starts((0, 0, 0)) == (-1, 0, -3)


def test_only_windows_with_foreground_are_taken():
    foreground = np.zeros((5, 40, 8), bool)
    foreground[2, 33, 7] = True
    grid = WindowGrid.plan(foreground.shape, (8, 8, 8), 0.0)
    assert grid.with_foreground(foreground) == {(0, 4, 0)}
    assert len(grid.with_foreground(None)) == 5


@pytest.mark.parametrize("bias", ["plain", "reshaped", ""])  # PyTorch's export reshapes it
def test_the_last_layer_is_cut_off_and_put_back(bias):
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    from mimseg.inference.engines.linear_head import split_head

    random = np.random.default_rng(0)
    weight = random.normal(size=(7, 3, 1, 1, 1)).astype(np.float16)
    offset = random.normal(size=(1, 7, 1, 1, 1)).astype(np.float32)

    def network(weight):
        image = ops.parameter([1, 3, 4, 5, 6], np.float32, name="image")
        stored = ops.convert(ops.constant(weight), "f32")
        end = ops.convolution(ops.exp(image), stored, [1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 1, 1])
        added = ops.constant(offset)
        if bias == "reshaped":
            added = ops.reshape(ops.constant(offset.ravel()), ops.constant(np.array(offset.shape)), False)
        return openvino.Model([ops.add(end, added) if bias else end], [image])

    def run(model):
        return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([image])[0]

    image = random.normal(size=(1, 3, 4, 5, 6)).astype(np.float32)
    expected = run(network(weight))
    model = network(weight)
    head = split_head(model)
    features = run(model)
    assert features.shape == image.shape
    assert np.allclose(head(features[0]), expected[0], atol=1e-5)

    same = network(weight[:3]) if not bias else network(random.normal(size=(7, 3, 3, 3, 3)).astype(np.float32))
    assert split_head(same) is None, "as many features as classes, or no pointwise layer"
    assert run(same).shape[1] in (3, 7)
