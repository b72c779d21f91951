"""Which number of `mimseg rank` orders cases like their true Dice? (issue 5, item 6)

    python Testing/benchmarks/rank_scores.py DATA MODEL [MODEL ...] --cases SELECTION [--augment]

DATA is a labelled data set, SELECTION (see `mimseg finetune --cases`) names cases that no MODEL was trained on; several
models are an ensemble. Prints the Spearman correlation of each number with 1 - mean Dice over structures, and its 95 %
percentile bootstrap interval over cases.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mimseg.commands.rank.case import Ensemble
from mimseg.data.cases import load_dataset, pick_cases
from mimseg.data.labels.labelmaps import read_labelmap
from mimseg.data.volumes import read_channels
from mimseg.metrics.overlap import overlaps


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Correlation of ranks; ties share their mean rank."""
    ranks = []
    for values in (first, second):
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[places])
    return float(np.corrcoef(*ranks)[0, 1])


def interval(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[float, float]:
    """95 % percentile bootstrap interval of `spearman`."""
    generator = np.random.default_rng(0)
    drawn = [generator.integers(0, len(first), len(first)) for _ in range(2000)]
    found = [spearman(first[chosen], second[chosen]) for chosen in drawn if np.ptp(first[chosen]) > 0]
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def show(errors: NDArray[np.float64], numbers: dict[str, NDArray[np.float64]]) -> None:
    """Print the table."""
    sys.stdout.write(f"{len(errors)} cases, mean Dice {1 - errors.mean():.3f} ({1 - errors.max():.3f} worst)\n\n")
    sys.stdout.write("| number | Spearman with 1 - Dice | 95 % |\n|---|---|---|\n")
    for name, values in sorted(numbers.items(), key=lambda item: -spearman(item[1], errors)):
        low, high = interval(values, errors)
        sys.stdout.write(f"| {name} | {spearman(values, errors):.2f} | {low:.2f} to {high:.2f} |\n")


def main() -> int:
    """Judge the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--cases", required=True)
    parser.add_argument("--augment", action="store_true")
    options = parser.parse_args()
    judges = Ensemble(options.models, options.augment, 1)
    values = [label.value for label in judges.description.labels]
    errors, rows = [], []
    for case in pick_cases(load_dataset(options.data).cases, options.cases):
        volume = read_channels(case.images)
        judged = judges.judge(volume)
        reference = read_labelmap(case.label, volume.grid).array if case.label else judged.labels
        scores = [overlap.dice for overlap in overlaps(judged.labels, reference, values).values()]
        errors.append(1 - float(np.nanmean(scores)))
        rows.append({name: number for name, number in asdict(judged.doubt).items() if number is not None})
    show(np.array(errors), {name: np.array([row[name] for row in rows], float) for name in rows[0]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
