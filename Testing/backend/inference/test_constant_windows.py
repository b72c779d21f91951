"""Windows of one value are computed once, and the result is the same bit for bit."""

import numpy as np

from mimseg.inference import finished_boxes as module
from mimseg.inference.constant_windows import ConstantWindows
from mimseg.inference.window_grid import WindowGrid

WINDOW = (6, 6, 6)


class Network:
    """Values that depend on neighbours and on the place in the window; one array for all outputs, as an engine may."""

    def __init__(self):
        self.calls = []
        self._output = np.empty((1, 2, *WINDOW), np.float32)

    def __call__(self, batch):
        self.calls.append(batch.copy())
        ramp = np.linspace(-1, 1, WINDOW[2], dtype=np.float32)
        self._output[:, 0] = batch[:, 0] * ramp + np.roll(batch[:, -1], 1, 2)
        self._output[:, 1] = np.cos(batch[:, -1]) * ramp
        return self._output


def boxes(array, predict):
    grid = WindowGrid.plan(array.shape[1:], WINDOW, 0.5, (1, 0, 1))
    return [(box.sums, box.weight) for box in module.finished_boxes(array, predict, grid)]


def test_constant_windows_are_computed_once_for_the_same_values_and_nothing_changes(monkeypatch):
    array = np.full((2, 42, 6, 9), 0.25, np.float32)
    array[1] = 3
    array[:, 30:] = -1  # another constant from here on; windows across the step are not constant
    array[0, 2, 3, 4] = 7  # not constant, though its corners and its middle are
    network = Network()
    found = boxes(array, network)
    constant = [call for call in network.calls if all(len(np.unique(channel)) == 1 for channel in call[0])]
    monkeypatch.setattr(module, "ConstantWindows", lambda run: lambda window: run(window[None])[0])
    plain = Network()
    expected = boxes(array, plain)
    assert len(plain.calls) == 26
    # Along the step each of the two values is met in turn: only the last one is kept.
    assert len(constant) == 2
    assert len(network.calls) == len(plain.calls) - sum(
        all(len(np.unique(channel)) == 1 for channel in call[0]) for call in plain.calls
    ) + len(constant)
    for (sums, weight), (own_sums, own_weight) in zip(expected, found, strict=True):
        assert sums.tobytes() == own_sums.tobytes()
        assert weight.tobytes() == own_weight.tobytes()


def test_another_value_in_one_channel_is_another_window():
    network = Network()
    run = ConstantWindows(network)
    first = np.stack([np.full(WINDOW, value, np.float32) for value in (1, 2)])
    second = first.copy()
    second[1] = 2.5
    almost = first.copy()
    almost[1, -1, 0, 0] = 2.5
    kept = run(first)
    assert run(first.copy()) is kept
    assert not np.array_equal(run(second), kept)
    assert np.array_equal(run(first), kept)
    assert not np.array_equal(run(almost), run(first))
    assert [len(network.calls), len(np.unique(network.calls[-1]))] == [4, 3]
