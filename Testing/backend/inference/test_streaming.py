"""Labels part by part equal those of the whole volume's logits, whatever the geometry; memory stays small."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimseg import stopping
from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing, prepare, restore
from mimseg.data.regions import Box
from mimseg.data.volume import Grid, Volume
from mimseg.errors import Stopped
from mimseg.events import Reporter
from mimseg.inference.engines.linear_head import LinearHead
from mimseg.inference.probabilities import to_probabilities
from mimseg.inference.sliding_window import sliding_window
from mimseg.inference.streaming import stream_labels


class Network:
    """Logits that depend on neighbours and on the place in the window, as those of a real network do."""

    def __init__(self, classes, seed=0):
        random = np.random.default_rng(seed)
        self.weight = random.normal(0, 2, (classes, 4)).astype(np.float32)
        self.bias = random.normal(0, 0.3, classes).astype(np.float32)

    def features(self, batch):
        first, last = batch[:, :1], batch[:, -1:]
        around = sum(np.roll(first, step, axis) for step in (-1, 1) for axis in (2, 3, 4))
        ramp = np.linspace(-1, 1, batch.shape[3], dtype=np.float32)[:, None]
        return np.concatenate([first, around - first, last * last, last * ramp], axis=1)

    def __call__(self, batch):
        return np.einsum("kf,bfxyz->bkxyz", self.weight, self.features(batch)) + self.bias[:, None, None, None]


class SplitNetwork(Network):
    """The same, whose last layer can be left out."""

    def __init__(self, classes, seed=0):
        super().__init__(classes, seed)
        self.head = LinearHead(self.weight, self.bias)

    def __call__(self, batch):
        raise AssertionError("features are enough")


def turned(axes, flips):
    return np.eye(3)[:, list(axes)] * np.where(flips, -1.0, 1.0)


def unstreamed(prepared, predict, window, overlap, multilabel):
    logits = sliding_window(
        prepared.array, predict, window, overlap, foreground=prepared.foreground, multilabel=multilabel
    )
    return restore(to_probabilities(logits, multilabel), prepared, multilabel)[prepared.region.slices]


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(*[st.integers(2, 15)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.6, 1.0, 1.7, 4.0])] * 3),
    axes=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    target=st.sampled_from([None, (1.0, 1.0, 1.0), (0.7, 2.0, 1.3)]),
    window=st.tuples(*[st.integers(6, 10)] * 3),
    overlap=st.sampled_from([0.0, 0.25, 0.5]),
    channels=st.integers(1, 2),
    classes=st.sampled_from([2, 3, 9]),
    kind=st.sampled_from(["dense", "sparse", "crop", "region"]),
    multilabel=st.booleans(),
    split=st.booleans(),
    data=st.data(),
)
def test_streamed_labels_equal_those_of_the_whole_volume(
    size, spacing, axes, flips, target, window, overlap, channels, classes, kind, multilabel, split, data
):
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    array = random.normal(size=(channels, *size)).astype(np.float32)
    if kind in ("sparse", "crop"):  # Foreground in one part only.
        array[:, size[0] // 2 :] = 0
        array[:, :, : size[1] // 3] = 0
    region = None
    if kind == "region":
        start = [data.draw(st.integers(0, edge - 2)) for edge in size]
        region = Box(tuple(start), tuple(data.draw(st.integers(s + 1, e)) for s, e in zip(start, size, strict=True)))
    grid = Grid(size, spacing, (1.0, -2.0, 3.0), turned(axes, flips))
    preprocessing = Preprocessing("RAS", target, Intensity("zscore"), crop_foreground=kind == "crop")
    prepared = prepare(Volume(array if channels > 1 else array[0], grid), preprocessing, region)
    expected = unstreamed(prepared, Network(classes), window, overlap, multilabel)
    predict = (SplitNetwork if split else Network)(classes)
    structures = classes if multilabel else classes - 1
    labels = stream_labels(prepared, predict, structures, window, overlap, multilabel)
    assert labels.dtype == expected.dtype
    assert labels.shape == expected.shape
    # Sums in another order differ in the last bit, which may turn one undecided voxel.
    assert (labels != expected).sum() <= 1


def plain(array):
    """A scan on the grid of the model's own, so that every voxel is seen as it is."""
    size = array.shape
    return prepare(Volume(array, Grid(size)), Preprocessing("LPS", None, Intensity("window", 0, 1)))


def test_progress_counts_computed_windows_and_a_stop_is_noticed_at_the_next():
    seen = []

    class Recorder(Reporter):
        def progress(self, phase, done, total):
            seen.append((phase, done, total))

    array = np.zeros((30, 8, 8), np.float32)
    array[:16] = 0.5
    stream_labels(plain(array), Network(3), 2, (8, 8, 8), 0.5, reporter=Recorder(), phase="segment region 2")
    assert seen == [("segment region 2", done, 4) for done in range(5)]

    def predict(batch):
        stopping.request()
        return Network(3)(batch)

    try:
        with pytest.raises(Stopped):
            stream_labels(plain(array), predict, 2, (8, 8, 8), 0.5, reporter=Recorder())
    finally:
        stopping.clear()
    assert len(seen) == 5 + 2


def test_a_scan_of_nothing_but_background_needs_no_network():
    prepared = plain(np.zeros((9, 5, 20), np.float32))
    for multilabel in (False, True):
        labels = stream_labels(prepared, lambda batch: pytest.fail("not needed"), 300, (8, 8, 8), multilabel=multilabel)
        assert labels.shape == (9, 5, 20)
        assert labels.dtype == np.uint16
        assert not labels.any()


def test_logits_of_any_size_and_exact_ties_are_labelled_as_for_the_whole_volume():
    array = np.linspace(0.1, 1, 12 * 11 * 10, dtype=np.float32).reshape(12, 11, 10)
    prepared = prepare(Volume(array, Grid((12, 11, 10))), Preprocessing("LPS", (1.5, 0.8, 1.0), Intensity("window")))
    for factors in ([0, 0, 0], [1e6, -1e6, 1e6], [0, 1e-4, 0], [-900, -901, -900]):

        def predict(batch, factors=factors):
            return np.concatenate([batch * factor for factor in factors], axis=1).astype(np.float32)

        for multilabel in (False, True):
            expected = unstreamed(prepared, predict, (6, 6, 6), 0.25, multilabel)
            labels = stream_labels(prepared, predict, 3 if multilabel else 2, (6, 6, 6), 0.25, multilabel)
            assert np.array_equal(labels, expected)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to know the peak memory")
def test_memory_does_not_grow_with_volume_times_classes():
    # Not getrusage: in a child, Linux counts the parent's memory at the time of the fork into it.
    program = """
import re
from pathlib import Path
import numpy as np
from mimseg.data.preprocessing import Preprocessing, prepare
from mimseg.data.intensity import Intensity
from mimseg.data.volume import Grid, Volume
from mimseg.inference.streaming import stream_labels

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) / 1e3

CLASSES = 256
array = np.random.default_rng(0).uniform(0.1, 1, (128, 48, 44)).astype(np.float32)
centres = np.linspace(0, 1, CLASSES, dtype=np.float32)[:, None, None, None]
prepared = prepare(Volume(array, Grid(array.shape)), Preprocessing("LPS", (1.1, 1, 1), Intensity("window")))
before = peak()
labels = stream_labels(prepared, lambda batch: centres * batch, CLASSES - 1, (16, 16, 16), 0.25)
print(labels.mean() > 200, peak() - before, prepared.array.size * CLASSES * 4 / 1e6)
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    labelled, grown, whole = done.stdout.split()
    assert labelled == "True"
    assert float(whole) > 250
    assert float(grown) < 0.3 * float(whole)
