"""Time and memory of turning windows into labels, streamed and not, with a network that costs next to nothing.

    python Testing/benchmarks/streaming.py                 # 256x256x150 voxels of 0.8x0.8x1.5 mm, model at 1.5 mm
    python Testing/benchmarks/streaming.py --full          # 512x512x300, streamed only: all logits may not fit
    python Testing/benchmarks/streaming.py --scaling       # 1, 2, 4, 8 times the length

The stand-in looks up 16 features of the structure that the synthetic scan holds at a voxel and blurs them, so that
classes mix at borders. Times are seconds of the processor without those of the stand-in; memory is the peak of NumPy's
arrays, scan not included.
"""

from __future__ import annotations

import argparse
import resource
import time
import tracemalloc
from functools import partial

import numpy as np

from mimseg.data.intensity import Intensity
from mimseg.data.preprocessing import Preprocessing, prepare, restore
from mimseg.data.volume import Grid, Volume
from mimseg.inference.engines.linear_head import LinearHead
from mimseg.inference.probabilities import to_probabilities
from mimseg.inference.sliding_window import sliding_window
from mimseg.inference.streaming import stream_labels

WINDOW = (96, 96, 96)
SPACING = np.array([0.8, 0.8, 1.5])
_COARSE = np.array([6, 6, 3])
FEATURES = 16


class StandIn:
    """A network that recognises the structures of `synthetic_scan`."""

    def __init__(self, classes: int) -> None:
        random = np.random.default_rng(1)
        self.book = random.normal(size=(classes, FEATURES)).astype(np.float32)
        self._head = LinearHead(self.book * 2, -np.square(self.book).sum(axis=1))
        self.seconds = 0.0

    def features(self, batch: np.ndarray) -> np.ndarray:
        began = time.process_time()
        structure = np.rint(batch[0, 0] * (len(self.book) - 1)).astype(np.intp)
        found = np.empty((1, FEATURES, *structure.shape), np.float32)
        for channel, values in zip(found[0], self.book.T, strict=True):
            channel[...] = values[structure]
            channel[:, 2:-2] += channel[:, 4:] + channel[:, :-4]
            channel[:, 2:-2] /= 3
        self.seconds += time.process_time() - began
        return found

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        features = self.features(batch)
        began = time.process_time()
        logits = self._head(features[0])[None]
        self.seconds += time.process_time() - began
        return logits


class SplitStandIn(StandIn):
    """The same, whose last layer can be left to the stitching."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.head = self._head


def synthetic_scan(size: tuple[int, int, int], classes: int) -> Volume:
    """Structures of some centimetres in a body that fills half of the scan; values are ten times their numbers."""
    random = np.random.default_rng(0)
    coarse = [-(-edge // step) for edge, step in zip(size, _COARSE, strict=True)]
    voxels = np.stack(np.meshgrid(*map(np.arange, coarse), indexing="ij"), -1) * _COARSE * SPACING
    nearest, least = np.zeros(coarse, np.intp), np.full(coarse, np.inf)
    for number, seed in enumerate(random.uniform(0, 1, (2 * classes, 3)) * size * SPACING):
        distance = np.square(voxels - seed).sum(axis=-1)
        closer = distance < least
        nearest[closer], least[closer] = number % classes, distance[closer]
    x, y, z = (np.arange(edge) // step for edge, step in zip(size, _COARSE, strict=True))
    i, j = np.ogrid[: size[0], : size[1]]
    body = ((i / size[0] - 0.5) / 0.45) ** 2 + ((j / size[1] - 0.5) / 0.35) ** 2 < 1
    array = np.zeros(size[::-1], np.int16).transpose()  # i fastest, as from a file
    for k in range(size[2]):
        array[:, :, k] = np.where(body, nearest[x[:, None], y, z[k]] * 10, -1000)
    return Volume(array, Grid(size, tuple(SPACING)))


def measured(run) -> tuple[np.ndarray, float, float]:
    """Result, seconds of the processor and peak MB of arrays made by `run`."""
    tracemalloc.start()
    began = time.process_time()
    result = run()
    seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return result, seconds, peak


def compare(size: tuple[int, int, int], classes: int, overlap: float, full: bool) -> None:
    volume = synthetic_scan(size, classes)
    preprocessing = Preprocessing("RAS", (1.5, 1.5, 1.5), Intensity("window", -1, 10 * (classes - 1)))
    prepared, seconds, peak = measured(lambda: prepare(volume, preprocessing))
    voxels = prepared.array.size / 1e6
    print(f"{classes} classes, {voxels:.1f} million working voxels; preparing: {seconds:.1f} s, {peak:.0f} MB")

    def unstreamed(network: StandIn) -> np.ndarray:
        logits = sliding_window(prepared.array, network, WINDOW, overlap, foreground=prepared.foreground)
        return restore(to_probabilities(logits), prepared)

    def streamed(network: StandIn) -> np.ndarray:
        return stream_labels(prepared, network, classes - 1, WINDOW, overlap)

    rows, expected = [], None
    split = ("streamed, head after stitching", streamed, SplitStandIn)
    variants = [split] if full else [("whole volume", unstreamed, StandIn), ("streamed", streamed, StandIn), split]
    for name, run, kind in variants:
        network = kind(classes)
        labels, seconds, peak = measured(lambda run=run, network=network: run(network))
        seconds -= network.seconds
        expected = labels if expected is None else expected
        differing = float((labels != expected).mean())
        rows.append((seconds, peak))
        print(
            f"  {name:32s} {seconds:7.2f} s ({seconds / rows[0][0]:.2f}), {peak:7.0f} MB ({peak / rows[0][1]:.2f}), "
            f"other labels {100 * differing:.5f} %"
        )
    print(f"  peak of the process so far: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


def scale(classes: int) -> None:
    """Time for each million working voxels, and memory, of scans of 1, 2, 4 and 8 times the length."""
    for factor in (1, 2, 4, 8):
        volume = synthetic_scan((128, 128, 64 * factor), classes)
        intensity = Intensity("window", -1, 10 * (classes - 1))
        prepared = prepare(volume, Preprocessing("RAS", (1.0, 1.0, 1.5), intensity))
        network = SplitStandIn(classes)
        run = partial(stream_labels, prepared, network, classes - 1, (32, 32, 32), 0.25)
        labels, seconds, peak = measured(run)
        voxels, waiting = prepared.array.size / 1e6, peak - labels.nbytes / 1e6
        each = (seconds - network.seconds) / voxels
        print(f"  {factor} x: {each:.3f} s per million voxels, {waiting:.0f} MB beside labels")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="512x512x300 voxels, streamed only")
    parser.add_argument("--scaling", action="store_true", help="time and memory of scans of growing length")
    parser.add_argument("--classes", type=int, nargs="+", default=[14, 117])
    parser.add_argument("--overlap", type=float, default=0.25)
    arguments = parser.parse_args()
    for classes in arguments.classes:
        if arguments.scaling:
            scale(classes)
            continue
        compare((512, 512, 300) if arguments.full else (256, 256, 150), classes, arguments.overlap, arguments.full)


if __name__ == "__main__":
    main()
